//! The Lua class of watchers, `FLUX.watcher`: fields, `remove` and `tostring`. Each
//! kind of watcher has its constructor in a file of its own.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::api::reactor::reference::{WatcherRef, value};
use crate::api::reactor::slots;
use crate::lua::{
    Error, FieldValue, Kind, Object, Push, Result, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// A computed field.
#[derive(Clone, Copy)]
enum Field {
    Id,
}

const FIELDS: &[(&CStr, Field)] = &[(c"id", Field::Id)];

/// The watcher whose method was called, which is argument 1.
struct Receiver<'a> {
    state: State<'a>,
    /// The object was found at index 1. The methods below call no Lua code, which could
    /// replace it.
    object: Object<'a, WatcherRef>,
    reference: WatcherRef,
}

impl<'a> Receiver<'a> {
    /// Raises an error if argument 1 is not a watcher.
    fn new(state: State<'a>) -> Result<Receiver<'a>> {
        let object = state.find_object(1)?;
        let reference = value(object)?;
        Ok(Receiver {
            state,
            object,
            reference,
        })
    }

    /// Pushes the table that the userdata carries. Returns false if there is none.
    fn push_table(&self) -> bool {
        // SAFETY: the object is at index 1.
        unsafe { self.object.push_table(self.state, 1) }
    }

    /// Pushes the options table. Returns false if it is not found.
    fn push_options(&self) -> bool {
        if !self.push_table() {
            return false;
        }
        if self.reference.has_ended {
            return true;
        }
        let state = self.state;
        let table = state.top();
        // If memory was too short to mark the watcher as ended, another watcher may
        // have its slot by now.
        slots::push_userdata(state, table, self.reference.place);
        state.raw_equal(1, -1)
            && slots::push_options(state, table, self.reference.place) == Kind::Table
    }

    /// Pushes the handle's table and, above it, the handle. None if the watcher has
    /// ended.
    fn push_handle(&self) -> Option<Handle> {
        if self.reference.has_ended || !self.push_table() {
            return None;
        }
        slots::push_handle(self.state, self.state.top());
        self.state.object(-1)?
    }

    /// Marks the watcher as ended. The handle's table is at `table`.
    fn end(&self, table: c_int) {
        // SAFETY: the object is at index 1.
        unsafe { self.reference.end(self.state, self.object, 1, table) };
    }
}

/// `w.key`: a method, else a field of the options table, else a computed field.
///
/// `id` is computed: timers of the C bindings had a number, by which scripts
/// identified them.
fn index(state: State<'_>) -> Result<Option<FieldValue>> {
    if state.method(2) {
        return Ok(Some(FieldValue::OnTop));
    }
    let watcher = Receiver::new(state)?;
    if watcher.push_options() {
        state.push_value(2);
        if state.raw_get(state.top() - 1) != Kind::Nil {
            return Ok(Some(FieldValue::OnTop));
        }
    }
    let field = state.field(2, FIELDS);
    Ok(field.map(|Field::Id| FieldValue::Integer(watcher.reference.place.id as i64)))
}

/// `w.key = value`: sets the field in the options table.
fn newindex(state: State<'_>) -> Result<()> {
    let watcher = Receiver::new(state)?;
    if matches!(state.kind(2), Kind::Nil | Kind::None) || state.number(2).is_some_and(f64::is_nan) {
        return Err(Error::argument(
            2,
            "the name of a field must not be nil or NaN",
        ));
    }
    if !watcher.push_options() {
        return Ok(());
    }
    state.push_value(2);
    state.push_value(3);
    state.protect(3, |writer| {
        writer.raw_set(1);
        0
    })?;
    Ok(())
}

/// `w:remove()`
fn remove(state: State<'_>) -> Result<Removed> {
    let watcher = Receiver::new(state)?;
    let reference = watcher.reference;
    let mut table_of_handle = None;
    if let Some(handle) = watcher.push_handle()
        && let Some(_source) = handle.watchers().remove(reference.place)
    {
        let table = state.top() - 1;
        watcher.end(table);
        table_of_handle = Some(table);
        handle.release_if_idle();
    }
    Ok(Removed {
        reference,
        table_of_handle,
    })
}

/// The result of `w:remove()`: true or nothing, depending on the kind of watcher.
struct Removed {
    reference: WatcherRef,
    /// The index of the handle's table, if this call ended the watcher. The table still
    /// holds the watcher's values.
    table_of_handle: Option<c_int>,
}

impl Push for Removed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let Some(table) = self.table_of_handle {
            slots::clear(
                writer.state(),
                table,
                self.reference.place,
                |table, index| {
                    writer.raw_set_index(table, index);
                },
            );
        }
        match self.reference.kind.remove_returns_true {
            true => true.push(writer),
            false => 0,
        }
    }
}

/// `tostring(w)`
fn tostring(state: State<'_>) -> Result<Text> {
    let watcher = Receiver::new(state)?;
    let place = watcher.reference.place;
    let handle = watcher.push_handle();
    let is_alive = handle.is_some_and(|handle| handle.watchers().is_alive(place));
    let ended = if is_alive { "" } else { " (removed)" };
    Ok(Text(format!("flux {}{ended}", watcher.reference.kind.name)))
}

lua_functions! {
    lua_index => index;
    lua_newindex => newindex;
    lua_remove => remove;
    lua_tostring => tostring;
}

const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"__close", Some(lua_remove)),
    (c"remove", Some(lua_remove)),
];

/// Registers the class.
pub fn open(writer: &Writer<'_>) {
    // SAFETY: the functions are entry points.
    unsafe { writer.new_class_with_fields::<WatcherRef, Field>(METHODS, FIELDS) };
    writer.state().pop(1);
}
