//! Blocks signals while libflux writes. If the broker is gone, the call must
//! return an error, not raise SIGPIPE. And a signal handler must not cut a
//! message in two.

use std::ptr;

use crate::backend::Result;
use crate::backend::system::signals::mask;

/// Calls a libflux function that sends a message and does not wait for a
/// response. No signal is delivered to this thread meanwhile.
///
/// If a socket is full, libflux polls. A signal handler that runs then ends the
/// poll with EINTR, and libflux leaves the first part of the message in the
/// socket. The next call would complete it, and lose its own message.
pub fn sending<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    Held::new(&mask::all()).during(call)
}

/// Calls a libflux function that sends a message and waits for the response.
/// Only SIGPIPE is held back, so the wait can be interrupted.
pub fn sending_and_waiting<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    Held::new(&mask::set_of(&[libc::SIGPIPE])).during(call)
}

/// While this value lives, signals are blocked on this thread.
struct Held {
    before: libc::sigset_t,
}

impl Held {
    fn new(signals: &libc::sigset_t) -> Held {
        Held {
            before: mask::change(libc::SIG_BLOCK, signals),
        }
    }

    fn during<T>(self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let outcome = call();
        // A write that raises SIGPIPE fails.
        if outcome.is_err() && !mask::has(&self.before, libc::SIGPIPE) {
            take_sigpipe();
        }
        outcome
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        mask::change(libc::SIG_SETMASK, &self.before);
    }
}

/// Takes the SIGPIPE that our own write raised, if it did. It was not pending
/// before, because this thread would have received it.
fn take_sigpipe() {
    let none = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let sigpipe = mask::set_of(&[libc::SIGPIPE]);
    // SAFETY: the set and the time are valid; the null pointer asks for no
    // details.
    unsafe { libc::sigtimedwait(&sigpipe, ptr::null_mut(), &none) };
}
