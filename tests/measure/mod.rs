//! Measures processor time and memory. Processor time does not depend on how
//! busy the machine is. It covers the embedded broker's work too, since that
//! broker has no threads of its own.

use std::time::Duration;

/// The processor time that this thread has used.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time that the work uses.
pub fn cpu_time_of(work: impl FnOnce()) -> Duration {
    let before = cpu_time();
    work();
    cpu_time() - before
}

/// The least processor time of several runs. Some runs take longer because other
/// programs share the processor's caches.
pub fn best_cpu_time_of(runs: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| cpu_time_of(&mut work));
    times.min().expect("there is at least one run")
}

/// The resident memory of this process, in MiB.
pub fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages: usize = pages.expect("the second number counts resident pages");
    (pages * 4096) >> 20
}
