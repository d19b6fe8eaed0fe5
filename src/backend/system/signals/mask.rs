//! Sets of signals, and the signal mask of a thread.

use std::mem::MaybeUninit;

/// The set of these signals.
pub fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set, which sigaddset then changes.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signum in signals {
            libc::sigaddset(set.as_mut_ptr(), signum);
        }
        set.assume_init()
    }
}

/// Blocks or unblocks a signal in this thread. `how`: `SIG_BLOCK` or
/// `SIG_UNBLOCK`. Returns whether it was blocked before.
pub fn set(how: i32, signum: i32) -> bool {
    let mut before = set_of(&[]);
    // SAFETY: both sets are initialized. The call fails only for an unknown
    // `how`, and then leaves `before` empty.
    unsafe {
        libc::pthread_sigmask(how, &set_of(&[signum]), &mut before);
        libc::sigismember(&before, signum) == 1
    }
}
