//! A future with a continuation, which the handle's reactor calls.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;

use super::connection::Connection;
use super::future::FluxFuture;
use super::reactor::{self, Called};
use super::sys::flux_future_t;
use super::watcher;
use crate::backend::reactor::{Callback, Source, Watcher};
use crate::backend::{Continuation, Result};

/// Have the reactor call `continuation` each time the future is fulfilled.
pub fn then(future: FluxFuture, continuation: Continuation) -> Result<Box<dyn Watcher>> {
    if future.is_over() {
        return soon(future, continuation);
    }
    let connection = Rc::clone(future.connection());
    connection.listen()?;
    let awaited = Rc::new(Awaited {
        connection,
        future: RefCell::new(None),
        continuation,
        is_calling: Cell::new(false),
    });
    // SAFETY: what it points to owns the future, and destroys it first.
    let begun = unsafe { future.call_on_fulfilled(on_fulfilled, reactor::arg(&awaited)) };
    awaited.future.replace(Some(future));
    begun?;
    Ok(Box::new(Then(awaited)))
}

/// libflux would wait for a response all the same, and where there is none to
/// come (a request that wants no response) take those of others.
fn soon(future: FluxFuture, continuation: Continuation) -> Result<Box<dyn Watcher>> {
    let connection = Rc::clone(future.connection());
    let callback: Callback = Rc::new(move |_| continuation(&future));
    let now = Source::Timer {
        after: 0.0,
        repeat: 0.0,
    };
    watcher::watch(&connection, now, callback)
}

/// Gives the future up when it is dropped; or at the end of the call that
/// drops it, which may look at the future till then.
struct Then(#[expect(dead_code, reason = "only kept alive")] Rc<Awaited>);

/// What libflux points to.
struct Awaited {
    connection: Rc<Connection>,
    /// Gone after its last call.
    future: RefCell<Option<FluxFuture>>,
    continuation: Continuation,
    is_calling: Cell<bool>,
}

impl Watcher for Then {}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Called for Awaited {
    fn connection(self: &Rc<Self>) -> &Rc<Connection> {
        &self.connection
    }
}

impl Awaited {
    /// A value that comes in a run within the call waits until the call is
    /// over: the future must keep the one that the call looks at.
    fn fulfilled(self: &Rc<Self>) {
        if self.is_calling.replace(true) {
            return;
        }
        if let Some(future) = &*self.future.borrow() {
            self.connection.runs.handle();
            self.connection.guard(|| (self.continuation)(future));
        }
        self.is_calling.set(false);
        self.go_on();
    }

    fn go_on(&self) {
        let is_over = |future: &FluxFuture| {
            let is_over = future.is_over();
            // SAFETY: only the continuation borrows the value, while called.
            unsafe { future.next() };
            is_over
        };
        if self.future.borrow().as_ref().is_none_or(is_over) {
            self.finish();
        }
    }

    /// Its message handler would keep the reactor running.
    fn finish(&self) {
        if let Some(future) = self.future.take() {
            drop(future);
            self.connection.unlisten();
        }
    }
}

/// libflux calls this each time a future is fulfilled.
unsafe extern "C" fn on_fulfilled(_: *mut flux_future_t, arg: *mut c_void) {
    // SAFETY: libflux passes what it was given, which lives as the future does.
    unsafe { reactor::enter(arg, Awaited::fulfilled) };
}
