//! File descriptors that watchers wait for, level-triggered. A descriptor that
//! its owner closes is reported once, as an error, and never polled again.

use std::os::fd::RawFd;

use crate::backend::Result;
use crate::backend::ids::{IdMap, Order};
use crate::backend::reactor::{Callback, Event, poll};
use crate::backend::system::{self, poll_entry};

/// The watchers of descriptors.
#[derive(Default)]
pub struct Descriptors {
    watchers: IdMap<Box<Descriptor>>,
    /// The ids of the watchers, by descriptor.
    order: Order,
    /// The number of watchers whose descriptor was closed.
    closed: usize,
}

/// One watcher.
pub struct Descriptor {
    events: i32,
    closed: bool,
    callback: Callback,
}

impl Descriptors {
    /// Adds a watcher. `events` is a set of [`poll`] bits. Fails with EBADF if
    /// `fd` is not open.
    pub fn add(&mut self, id: u64, fd: RawFd, events: i32, callback: Callback) -> Result<()> {
        system::check_descriptor(fd)?;
        let descriptor = Descriptor {
            events,
            closed: false,
            callback,
        };
        self.watchers.insert(id, Box::new(descriptor));
        self.order.insert((fd as u64, id));
        Ok(())
    }

    /// Removes a watcher.
    pub fn remove(&mut self, fd: RawFd, id: u64) -> Option<Box<Descriptor>> {
        let descriptor = self.watchers.remove(&id)?;
        self.order.remove(&(fd as u64, id));
        self.closed -= usize::from(descriptor.closed);
        Some(descriptor)
    }

    /// How many watchers may still see an event.
    pub fn active(&self) -> usize {
        self.watchers.len() - self.closed
    }

    /// Appends the entries for poll(2), one for each descriptor.
    pub fn poll_entries(&self, polled: &mut Vec<libc::pollfd>) {
        for &(fd, id) in &self.order {
            let fd = fd as RawFd;
            let events = self
                .watchers
                .get(&id)
                .map_or(0, |watcher| watcher.poll_events());
            // Do not poll this descriptor. It would report errors even though
            // no events are asked for, and no watcher would take them.
            if events == 0 {
                continue;
            }
            match polled.last_mut().filter(|entry| entry.fd == fd) {
                Some(entry) => entry.events |= events,
                None => polled.push(poll_entry(fd, events)),
            }
        }
    }

    /// Reports each watcher whose descriptor is ready, with its [`poll`] bits.
    /// `polled` has the order of [`Descriptors::poll_entries`].
    pub fn ready(&mut self, polled: &[libc::pollfd], mut report: impl FnMut(u64, i32)) {
        let mut polled = polled.iter();
        let mut next = polled.next();
        for &(fd, id) in &self.order {
            while next.is_some_and(|entry| (entry.fd as u64) < fd) {
                next = polled.next();
            }
            let Some(entry) = next else {
                return;
            };
            if entry.revents == 0 || entry.fd as u64 != fd {
                continue;
            }
            let Some(descriptor) = self.watchers.get_mut(&id) else {
                continue;
            };
            let events = descriptor.ready(entry.revents);
            if events == 0 {
                continue;
            }
            if events == poll::ERR {
                descriptor.closed = true;
                self.closed += 1;
            }
            report(id, events);
        }
    }

    /// The callback of a watcher and the event to pass to it. None if the
    /// watcher is gone.
    pub fn call(&self, id: u64, events: i32) -> Option<(Callback, Event)> {
        let descriptor = self.watchers.get(&id)?;
        Some((descriptor.callback.clone(), Event::Fd(events)))
    }
}

impl Descriptor {
    /// Converts the events to wait for into the bits of poll(2).
    fn poll_events(&self) -> i16 {
        if self.closed {
            return 0;
        }
        let wanted = |bit, event| if self.events & bit != 0 { event } else { 0 };
        wanted(poll::IN, libc::POLLIN) | wanted(poll::OUT, libc::POLLOUT)
    }

    /// The [`poll`] bits for the events that poll(2) returned. Errors and hangups
    /// count as readiness, as in libev: reading or writing then reports them.
    fn ready(&self, revents: i16) -> i32 {
        if self.poll_events() == 0 {
            return 0;
        }
        if revents & libc::POLLNVAL != 0 {
            return poll::ERR;
        }
        let over = libc::POLLERR | libc::POLLHUP;
        let when = |events, bit| if revents & events != 0 { bit } else { 0 };
        let ready = when(libc::POLLIN | over, poll::IN) | when(libc::POLLOUT | over, poll::OUT);
        ready & self.events
    }
}
