//! The reactor of a handle, for both back ends: the modes in which it runs, and
//! the events for which it can wait.

use std::rc::Rc;
use std::sync::Arc;

use super::message::Message;

/// How long [`Handle::reactor_run`](super::Handle::reactor_run) runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped, or there is nothing left to wait for.
    Forever,
    /// Until at least one event was handled.
    Once,
    /// Only the events that have already happened.
    NoWait,
}

/// Readiness of a file descriptor: the bits of [`Source::Fd`] and [`Event::Fd`].
pub mod poll {
    /// It can be read.
    pub const IN: i32 = 1;
    /// It can be written to.
    pub const OUT: i32 = 2;
    /// It has an error, or was closed.
    pub const ERR: i32 = 4;
}

/// The source of a watcher's events.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// A time.
    Timer {
        /// Seconds from now.
        after: f64,
        /// Seconds between further events. 0 for one event only.
        repeat: f64,
    },
    /// A file descriptor. Its owner keeps it, and closes it.
    Fd {
        /// The descriptor.
        fd: i32,
        /// [`poll`] bits.
        events: i32,
    },
    /// A signal, by its number. Several watchers may share one.
    Signal(i32),
    /// A change of a path's status.
    Stat {
        /// The path.
        path: &'a str,
        /// The longest time between two checks, in seconds. 0 stands for the
        /// reactor's default.
        interval: f64,
    },
    /// Messages of these types whose topic matches, from senders that have one
    /// of these roles. Requests of others are refused with EPERM, as in libflux.
    ///
    /// A request or response goes to the newest handler that matches, an event
    /// to all of them.
    Message {
        /// An or of [`msgtype`](super::msgtype) bits.
        typemask: i32,
        /// A topic, or a pattern with `*`, `?` and `[…]`. None for any topic.
        topic_glob: Option<&'a str>,
        /// An or of role bits. The owner's role is always allowed.
        rolemask: u32,
    },
}

/// An event of a watcher.
pub enum Event {
    /// The time has come.
    Timer,
    /// The descriptor is ready, for these [`poll`] bits.
    Fd(i32),
    /// The signal was received.
    Signal,
    /// The path's status changed.
    Stat {
        /// The present status.
        now: Box<libc::stat>,
        /// The status before.
        before: Box<libc::stat>,
    },
    /// A message was received.
    Message(Arc<dyn Message>),
}

/// Called in the reactor. It may do whatever a script may: run the reactor
/// again, make watchers, and drop any of them, including its own.
pub type Callback = Rc<dyn Fn(Event)>;

/// Something that the reactor waits for. Dropping it ends the wait for good:
/// its callback is not called again, and is dropped when no call of it runs.
pub trait Watcher {}
