//! Making a reactor object: reading the table that it is made of, and a userdata
//! that waits for its value. What it is then is `watcher`'s.

use std::ffi::CStr;
use std::os::raw::c_int;

use super::super::handle::Handle;
use super::super::watchers;
use super::{Reference, Traits, Watcher};
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
        let place = handle.watchers().begin(state, handle.gate().next_id())?;
        Ok(NewWatcher {
            watcher: Watcher {
                handle,
                place,
                traits,
            },
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
        Ok(Made(Reference {
            place: self.watcher.place,
            traits: self.watcher.traits,
            has_ended: false,
        }))
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
        watchers::keep(writer, OBJECT + 1, self.0.place, OBJECT, 2);
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
            unsafe { $crate::api::watcher::enter(state, $body) }
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

/// The upvalues of a method that makes a watcher: the watchers' metatable, then
/// the names of fields, so that neither has to be looked for.
const METATABLE: c_int = 1;
const NAMES: c_int = 2;

/// A method that makes a watcher, and the fields that it has of its table.
pub type Method = (&'static CStr, lua_CFunction, &'static [&'static CStr]);

pub fn set_methods(writer: &Writer<'_>, class: c_int, methods: &[Method]) {
    for (name, function, fields) in methods {
        writer.state().registry(&Reference::info().key);
        for field in *fields {
            writer.bytes(field.to_bytes());
        }
        writer.closure(*function, 1 + fields.len() as c_int);
        writer.set_field(class, name);
    }
}

/// The values of the method's fields in the table that is argument 2, pushed;
/// the index of the first. The C bindings' words for a table that is none.
pub fn fields(state: State<'_>, names: &[&CStr]) -> Result<c_int> {
    if state.kind(2) != Kind::Table {
        return Err(Error::failure("Expected table as 2nd argument"));
    }
    let first = state.top() + 1;
    if state.push_metatable(2) {
        state.pop(1);
        return computed_fields(state, names).map(|()| first);
    }
    for upvalue in 0..names.len() as c_int {
        state.push_value(upvalue_index(NAMES + upvalue));
        state.raw_get(2);
    }
    Ok(first)
}

/// The table's metamethods may have them, and may raise.
#[cold]
fn computed_fields(state: State<'_>, names: &[&CStr]) -> Result<()> {
    state.push_value(2);
    state.protect(1, |writer| {
        for name in names {
            writer.field(1, name);
        }
        names.len() as c_int
    })?;
    Ok(())
}

/// The C bindings' words for a field that is not there.
pub fn missing(name: &str) -> Error {
    Error::failure(format!("Mandatory table argument '{name}' missing"))
}

/// The field `name`, which is on the stack at `index` and must be a string.
pub fn text_field<'a>(state: State<'a>, index: c_int, name: &str) -> Result<&'a str> {
    state
        .bytes(index)
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| Error::argument(2, format!("field '{name}': a string expected")))
}

/// The handler must be there, and be something to call.
pub fn check_handler(state: State<'_>, index: c_int) -> Result<()> {
    match state.kind(index) {
        Kind::Nil => Err(missing("handler")),
        Kind::Function | Kind::Table | Kind::Userdata => Ok(()),
        kind => Err(Error::argument(
            2,
            format!("field 'handler': function expected, got {}", kind.name()),
        )),
    }
}
