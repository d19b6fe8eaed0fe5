//! Keeping signals out of libflux's writes: a broker that is gone must be an
//! error and not a SIGPIPE, and a handler must not cut a message in two.

use std::mem::MaybeUninit;
use std::ptr;

use crate::backend::Result;

/// Run a call of libflux that sends a message and waits for nothing else,
/// with no signal delivered to this thread meanwhile.
///
/// A socket that is full makes libflux poll. A handler that runs then ends the
/// poll with EINTR, and libflux leaves the first part of the message behind,
/// to be completed by the next one's call in the next one's stead.
pub fn sending<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    Held::new(all()).during(call)
}

/// Run a call of libflux that sends a message and waits for the answer: only
/// SIGPIPE is held back, so that the wait can be interrupted.
pub fn sending_and_waiting<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    Held::new(only_sigpipe()).during(call)
}

/// Signals held back from this thread while this lives.
struct Held {
    before: libc::sigset_t,
}

impl Held {
    fn new(signals: libc::sigset_t) -> Held {
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are ours. With SIG_BLOCK and valid pointers the
        // call cannot fail, so that `before` is filled in.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &signals, before.as_mut_ptr());
            Held {
                before: before.assume_init(),
            }
        }
    }

    fn during<T>(self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let outcome = call();
        // SAFETY: `before` is a set that the system filled in.
        let was_held = unsafe { libc::sigismember(&self.before, libc::SIGPIPE) } == 1;
        // A write that raises it fails.
        if outcome.is_err() && !was_held {
            take_sigpipe();
        }
        outcome
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: `before` is a set that the system filled in; the old set is
        // not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

/// Take the SIGPIPE that our own write raised, if it did: it was not pending
/// before, or this thread would have had it delivered.
fn take_sigpipe() {
    let none = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the set and the time are ours; what is taken is not asked for.
    unsafe { libc::sigtimedwait(&only_sigpipe(), ptr::null_mut(), &none) };
}

fn all() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset fills in the set that it is given.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn only_sigpipe() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills in the set, sigaddset changes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        set.assume_init()
    }
}
