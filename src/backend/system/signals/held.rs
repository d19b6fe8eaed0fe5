//! Signals that are blocked in the listener's thread and read from a signalfd,
//! so that nothing that ignores them for a while loses them.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::set_of;
use crate::backend::{Error, Result};

/// Whether system(3) ignores the signal while its command runs.
pub fn is_held(signum: i32) -> bool {
    matches!(signum, libc::SIGINT | libc::SIGQUIT)
}

thread_local! {
    /// Which are held in this thread: few, as only few are to be held.
    static BLOCKED: RefCell<Vec<Blocked>> = const { RefCell::new(Vec::new()) };
}

struct Blocked {
    signum: i32,
    /// How many listeners hold it.
    listeners: usize,
    /// Whether it was blocked before.
    before: bool,
}

/// What one listener holds.
pub struct Held {
    signals: RefCell<Vec<i32>>,
    waiting: OwnedFd,
    /// Readable when `waiting` is, or the listener's eventfd.
    either: OwnedFd,
}

impl Held {
    pub fn new(event: RawFd) -> Result<Held> {
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        // SAFETY: the set is ours; a new descriptor or -1 is returned.
        let waiting = owned(unsafe { libc::signalfd(-1, &set_of(&[]), flags) })?;
        // SAFETY: a new descriptor or -1 is returned.
        let either = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        for fd in [event, waiting.as_raw_fd()] {
            let mut wanted = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: 0,
            };
            let add = libc::EPOLL_CTL_ADD;
            // SAFETY: open descriptors, and a structure of ours.
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

    pub fn fd(&self) -> RawFd {
        self.either.as_raw_fd()
    }

    /// Hold a signal; again for a signal that is held changes nothing.
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
                    before: set_mask(libc::SIG_BLOCK, signum),
                }),
            }
        });
        self.update(&signals)
    }

    /// Let a signal go. If it is pending it is handled now.
    pub fn remove(&self, signum: i32) {
        let mut signals = self.signals.borrow_mut();
        signals.retain(|held| *held != signum);
        // It only shrinks a set that was good.
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
                set_mask(libc::SIG_UNBLOCK, signum);
            }
        });
    }

    /// A signal that came, if one did.
    pub fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is ours, with its length.
        let count = unsafe { libc::read(self.waiting.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if count != size as isize {
            return None;
        }
        // SAFETY: the kernel filled it in.
        i32::try_from(unsafe { info.assume_init() }.ssi_signo).ok()
    }

    fn update(&self, signals: &[i32]) -> Result<()> {
        // SAFETY: a signalfd of ours, and a set of ours.
        match unsafe { libc::signalfd(self.waiting.as_raw_fd(), &set_of(signals), 0) } {
            -1 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

fn owned(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Block or unblock a signal in this thread; whether it was blocked before.
fn set_mask(how: i32, signum: i32) -> bool {
    let mut before = MaybeUninit::uninit();
    // SAFETY: both sets are ours. It fails only for an unknown `how`.
    unsafe {
        libc::sigemptyset(before.as_mut_ptr());
        libc::pthread_sigmask(how, &set_of(&[signum]), before.as_mut_ptr());
        libc::sigismember(&before.assume_init(), signum) == 1
    }
}
