//! Calls that wait for the broker. Such a call is a sequence of steps: each waits for a
//! future and continues with a closure. A blocking call waits for one future after the
//! other.

use crate::backend::Future;
use crate::lua::{Result, State};

/// Continues a call after its future is fulfilled, with a value or with an error.
type Continue<R> = Box<dyn FnOnce(State<'_>, Box<dyn Future>) -> Result<Step<R>>>;

/// One step of a call that returns `R`.
pub enum Step<R> {
    /// The call is complete, with these results.
    Done(R),
    /// The call waits for a future.
    Wait(Wait<R>),
}

impl<R: 'static> Step<R> {
    /// The same call, with its results converted by `into`.
    pub fn map<S: 'static>(self, into: fn(R) -> S) -> Step<S> {
        match self {
            Step::Done(results) => Step::Done(into(results)),
            Step::Wait(wait) => Step::Wait(wait.map(into)),
        }
    }
}

/// A call that waits for a future.
pub struct Wait<R> {
    future: Box<dyn Future>,
    then: Continue<R>,
}

impl<R> Step<R> {
    /// Waits for `future`, then continues with `then`.
    ///
    /// `then` owns all that it needs. It may use the Lua stack of the call, but must not
    /// expect anything on it.
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

/// Turns the body of a call that waits into the body of an entry point that blocks.
pub fn blocking<'a, R>(
    body: fn(State<'a>) -> Result<Step<R>>,
) -> impl FnOnce(State<'a>) -> Result<R> {
    move |state| block(state, body(state)?)
}

/// Waits for each future in turn, until the call is complete.
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
