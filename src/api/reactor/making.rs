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
    self, Class, Error, Kind, Push, Result, State, Writer, lua_CFunction, lua_State, upvalue_index,
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
        source: Source<'_>,
        fired: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<Made> {
        let source = self.watcher.listen(source, fired)?;
        self.watcher.wait_for(source);
        self.made(state)
    }

    /// What the method returns: the userdata that waits at [`OBJECT`].
    pub fn made(mut self, state: State<'_>) -> Result<Made> {
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
        self.made(state)
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
            object.keep_table(state, OBJECT);
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

/// Define entry points that make a watcher: its userdata is made first, while
/// nothing is owned that an error would jump over.
macro_rules! lua_watcher_functions {
    ($($name:ident => $body:path;)*) => {
        $(unsafe extern "C-unwind" fn $name(
            state: *mut $crate::lua::lua_State,
        ) -> ::std::os::raw::c_int {
            // SAFETY: Lua calls with a live state, and this frame owns nothing.
            unsafe { $crate::api::reactor::making::enter(state, $body) }
        })*
    };
}
pub(in crate::api) use lua_watcher_functions;

/// # Safety
/// As for [`lua::enter`].
pub unsafe fn enter(raw: *mut lua_State, body: fn(State<'_>) -> Result<Made>) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        prepare(&Writer::new(raw));
        lua::enter(raw, body)
    }
}

/// What is no table is refused by all of them.
fn prepare(writer: &Writer<'_>) {
    let state = writer.state();
    if state.kind(2) == Kind::Table {
        state.set_top(OBJECT - 1);
        writer.new_object_of::<Reference>(upvalue_index(METATABLE), || None);
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
