//! The reactor of a handle, as both back ends have it: running it, and what it
//! can wait for.

use std::rc::Rc;
use std::sync::Arc;

use super::{Future, Message};

/// How long [`super::Handle::reactor_run`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped, or nothing is left to wait for.
    Forever,
    /// Until at least one event was handled.
    Once,
    /// Handle what is there already.
    NoWait,
}

/// Readiness of a file descriptor: bits of [`Source::Fd`]'s and [`Event::Fd`]'s masks.
pub mod poll {
    pub const IN: i32 = 1;
    pub const OUT: i32 = 2;
    pub const ERR: i32 = 4;
}

/// What a watcher waits for.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// Seconds from now, and then from time to time if `repeat` is not 0.
    Timer { after: f64, repeat: f64 },
    /// [`poll`] bits. The descriptor stays its owner's.
    Fd { fd: i32, events: i32 },
    /// A signal's number. Several watchers may share one.
    Signal(i32),
    /// A path's status, compared every `interval` seconds (0: the reactor's
    /// own choice) or sooner where the system tells.
    Stat { path: &'a str, interval: f64 },
    /// Messages of these types whose topic matches, from senders that have one
    /// of these roles; others are refused with EPERM as libflux does.
    /// The newest handler of a request or response comes first and takes it;
    /// an event goes to all.
    Message {
        typemask: i32,
        /// With `*`, `?` and `[…]`; none for any topic.
        topic_glob: Option<&'a str>,
        rolemask: u32,
    },
}

/// The owner of the instance: who may send to a message handler by default.
pub const ROLE_OWNER: u32 = 1;

/// What a watcher saw.
pub enum Event {
    Timer,
    /// [`poll`] bits.
    Fd(i32),
    Signal,
    Stat {
        now: Box<libc::stat>,
        before: Box<libc::stat>,
    },
    Message(Arc<dyn Message>),
}

/// Called in the reactor. It may do all that a script may: run the reactor
/// again, make watchers, drop any of them, its own among them.
pub type Callback = Rc<dyn Fn(Event)>;

/// Called in the reactor each time a future is fulfilled; [`Future::payload`]
/// says with what. A stream is reset after each call, until its error.
pub type Continuation = Rc<dyn Fn(&dyn Future)>;

/// Something that the reactor waits for. Dropping it stops that for good;
/// its callback is not called again, and is dropped when no call of it runs.
pub trait Watcher {}
