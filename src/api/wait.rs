//! Calls that wait: each is a future with a continuation, and the call that
//! blocks is that future waited for.

use crate::backend::Future;
use crate::lua::{Result, State};

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

/// The body of an entry point that waits, as a body that blocks.
pub fn blocking<'a, R>(
    body: fn(State<'a>) -> Result<Step<R>>,
) -> impl FnOnce(State<'a>) -> Result<R> {
    move |state| block(state, body(state)?)
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
