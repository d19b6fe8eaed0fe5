//! Runs the reactor of a handle, and calls a script's callbacks in it.
//! `watcher`, `dispatch` and `future` contain the sources of its events.

use std::any::Any;
use std::cell::Cell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::connection::Connection;
use super::disconnect::DisconnectWatcher;
use super::sys;
use crate::backend::reactor::RunMode;
use crate::backend::{Error, Result};

/// How the reactor was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Without an error.
    Done,
    /// With an error.
    Error,
}

/// The state of a handle's reactor. It must be dropped before the handle.
///
/// libev allows a run within another one, which then handles all events of the
/// reactor. Stopping the reactor stops all its runs.
#[derive(Default)]
pub struct Reactor {
    /// The number of runs that we began and that have not ended. They are
    /// nested in one another.
    running: Cell<u32>,
    /// The number of runs that we have ever begun.
    begun: Cell<u64>,
    /// The number of calls of callbacks that have not returned. They are nested
    /// in one another.
    calls: Cell<u32>,
    /// The number of events for which a callback was called.
    handled: Cell<u64>,
    /// How the present runs were told to stop.
    stopped: Cell<Option<Stop>>,
    /// The number of handlers and continuations for which messages are read.
    listeners: Cell<usize>,
    disconnect_watcher: DisconnectWatcher,
}

impl Reactor {
    /// Records that a callback is about to be called for an event.
    pub fn handle(&self) {
        self.handled.set(self.handled.get() + 1);
    }

    /// A number that changes with each run of the reactor.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether a run of the reactor reads messages.
    pub fn is_listening(&self) -> bool {
        self.listeners.get() > 0
    }

    /// Makes the reactor read messages, for one more handler or continuation.
    pub fn listen(&self, connection: &Connection) {
        self.listeners.set(self.listeners.get() + 1);
        self.update_watch(connection);
    }

    /// Undoes one [`Reactor::listen`].
    pub fn unlisten(&self, connection: &Connection) {
        self.listeners.set(self.listeners.get() - 1);
        self.update_watch(connection);
    }

    /// See [`crate::backend::Handle::reactor_run`].
    pub fn run(&self, connection: &Connection, mode: RunMode) -> Result<u32> {
        connection.reactor()?;
        // When a run begins, libev forgets that those around it were stopped.
        let outer = self.stopped.take().filter(|_| self.calls.get() > 0);
        self.running.set(self.running.get() + 1);
        self.begun.set(self.begun.get() + 1);
        self.update_watch(connection);
        let ended = match mode {
            _ if self.disconnect_watcher.is_lost_unnoticed(connection) => {
                Err(Error::new(libc::ECONNRESET))
            }
            RunMode::Forever => run_with(connection, 0),
            RunMode::Once => self.run_once(connection),
            RunMode::NoWait => run_with(connection, sys::FLUX_REACTOR_NOWAIT),
        };
        self.running.set(self.running.get() - 1);
        self.update_watch(connection);
        let ended = ended.map_err(|error| self.reason(connection, error));
        if self.calls.get() == 0 {
            self.stopped.set(None);
        } else if let (Some(stop), None) = (outer, self.stopped.get()) {
            self.stop(connection, stop);
        }
        ended
    }

    /// Stops the present runs. Does nothing if the handle has no reactor.
    pub fn stop(&self, connection: &Connection, stop: Stop) {
        let Ok(r) = connection.reactor() else { return };
        self.stopped.set(Some(stop));
        // SAFETY: the reactor is valid; it need not be running.
        unsafe {
            match stop {
                Stop::Done => (connection.api.flux_reactor_stop)(r),
                Stop::Error => (connection.api.flux_reactor_stop_error)(r),
            }
        }
    }

    /// Calls a callback of a script. A panic ends here, and is logged.
    pub fn guard(&self, connection: &Connection, call: impl FnOnce()) {
        if self.calls.get() == 0 && self.running.get() == 0 {
            // C code runs the reactor, so the way in which an earlier run was
            // stopped no longer matters.
            self.stopped.set(None);
        }
        self.calls.set(self.calls.get() + 1);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
            log_panic(connection, panic.as_ref());
        }
        if self.disconnect_watcher.is_lost_unnoticed(connection) {
            end_run_at_loss(connection);
        }
        self.calls.set(self.calls.get() - 1);
    }

    /// Watches for the loss of the broker in runs that read no messages.
    fn update_watch(&self, connection: &Connection) {
        let is_needed = self.running.get() > 0 && !self.is_listening();
        self.disconnect_watcher.watch(connection, is_needed);
    }

    /// One turn of libev may end with a signal handler, or with a message that
    /// becomes an event only in the next turn. So it runs until an event was
    /// handled. But an external reactor runs only one turn, because its events
    /// may belong to C code, and are not seen here.
    fn run_once(&self, connection: &Connection) -> Result<u32> {
        let before = self.handled.get();
        loop {
            let active = run_with(connection, sys::FLUX_REACTOR_ONCE)?;
            let is_over = self.handled.get() != before || self.stopped.get().is_some();
            if active == 0 || is_over || connection.is_external() {
                return Ok(active);
            }
        }
    }

    /// The reason why a run failed; libflux sets no errno of its own.
    fn reason(&self, connection: &Connection, error: Error) -> Error {
        if self.stopped.get() == Some(Stop::Error) {
            return Error::new(libc::ECANCELED);
        }
        if connection.is_broken() {
            return Error::new(libc::ECONNRESET);
        }
        match error.errnum {
            libc::EAGAIN | libc::EINTR => Error::new(libc::ECANCELED),
            _ => error,
        }
    }
}

/// Runs the reactor with libflux's flags. Returns how many watchers are active.
fn run_with(connection: &Connection, flags: c_int) -> Result<u32> {
    let r = connection.reactor()?;
    // SAFETY: the reactor is valid, and lives until this returns, because the
    // caller keeps the connection. A callback may enter libev again.
    let active = unsafe { (connection.api.flux_reactor_run)(r, flags) };
    u32::try_from(active).map_err(|_| Error::last_os_error())
}

/// Does what libflux's dispatcher does when the broker is gone.
fn end_run_at_loss(connection: &Connection) {
    if let Ok(r) = connection.reactor() {
        // SAFETY: the reactor is valid.
        unsafe { (connection.api.flux_reactor_stop_error)(r) };
    }
}

fn log_panic(connection: &Connection, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("with no message");
    // If logging fails, the error cannot be reported anywhere else.
    let _ = connection.log(
        libc::LOG_ERR,
        &format!("a reactor callback panicked: {text}"),
    );
}
