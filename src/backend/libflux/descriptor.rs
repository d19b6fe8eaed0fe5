//! Waiting for a descriptor that a script names, and may close at any time.
//! libev would abort the process over one that it cannot wait for; so it gets
//! one of ours, which stands for the script's.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::backend::reactor::poll;
use crate::backend::system::{self, EventFd};
use crate::backend::{Error, Result, last_errno};

/// A script's descriptor, and the [`poll`] bits that it waits for.
pub struct Descriptor {
    fd: RawFd,
    events: i32,
    proxy: Proxy,
}

/// What stands for it.
enum Proxy {
    /// An epoll instance with that descriptor alone. It knows the open file,
    /// so that another one under the same number is no event.
    Epoll(OwnedFd),
    /// For what cannot be waited for, a regular file: always readable.
    Always(EventFd),
    /// For an epoll instance. Were it libev's own, or did it lead there, the
    /// kernel would refuse the loop when libev registers ours, and libev
    /// abort. Looked at from time to time.
    Polled,
}

/// Seconds between two looks.
pub const INTERVAL: f64 = 0.01;

/// The descriptor was closed.
pub struct Closed;

impl Descriptor {
    /// `EBADF` for what is not open, or cannot be waited for at all.
    pub fn new(fd: RawFd, events: i32) -> Result<Descriptor> {
        if events == 0 || events & !(poll::IN | poll::OUT | poll::ERR) != 0 {
            return Err(Error::new(libc::EINVAL));
        }
        system::check_descriptor(fd)?;
        // SAFETY: the call takes no pointer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let proxy = match control(&epoll, libc::EPOLL_CTL_ADD, fd, events) {
            _ if is_epoll(fd, &epoll) => Proxy::Polled,
            Ok(()) => Proxy::Epoll(epoll),
            Err(error) if error.errnum == libc::EPERM => {
                let always = EventFd::new()?;
                always.signal();
                Proxy::Always(always)
            }
            Err(error) => return Err(error),
        };
        Ok(Descriptor { fd, events, proxy })
    }

    /// What libev may wait for to become readable; none where it cannot.
    pub fn proxy(&self) -> Option<RawFd> {
        match &self.proxy {
            Proxy::Epoll(epoll) => Some(epoll.as_raw_fd()),
            Proxy::Always(always) => Some(always.fd()),
            Proxy::Polled => None,
        }
    }

    /// The [`poll`] bits that are ready; 0 where that has passed.
    pub fn ready(&self) -> std::result::Result<i32, Closed> {
        let ready = match &self.proxy {
            Proxy::Epoll(epoll) => {
                // Fails where the number leads nowhere, or to another file:
                // the one that was meant may live on under a second number.
                control(epoll, libc::EPOLL_CTL_MOD, self.fd, self.events).map_err(|_| Closed)?;
                self.ready_of(epoll)
            }
            Proxy::Always(_) | Proxy::Polled => self.look()?,
        };
        Ok(self.events_of(ready))
    }

    fn ready_of(&self, epoll: &OwnedFd) -> i32 {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: our epoll instance, and a place for one event.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) };
        if count > 0 { event.events as i32 } else { 0 }
    }

    fn look(&self) -> std::result::Result<i32, Closed> {
        let mut entry = [system::poll_entry(self.fd, mask(self.events) as i16)];
        // A failure is want of memory, which may be over at the next look.
        let _ = system::poll(&mut entry, Some(Duration::ZERO));
        match i32::from(entry[0].revents) {
            ready if ready & i32::from(libc::POLLNVAL) != 0 => Err(Closed),
            ready => Ok(ready),
        }
    }

    /// Who waits to read or write learns by it of an error, or of the end.
    fn events_of(&self, ready: i32) -> i32 {
        let mut events = 0;
        if ready & libc::EPOLLIN != 0 {
            events |= poll::IN;
        }
        if ready & libc::EPOLLOUT != 0 {
            events |= poll::OUT;
        }
        if ready & (libc::EPOLLERR | libc::EPOLLHUP) != 0 {
            events |= self.events & (poll::IN | poll::OUT);
        }
        if ready & libc::EPOLLERR != 0 || (ready != 0 && events == 0) {
            events |= poll::ERR;
        }
        events
    }
}

/// epoll's bits are poll's.
fn mask(events: i32) -> c_int {
    let mut mask = 0;
    if events & poll::IN != 0 {
        mask |= libc::EPOLLIN;
    }
    if events & poll::OUT != 0 {
        mask |= libc::EPOLLOUT;
    }
    mask
}

fn control(epoll: &OwnedFd, op: c_int, fd: RawFd, events: i32) -> Result<()> {
    let mut event = libc::epoll_event {
        events: mask(events) as u32,
        u64: 0,
    };
    // SAFETY: our epoll instance, and an event that is read only.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), op, fd, &mut event) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An epoll instance does not find what it is to let go of; what is none does
/// not look.
fn is_epoll(fd: RawFd, other: &OwnedFd) -> bool {
    // SAFETY: no event is needed to let go. `other` is new, so that nothing
    // has it, and nothing changes.
    let rc =
        unsafe { libc::epoll_ctl(fd, libc::EPOLL_CTL_DEL, other.as_raw_fd(), ptr::null_mut()) };
    rc < 0 && last_errno() == libc::ENOENT
}
