//! A live watcher: what its handle's reactor waits for, and the call of its Lua
//! handler. The Lua class with its methods is in `class`.

use std::os::raw::c_int;
use std::rc::Rc;

use crate::api::handle::{Handle, WeakHandle};
use crate::api::reactor::reference::{WatcherKind, WatcherRef};
use crate::api::reactor::slots;
use crate::backend;
use crate::backend::reactor::{Callback, Event, Source};
use crate::backend::slab::Place;
use crate::lua::{Kind, Raised, Result, State, Writer};

/// A watcher of a script. It keeps its handle alive, but the handle owns the event
/// source, in the slot at `place`.
#[derive(Clone)]
pub struct Watcher {
    handle: Handle,
    place: Place,
    kind: &'static WatcherKind,
}

/// A watcher that does not keep its handle alive. The watcher's own callbacks use it:
/// the handle owns them.
#[derive(Clone)]
pub struct WeakWatcher {
    handle: WeakHandle,
    place: Place,
    kind: &'static WatcherKind,
}

impl Watcher {
    /// The watcher at `place` of the handle.
    pub fn new(handle: Handle, place: Place, kind: &'static WatcherKind) -> Watcher {
        Watcher {
            handle,
            place,
            kind,
        }
    }

    /// The value of its userdata while it is alive.
    pub fn reference(&self) -> WatcherRef {
        WatcherRef {
            place: self.place,
            kind: self.kind,
            has_ended: false,
        }
    }

    /// The same watcher, without keeping the handle alive.
    pub fn downgrade(&self) -> WeakWatcher {
        WeakWatcher {
            handle: self.handle.downgrade(),
            place: self.place,
            kind: self.kind,
        }
    }

    /// Its handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for `source` from now on, and returns the previous source. A callback of
    /// the previous source keeps it until the callback returns.
    pub fn set_source(
        &self,
        source: Box<dyn backend::reactor::Watcher>,
    ) -> Option<Box<dyn backend::reactor::Watcher>> {
        self.handle.watchers().set_source(self.place, source)
    }

    /// Has the reactor call `callback` with each event of `source`, until the returned
    /// value is dropped.
    pub fn listen(
        &self,
        source: Source<'_>,
        callback: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<Box<dyn backend::reactor::Watcher>> {
        let weak = self.downgrade();
        let callback: Callback = Rc::new(move |event| {
            if let Some(watcher) = weak.upgrade() {
                callback(&watcher, event);
            }
        });
        Ok(self.handle.backend()?.watch(source, callback)?)
    }

    /// Ends the watcher: its handler is not called again, and the collector may free
    /// its values.
    pub fn end(&self) {
        self.handle.end_watcher(self.place);
    }

    /// Calls the Lua handler, unless the watcher has ended. `push_arguments` pushes the
    /// arguments and returns how many there are.
    pub fn call_handler(&self, mut push_arguments: impl FnMut(&Writer<'_>, StackIndices) -> c_int) {
        if !self.handle.watchers().is_alive(self.place) {
            return;
        }
        let callbacks = self.handle.callbacks().clone();
        callbacks.call(
            |writer| {
                let at = self.push_values(writer.state())?;
                writer.field(at.options, c"handler");
                Some(push_arguments(writer, at))
            },
            |state, ended| match ended {
                Ok(()) => self.check_result(state),
                Err(Raised) => self.handle.handler_raised(state),
            },
        );
    }

    /// Pushes the handle, its table, the watcher and the watcher's options table. None
    /// if the collector has already taken the handle's userdata.
    fn push_values(&self, state: State<'_>) -> Option<StackIndices> {
        if !self.handle.push_with_table(state) {
            return None;
        }
        let table = state.top();
        let is_found = slots::push_userdata(state, table, self.place) == Kind::Userdata
            && slots::push_options(state, table, self.place) == Kind::Table;
        is_found.then_some(StackIndices {
            handle: table - 1,
            watcher: table + 1,
            options: table + 2,
        })
    }

    /// Checks what the handler returned, which is on top of the stack.
    fn check_result(&self, state: State<'_>) {
        if self.kind.negative_result_stops && state.to_number(-1).is_some_and(|n| n < 0.0) {
            self.handle.stop_with_error();
        }
    }
}

impl WeakWatcher {
    /// The watcher, if it and its handle are still alive.
    pub fn upgrade(&self) -> Option<Watcher> {
        let handle = self.handle.upgrade()?;
        handle.watchers().is_alive(self.place).then_some(Watcher {
            handle,
            place: self.place,
            kind: self.kind,
        })
    }
}

/// Stack indices of the values that a handler's arguments are copied from.
#[derive(Clone, Copy)]
pub struct StackIndices {
    /// The watcher's userdata.
    pub watcher: c_int,
    /// The handle's userdata.
    pub handle: c_int,
    options: c_int,
}

impl StackIndices {
    /// Pushes the handle and the watcher, which are the first two arguments of many
    /// handlers. Returns 2.
    pub fn push_handle_and_watcher(writer: &Writer<'_>, at: StackIndices) -> c_int {
        writer.state().push_value(at.handle);
        writer.state().push_value(at.watcher);
        2
    }
}
