//! Making a reactor object: a userdata that waits for its value. The table that
//! it is made of is read in `fields`.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::api::reactor::form::Form;
use crate::api::reactor::reference::{Reference, Traits};
use crate::api::reactor::slots;
use crate::api::reactor::watcher::Watcher;
use crate::backend::reactor::{Event, Source};
use crate::lua::{
    Class, Error, Kind, Prepare, Push, Result, State, Writer, lua_CFunction, lua_State,
    upvalue_index,
};

/// A watcher of the handle that is argument 1, made of the table that is
/// argument 2, which no script knows yet. One that none comes to know ends.
pub struct NewWatcher {
    watcher: Watcher,
    is_known: bool,
}

impl NewWatcher {
    /// One that waits for nothing yet.
    pub fn new(state: State<'_>, handle: Handle, traits: &'static Traits) -> Result<NewWatcher> {
        handle.hold()?;
        let place = handle
            .watchers()
            .begin::<Handle>(state, handle.callbacks().next_id())?;
        Ok(NewWatcher {
            watcher: Watcher::new(handle, place, traits),
            is_known: false,
        })
    }

    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Wait for `source` alone.
    pub fn start(
        self,
        state: State<'_>,
        object: &WatcherObject,
        source: Source<'_>,
        fired: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<Made> {
        let source = self.watcher.listen(source, fired)?;
        self.watcher.wait_for(source);
        self.made(state, object)
    }

    /// What the method returns: the userdata that waits at [`OBJECT`].
    pub fn made(mut self, state: State<'_>, _: &WatcherObject) -> Result<Made> {
        state.set_top(OBJECT);
        if !state.object_table::<Handle>(1) {
            return Err(Error::raise("the flux handle has no watchers"));
        }
        self.is_known = true;
        Ok(Made(self.watcher.reference()))
    }

    /// The same where none waits.
    pub fn made_with_object(self, state: State<'_>) -> Result<Made> {
        state.set_top(OBJECT - 1);
        state.protect(0, |writer| {
            writer.new_object_with::<Reference>(|| None);
            1
        })?;
        self.made(state, &WatcherObject(()))
    }
}

/// A watcher whose userdata is at [`OBJECT`], below its handle's table.
pub struct Made(Reference);

impl Push for Made {
    /// Only a script that took the watcher's slot out of the table has this raise.
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let state = writer.state();
        slots::keep(writer, OBJECT + 1, self.0.place, OBJECT, 2);
        // The debug library can put anything in its place.
        if let Some(object) = state.find::<Reference>(OBJECT) {
            object.set(self.0);
            // SAFETY: the object was found at this index, and below it is only
            // what it is pushed above: the handle's table is on top.
            unsafe { object.keep_table(state, OBJECT) };
        }
        1
    }
}

impl Drop for NewWatcher {
    fn drop(&mut self) {
        if !self.is_known {
            self.watcher.end();
        }
    }
}

/// Where the userdata waits that the function's watcher will have.
const OBJECT: c_int = 3;

/// The userdata of a new watcher, which an entry point makes before its body
/// runs. Each body refuses an argument that is not a table, and so none is made
/// for one.
pub struct WatcherObject(());

impl Prepare for WatcherObject {
    unsafe fn prepare(raw: *mut lua_State) -> WatcherObject {
        // SAFETY: by the contract of `Prepare`.
        let writer = unsafe { Writer::new(raw) };
        let state = writer.state();
        if state.kind(2) == Kind::Table {
            state.set_top(OBJECT - 1);
            writer.new_object_of::<Reference>(upvalue_index(METATABLE), || None);
        }
        WatcherObject(())
    }
}

/// The upvalue of a method that makes a watcher which is the watchers' metatable,
/// so that it does not have to be looked for. Above it are the names of fields.
const METATABLE: c_int = 1;

/// A method that makes a watcher, and the table that it takes.
pub type Method = (&'static CStr, lua_CFunction, &'static Form);

pub fn set_methods(writer: &Writer<'_>, class: c_int, methods: &[Method]) {
    for (name, function, form) in methods {
        writer.state().registry(&Reference::info().key);
        for field in form.fields {
            writer.bytes(field.name.to_bytes());
        }
        writer.closure(*function, 1 + form.fields.len() as c_int);
        writer.set_field(class, name);
    }
}
