//! Makes watchers: a constructor reads its options table, builds the watcher, and
//! returns its userdata. The userdata is allocated before the constructor's body runs.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::api::reactor::options::Options;
use crate::api::reactor::reference::{WatcherKind, WatcherRef};
use crate::api::reactor::slots;
use crate::api::reactor::watcher::Watcher;
use crate::backend::reactor::{Event, Source};
use crate::lua::{
    Class, Error, Kind, Prepare, Push, Result, State, Writer, lua_CFunction, lua_State,
    upvalue_index,
};

/// The stack index of the userdata of the new watcher. The handle is argument 1, the
/// options table argument 2.
const USERDATA: c_int = 3;

/// A watcher that is being built: the script does not have it yet. Dropping the builder
/// ends the watcher, unless it was finished.
pub struct WatcherBuilder {
    watcher: Watcher,
    is_finished: bool,
}

impl WatcherBuilder {
    /// Begins a watcher of `handle`, which is argument 1. It has no event source yet.
    /// Its userdata is ready.
    pub fn new(
        state: State<'_>,
        handle: Handle,
        kind: &'static WatcherKind,
        _userdata: &EmptyUserdata,
    ) -> Result<WatcherBuilder> {
        handle.keep_alive()?;
        let place = handle
            .watchers()
            .insert::<Handle>(state, handle.callbacks().next_id())?;
        Ok(WatcherBuilder {
            watcher: Watcher::new(handle, place, kind),
            is_finished: false,
        })
    }

    /// The watcher.
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Finishes a watcher that has one event source. The reactor calls `callback` with
    /// each event.
    pub fn start(
        self,
        state: State<'_>,
        source: Source<'_>,
        callback: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<NewWatcher> {
        let source = self.watcher.listen(source, callback)?;
        self.watcher.set_source(source);
        self.finish(state)
    }

    /// Finishes the watcher. The result fills the userdata and returns it to the
    /// script.
    pub fn finish(mut self, state: State<'_>) -> Result<NewWatcher> {
        state.set_top(USERDATA);
        if !state.object_table::<Handle>(1) {
            return Err(Error::raise("the table of the flux handle was removed"));
        }
        self.is_finished = true;
        Ok(NewWatcher(self.watcher.reference()))
    }
}

impl Drop for WatcherBuilder {
    fn drop(&mut self) {
        if !self.is_finished {
            self.watcher.end();
        }
    }
}

/// A finished watcher, to be returned as userdata. The empty userdata is at
/// [`USERDATA`], and the table that the handle's userdata carries is above it.
pub struct NewWatcher(WatcherRef);

impl Push for NewWatcher {
    /// Raises an error only if the script itself removed the watcher's slot from the
    /// handle's table, with the debug library.
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let state = writer.state();
        slots::store(writer, USERDATA + 1, self.0.place, USERDATA, 2);
        // The debug library can replace the userdata by another value.
        if let Some(object) = state.find::<WatcherRef>(USERDATA) {
            object.set(self.0);
            // SAFETY: the object was found at this index, and the handle's table is on
            // top.
            unsafe { object.keep_table(state, USERDATA) };
        }
        1
    }
}

/// Stands for the empty userdata of a new watcher, at stack index [`USERDATA`]. A
/// constructor's entry point makes the userdata before the body runs. It makes none if
/// argument 2 is not a table, because every constructor refuses such a call.
pub struct EmptyUserdata(());

impl EmptyUserdata {
    /// Makes the userdata in a step after the first of a call that waits. Fails only
    /// without memory.
    pub fn push(state: State<'_>) -> Result<EmptyUserdata> {
        state.set_top(USERDATA - 1);
        state.protect(0, |writer| {
            writer.new_object_with::<WatcherRef>(|| None);
            1
        })?;
        Ok(EmptyUserdata(()))
    }
}

impl Prepare for EmptyUserdata {
    unsafe fn prepare(raw: *mut lua_State) -> EmptyUserdata {
        // SAFETY: the caller keeps the contract of `Prepare`, which is that of `Writer`.
        let writer = unsafe { Writer::new(raw) };
        let state = writer.state();
        if state.kind(2) == Kind::Table {
            state.set_top(USERDATA - 1);
            writer.new_object_of::<WatcherRef>(upvalue_index(METATABLE), || None);
        }
        EmptyUserdata(())
    }
}

/// The upvalue of a constructor that holds the metatable of watchers, which saves a
/// lookup. The names of the fields are the upvalues after it.
const METATABLE: c_int = 1;

/// A constructor, which is a method of the handle: its name, its entry point, and the
/// options table that it takes.
pub type Constructor = (&'static CStr, lua_CFunction, &'static Options);

/// Sets the constructors as fields of the table at `class`.
pub fn set_constructors(writer: &Writer<'_>, class: c_int, constructors: &[Constructor]) {
    for (name, function, options) in constructors {
        writer.state().registry(&WatcherRef::info().key);
        for field in options.fields {
            writer.bytes(field.name.to_bytes());
        }
        // SAFETY: the tables of this module contain entry points.
        unsafe { writer.closure(*function, 1 + options.fields.len() as c_int) };
        writer.set_field(class, name);
    }
}
