//! Held signals: blocked in the listener's thread, and read from a signalfd. So
//! they are not lost while other code ignores them.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::mask::{self, set_of};
use crate::backend::error::{Error, Result};

/// Whether system(3) ignores the signal while its command runs.
pub fn is_held(signum: i32) -> bool {
    matches!(signum, libc::SIGINT | libc::SIGQUIT)
}

thread_local! {
    /// The signals that are held in this thread.
    static BLOCKED: RefCell<Vec<Blocked>> = const { RefCell::new(Vec::new()) };
}

/// A signal that is held in a thread.
struct Blocked {
    signum: i32,
    /// How many listeners hold it.
    listeners: usize,
    /// Whether it was blocked before.
    before: bool,
}

/// The signals that one listener holds.
pub struct Held {
    signals: RefCell<Vec<i32>>,
    /// The signalfd.
    waiting: OwnedFd,
    /// An epoll instance: readable when `waiting` or the listener's eventfd is.
    either: OwnedFd,
}

impl Held {
    /// No signals yet. `event`: the listener's eventfd.
    pub fn new(event: RawFd) -> Result<Held> {
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        // SAFETY: the set is valid; the call returns a new descriptor or -1.
        let waiting = unsafe { owned(libc::signalfd(-1, &set_of(&[]), flags)) }?;
        // SAFETY: the call takes no pointer, and returns a new descriptor or -1.
        let either = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }?;
        for fd in [event, waiting.as_raw_fd()] {
            let mut wanted = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: 0,
            };
            let add = libc::EPOLL_CTL_ADD;
            // SAFETY: the descriptors are open, and the event is valid.
            if unsafe { libc::epoll_ctl(either.as_raw_fd(), add, fd, &mut wanted) } < 0 {
                return Err(Error::last_os_error());
            }
        }
        Ok(Held {
            signals: RefCell::default(),
            waiting,
            either,
        })
    }

    /// Readable when a held signal, or the eventfd, can be read.
    pub fn fd(&self) -> RawFd {
        self.either.as_raw_fd()
    }

    /// Holds a signal. Does nothing if it is already held.
    pub fn add(&self, signum: i32) -> Result<()> {
        let mut signals = self.signals.borrow_mut();
        if signals.contains(&signum) {
            return Ok(());
        }
        signals.push(signum);
        BLOCKED.with_borrow_mut(|blocked| {
            match blocked.iter_mut().find(|held| held.signum == signum) {
                Some(held) => held.listeners += 1,
                None => blocked.push(Blocked {
                    signum,
                    listeners: 1,
                    before: mask::has(&mask::change(libc::SIG_BLOCK, &set_of(&[signum])), signum),
                }),
            }
        });
        self.update(&signals)
    }

    /// Stops holding a signal. If it is pending, it is handled now.
    pub fn remove(&self, signum: i32) {
        let mut signals = self.signals.borrow_mut();
        signals.retain(|held| *held != signum);
        // It cannot fail: the set only becomes smaller.
        let _ = self.update(&signals);
        BLOCKED.with_borrow_mut(|blocked| {
            let Some(at) = blocked.iter().position(|held| held.signum == signum) else {
                return;
            };
            blocked[at].listeners -= 1;
            if blocked[at].listeners > 0 {
                return;
            }
            if !blocked.swap_remove(at).before {
                mask::change(libc::SIG_UNBLOCK, &set_of(&[signum]));
            }
        });
    }

    /// Reads one signal that was received, if there is one.
    pub fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is passed with its length.
        let count = unsafe { libc::read(self.waiting.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if count != size as isize {
            return None;
        }
        // SAFETY: the kernel has filled it in.
        i32::try_from(unsafe { info.assume_init() }.ssi_signo).ok()
    }

    /// Has the signalfd receive these signals.
    fn update(&self, signals: &[i32]) -> Result<()> {
        // SAFETY: an open signalfd, and a valid set.
        match unsafe { libc::signalfd(self.waiting.as_raw_fd(), &set_of(signals), 0) } {
            -1 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// Takes ownership of a new descriptor, or returns the error of -1.
///
/// # Safety
///
/// `fd` is a new descriptor that nothing else owns, or -1 with errno just set.
unsafe fn owned(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: nothing else owns it, by the contract.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
