//! Waits for a descriptor of a script, which may close it at any time. libev
//! aborts the process if it cannot wait for a descriptor. So libev waits for
//! another descriptor, which represents the script's.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::backend::reactor::poll;
use crate::backend::system::{self, EventFd};
use crate::backend::{Error, Result, last_errno};

/// A script's descriptor, and the [`poll`] bits to wait for.
pub struct Descriptor {
    fd: RawFd,
    events: i32,
    proxy: Proxy,
}

/// The object for which libev waits in place of the descriptor.
enum Proxy {
    /// An epoll instance that contains only the script's descriptor. It refers
    /// to the open file, so another file with the same number causes no event.
    Epoll(OwnedFd),
    /// A descriptor that is always readable, for a regular file, because epoll
    /// cannot wait for one.
    Always(EventFd),
    /// No object, for an epoll instance, which a timer checks instead. If it
    /// were libev's own instance, or contained it, adding it to an epoll
    /// instance of ours would make a loop. The kernel would refuse the loop,
    /// and libev would abort.
    Polled,
}

/// The time between two checks, in seconds.
pub const INTERVAL: f64 = 0.01;

/// The descriptor was closed.
pub struct Closed;

impl Descriptor {
    /// Prepares to wait for a descriptor. Fails with `EBADF` if `fd` is not
    /// open, and with `EINVAL` if the events are not [`poll`] bits.
    pub fn new(fd: RawFd, events: i32) -> Result<Descriptor> {
        if events == 0 || events & !(poll::IN | poll::OUT | poll::ERR) != 0 {
            return Err(Error::new(libc::EINVAL));
        }
        system::check_descriptor(fd)?;
        // SAFETY: the call takes no pointer and returns a new descriptor or -1.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so nothing else owns it.
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

    /// The descriptor that libev waits for to become readable, if there is one.
    pub fn proxy(&self) -> Option<RawFd> {
        match &self.proxy {
            Proxy::Epoll(epoll) => Some(epoll.as_raw_fd()),
            Proxy::Always(always) => Some(always.fd()),
            Proxy::Polled => None,
        }
    }

    /// The [`poll`] bits that are ready now. 0 if none is ready any more.
    pub fn ready(&self) -> std::result::Result<i32, Closed> {
        let ready = match &self.proxy {
            Proxy::Epoll(epoll) => {
                // Fails if the number is closed, or belongs to another file. The
                // script's file may live on under another number.
                control(epoll, libc::EPOLL_CTL_MOD, self.fd, self.events).map_err(|_| Closed)?;
                self.ready_of(epoll)
            }
            Proxy::Always(_) | Proxy::Polled => self.look()?,
        };
        Ok(self.events_of(ready))
    }

    fn ready_of(&self, epoll: &OwnedFd) -> i32 {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: an open epoll instance, and a place for one event.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) };
        if count > 0 { event.events as i32 } else { 0 }
    }

    fn look(&self) -> std::result::Result<i32, Closed> {
        let mut entry = [system::poll_entry(self.fd, mask(self.events) as i16)];
        // It fails only for lack of memory. The next check may succeed.
        let _ = system::poll(&mut entry, Some(Duration::ZERO));
        match i32::from(entry[0].revents) {
            ready if ready & i32::from(libc::POLLNVAL) != 0 => Err(Closed),
            ready => Ok(ready),
        }
    }

    /// The [`poll`] bits for epoll events. Errors and hangups count as readiness:
    /// reading or writing then reports them.
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

/// The epoll events for [`poll`] bits. poll(2) has the same values.
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

/// Adds `fd` to an epoll instance, or changes its events there.
fn control(epoll: &OwnedFd, op: c_int, fd: RawFd, events: i32) -> Result<()> {
    let mut event = libc::epoll_event {
        events: mask(events) as u32,
        u64: 0,
    };
    // SAFETY: an open epoll instance, and an event that is only read.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), op, fd, &mut event) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Whether `fd` is an epoll instance. If so, it reports that it does not have
/// `other`, which must be new; other files report another error.
fn is_epoll(fd: RawFd, other: &OwnedFd) -> bool {
    // SAFETY: removing takes no event, so the pointer may be null.
    let rc =
        unsafe { libc::epoll_ctl(fd, libc::EPOLL_CTL_DEL, other.as_raw_fd(), ptr::null_mut()) };
    rc < 0 && last_errno() == libc::ENOENT
}
