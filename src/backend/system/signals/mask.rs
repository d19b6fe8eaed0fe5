//! Sets of signals, and the signal mask of a thread.

use std::mem::MaybeUninit;

/// The set of these signals. Numbers that are not signals are left out.
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

/// The set of all signals.
pub fn all() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initializes the set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Whether a signal is in a set.
pub fn has(set: &libc::sigset_t, signum: i32) -> bool {
    // SAFETY: the set is initialized.
    unsafe { libc::sigismember(set, signum) == 1 }
}

/// Changes the signal mask of this thread. `how`: `SIG_BLOCK`, `SIG_UNBLOCK` or
/// `SIG_SETMASK`; anything else changes nothing. Returns the mask before.
pub fn change(how: i32, signals: &libc::sigset_t) -> libc::sigset_t {
    let mut before = set_of(&[]);
    // SAFETY: both sets are initialized.
    unsafe { libc::pthread_sigmask(how, signals, &mut before) };
    before
}
