//! Calls that wait: each is a future with a continuation, and the call that
//! blocks is that future waited for.

use std::os::raw::c_int;

use crate::backend::Future;
use crate::lua::{self, Push, Result, State, lua_State};

/// What follows once the future is fulfilled, whether with a value or an error.
pub type Then<R> = Box<dyn FnOnce(State<'_>, Box<dyn Future>) -> Result<Step<R>>>;

/// How far a call has come.
pub enum Step<R> {
    Done(R),
    Wait(Wait<R>),
}

impl<R: 'static> Step<R> {
    /// The same call, with its results made into others.
    pub fn map<S: 'static>(self, into: fn(R) -> S) -> Step<S> {
        match self {
            Step::Done(results) => Step::Done(into(results)),
            Step::Wait(wait) => Step::Wait(wait.map(into)),
        }
    }
}

/// A call in the middle.
pub struct Wait<R> {
    future: Box<dyn Future>,
    then: Then<R>,
}

impl<R> Step<R> {
    /// Go on with `then` once `future` is fulfilled.
    pub fn wait<F>(future: Box<dyn Future>, then: F) -> Result<Step<R>>
    where
        F: FnOnce(State<'_>, Box<dyn Future>) -> Result<Step<R>> + 'static,
    {
        let then = Box::new(then);
        Ok(Step::Wait(Wait { future, then }))
    }
}

impl<R: 'static> Wait<R> {
    fn map<S: 'static>(self, into: fn(R) -> S) -> Wait<S> {
        let then = self.then;
        Wait {
            future: self.future,
            then: Box::new(move |state, future| Ok(then(state, future)?.map(into))),
        }
    }
}

/// Define entry points for functions that wait.
macro_rules! lua_waiting_functions {
    ($($name:ident => $body:path;)*) => {
        $(unsafe extern "C-unwind" fn $name(
            state: *mut $crate::lua::lua_State,
        ) -> ::std::os::raw::c_int {
            // SAFETY: Lua calls with a live state, and this frame owns nothing.
            unsafe { $crate::api::wait::enter(state, $body) }
        })*
    };
}
pub(super) use lua_waiting_functions;

/// Run an entry point that waits, blocking.
///
/// # Safety
/// As for [`lua::enter`].
pub unsafe fn enter<R: Push>(raw: *mut lua_State, body: fn(State<'_>) -> Result<Step<R>>) -> c_int {
    // SAFETY: the caller's promise; the closure is a function pointer.
    unsafe { lua::enter(raw, move |state| block(state, body(state)?)) }
}

fn block<R>(state: State<'_>, mut step: Step<R>) -> Result<R> {
    loop {
        match step {
            Step::Done(results) => return Ok(results),
            Step::Wait(wait) => {
                wait.future.wait(None)?;
                step = (wait.then)(state, wait.future)?;
            }
        }
    }
}
