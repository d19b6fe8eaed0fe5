//! Running the reactor of a handle, and the barrier between libflux and the
//! callbacks that it calls there. What they are called for is `watcher`'s,
//! `dispatch`'s and `continuation`'s.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::connection::Connection;
use super::sys::{self, flux_reactor_t};
use crate::backend::reactor::RunMode;
use crate::backend::{Error, Result};

/// How the reactor was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Done,
    Error,
}

/// What goes on in a handle's reactor.
#[derive(Default)]
pub struct Runs {
    /// Runs that we began, one within the other, and how many there ever were.
    running: Cell<u32>,
    begun: Cell<u64>,
    /// Callbacks that are being called, one within the other.
    calls: Cell<u32>,
    /// Events that a callback was called for.
    handled: Cell<u64>,
    /// What the runs under way were told.
    stopped: Cell<Option<Stop>>,
}

impl Runs {
    /// A callback is about to be called.
    pub fn handle(&self) {
        self.handled.set(self.handled.get() + 1);
    }

    /// Changes with each run of the reactor.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }
}

/// libev lets a run within another one: it handles all the reactor's events.
/// To stop is to stop all of them.
impl Connection {
    pub fn reactor(&self) -> Result<*mut flux_reactor_t> {
        // SAFETY: a valid handle, which owns the reactor, or whose owner does.
        let r = unsafe { (self.api.flux_get_reactor)(self.as_ptr()) };
        if r.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(r)
    }

    /// See [`crate::backend::Handle::reactor_run`].
    pub fn run(&self, mode: RunMode) -> Result<u32> {
        let r = self.reactor()?;
        let runs = &self.runs;
        // That a run begins makes libev forget that those around it were stopped.
        let outer = runs.stopped.take().filter(|_| runs.calls.get() > 0);
        runs.running.set(runs.running.get() + 1);
        runs.begun.set(runs.begun.get() + 1);
        self.watch_over_run();
        let ended = match mode {
            _ if self.is_lost_unnoticed() => Err(Error::new(libc::ECONNRESET)),
            RunMode::Forever => self.run_with(r, 0),
            RunMode::Once => self.run_once(r),
            RunMode::NoWait => self.run_with(r, sys::FLUX_REACTOR_NOWAIT),
        };
        runs.running.set(runs.running.get() - 1);
        self.watch_over_run();
        let ended = ended.map_err(|error| self.reason(error));
        if runs.calls.get() == 0 {
            runs.stopped.set(None);
        } else if let (Some(stop), None) = (outer, runs.stopped.get()) {
            self.stop(stop);
        }
        ended
    }

    /// A run began or ended, or what it reads changed.
    pub fn watch_over_run(&self) {
        self.look_out(self.runs.running.get() > 0 && !self.is_listening());
    }

    pub fn stop(&self, stop: Stop) {
        // There is nothing to stop where there is no reactor.
        let Ok(r) = self.reactor() else { return };
        self.runs.stopped.set(Some(stop));
        // SAFETY: a valid reactor, running or not.
        unsafe {
            match stop {
                Stop::Done => (self.api.flux_reactor_stop)(r),
                Stop::Error => (self.api.flux_reactor_stop_error)(r),
            }
        }
    }

    fn run_with(&self, r: *mut flux_reactor_t, flags: c_int) -> Result<u32> {
        // SAFETY: a valid reactor, which lives until this returns: whoever
        // called keeps the handle. libev may be entered again by a callback.
        let active = unsafe { (self.api.flux_reactor_run)(r, flags) };
        u32::try_from(active).map_err(|_| Error::last_os_error())
    }

    /// libev's one turn may end with a signal handler, or with a message that
    /// becomes an event only in the next turn. An external reactor's events
    /// may be C code's, which are not seen here.
    fn run_once(&self, r: *mut flux_reactor_t) -> Result<u32> {
        let runs = &self.runs;
        let before = runs.handled.get();
        loop {
            let active = self.run_with(r, sys::FLUX_REACTOR_ONCE)?;
            let is_over = runs.handled.get() != before || runs.stopped.get().is_some();
            if active == 0 || is_over || self.is_external() {
                return Ok(active);
            }
        }
    }

    /// Why a run failed; libflux leaves no errno of its own.
    fn reason(&self, error: Error) -> Error {
        if self.runs.stopped.get() == Some(Stop::Error) {
            return Error::new(libc::ECANCELED);
        }
        if self.is_broken() {
            return Error::new(libc::ECONNRESET);
        }
        match error.errnum {
            libc::EAGAIN | libc::EINTR => Error::new(libc::ECANCELED),
            _ => error,
        }
    }

    /// Run what a script gave; a panic ends there, in the log.
    pub fn guard(&self, call: impl FnOnce()) {
        let runs = &self.runs;
        if runs.calls.get() == 0 && runs.running.get() == 0 {
            // A run of C code: what an earlier one was told is over.
            runs.stopped.set(None);
        }
        runs.calls.set(runs.calls.get() + 1);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
            self.log_panic(panic.as_ref());
        }
        if self.is_lost_unnoticed() {
            self.end_run_at_loss();
        }
        runs.calls.set(runs.calls.get() - 1);
    }

    fn log_panic(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("with no message");
        // Where the log is out of reach there is nobody else to tell.
        let _ = self.log(
            libc::LOG_ERR,
            &format!("a reactor callback panicked: {text}"),
        );
    }
}

/// What C is given a pointer to, and passes to the callback.
pub trait Called {
    fn connection(self: &Rc<Self>) -> &Rc<Connection>;
}

/// The callback's body. What C passed lives until this returns, whatever the
/// body drops, and so does the handle; no panic leaves this.
///
/// # Safety
///
/// `arg` is [`arg`]'s pointer to a `T` that lives now, on this thread.
pub unsafe fn enter<T: Called>(arg: *mut c_void, body: impl FnOnce(&Rc<T>)) {
    let called = arg.cast_const().cast::<T>();
    // SAFETY: alive by the contract, so that a count may be added to the one
    // that keeps it; that count is this function's.
    let called = unsafe {
        Rc::increment_strong_count(called);
        Rc::from_raw(called)
    };
    let connection = Rc::clone(called.connection());
    connection.guard(move || {
        body(&called);
        // What it owns ends here, behind the barrier.
        drop(called);
    });
}

/// C's pointer to `called`. It keeps nothing alive.
pub fn arg<T: Called>(called: &Rc<T>) -> *mut c_void {
    Rc::as_ptr(called).cast_mut().cast()
}
