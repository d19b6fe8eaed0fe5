//! Runs the reactor of a handle, and reports the errors of handlers: `f:reactor()` raises
//! what a handler raised.

use std::os::raw::c_int;

use super::{Handle, RAISED_BY_ID};
use crate::backend;
use crate::backend::reactor::RunMode;
use crate::lua::{Error, Kind, Raised, Result, StackError, State};

/// How many reactors may run inside each other's handlers. Each takes some of the C
/// stack. Lua has a limit of its own, but counts anew on every Lua thread.
const MAX_NESTED: c_int = 100;

/// The level LOG_ERR of syslog.
const LOG_ERR: i32 = 3;

impl Handle {
    /// Runs the reactor. Returns how many watchers are still active, or the error that
    /// the reactor was stopped with. Raises an error if the handle is closed, or if too
    /// many reactors are nested.
    pub fn run_reactor(&self, state: State<'_>, mode: RunMode) -> Result<backend::Result<u32>> {
        let backend = self.backend()?;
        if self.0.callbacks.depth() >= MAX_NESTED {
            let text = "C stack overflow: too many nested reactors";
            return Err(Error::raise(text));
        }
        if self.0.running.get() == 0 {
            self.0.stop_reason.take();
        }
        self.0.running.set(self.0.running.get() + 1);
        let callbacks = &self.0.callbacks;
        let ended = callbacks.run_reactor(state, || backend.reactor_run(mode));
        self.0.running.set(self.0.running.get() - 1);
        ended
    }

    /// Stops the reactor with an error. Does nothing if the handle is closed.
    pub fn stop_with_error(&self) {
        if let Ok(backend) = self.backend() {
            backend.reactor_stop_error();
        }
    }

    /// Sets the reason that `f:reactor()` returns.
    pub fn set_stop_reason(&self, reason: Option<String>) {
        self.0.stop_reason.replace(reason);
    }

    /// The reason that `reactor_stop_error` was called with. All nested runs return it;
    /// the outermost one, which returns last, removes it.
    pub fn take_stop_reason(&self) -> Option<String> {
        match self.0.running.get() {
            0 => self.0.stop_reason.take(),
            _ => self.0.stop_reason.borrow().clone(),
        }
    }

    /// Reports that a handler raised the value on top of the stack. `f:reactor()` stops
    /// and raises it. If C code runs the reactor, the value is logged instead.
    pub fn handler_raised(&self, state: State<'_>) {
        if self.0.running.get() == 0 {
            self.log_error(state);
            return;
        }
        // Only the first error counts: later ones may be consequences of it.
        if !self.0.has_raised.replace(true) {
            let stored = state.protect(1, |writer| {
                writer.state().registry(&RAISED_BY_ID);
                writer.integer(self.0.id as i64);
                writer.state().push_value(1);
                writer.raw_set(-3);
                0
            });
            if stored.is_err() {
                state.pop(1);
            }
        }
        self.stop_with_error();
    }

    /// Logs the error on top of the stack.
    fn log_error(&self, state: State<'_>) {
        let text = match state.bytes(-1) {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => format!("a {} was raised", state.kind(-1).name()),
        };
        if let Ok(backend) = self.backend() {
            // There is no other place to report the error if logging fails.
            let _ = backend.log(LOG_ERR, &text);
        }
    }

    /// Raises the value that a handler raised, if one did. Does so only once.
    pub fn raise_handler_error(&self, state: State<'_>) -> Result<()> {
        if !self.0.has_raised.replace(false) {
            return Ok(());
        }
        state.registry(&RAISED_BY_ID);
        if state.raw_get_index(-1, self.0.id as i64) == Kind::Nil {
            // There was no memory to store the value.
            return Err(StackError::Memory.into());
        }
        self.0.callbacks.with_state(|state| {
            state.registry(&RAISED_BY_ID);
            state.raw_clear_index(-1, self.0.id as i64);
        });
        Err(Raised.into())
    }
}
