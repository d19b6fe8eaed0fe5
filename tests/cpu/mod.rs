//! What work costs, in the processor's time of this thread: that is the same
//! however busy the machine is. The embedded broker has no threads of its own.

use std::time::Duration;

/// The time that this thread has used.
pub fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What this work takes.
pub fn of(work: impl FnOnce()) -> Duration {
    let before = used();
    work();
    used() - before
}

/// What the work takes at best. Other programs that use the processor's caches
/// make it take longer now and then.
pub fn at_best(times: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..times).map(|_| of(&mut work));
    times.min().expect("it is done at least once")
}
