//! A reactor object, class `FLUX.watcher`: what all of them have in common. It
//! keeps the table that it was made of, finds the handler there each time it
//! fires, and is kept by its handle until it is removed or has fired for good.

use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use crate::api::handle::{Handle, WeakHandle};
use crate::api::reactor::reference::{Reference, Traits, value};
use crate::api::reactor::slots;
use crate::backend;
use crate::backend::reactor::{Callback, Event, Source};
use crate::backend::slab::Place;
use crate::lua::{
    Error, FieldValue, Kind, Object, Push, Raised, Result, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// Something that a handle's reactor waits for, for a script. The handle has
/// what it is; this says which one.
#[derive(Clone)]
pub struct Watcher {
    handle: Handle,
    place: Place,
    traits: &'static Traits,
}

/// A watcher as its callback knows it: it does not keep its handle alive.
#[derive(Clone)]
pub struct WeakWatcher {
    handle: WeakHandle,
    place: Place,
    traits: &'static Traits,
}

impl Watcher {
    /// The watcher in a slot of a handle.
    pub fn new(handle: Handle, place: Place, traits: &'static Traits) -> Watcher {
        Watcher {
            handle,
            place,
            traits,
        }
    }

    /// The userdata's value while the watcher is alive.
    pub fn reference(&self) -> Reference {
        Reference {
            place: self.place,
            traits: self.traits,
            has_ended: false,
        }
    }

    pub fn downgrade(&self) -> WeakWatcher {
        WeakWatcher {
            handle: self.handle.downgrade(),
            place: self.place,
            traits: self.traits,
        }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What it waits for from now on, in place of what it did, which is
    /// returned: whoever is called by that lets go of it last.
    pub fn wait_for(
        &self,
        source: Box<dyn backend::reactor::Watcher>,
    ) -> Option<Box<dyn backend::reactor::Watcher>> {
        self.handle.watchers().wait_for(self.place, source)
    }

    /// Have the reactor call `fired` with each event of `source`, until what is
    /// returned is dropped.
    pub fn listen(
        &self,
        source: Source<'_>,
        fired: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<Box<dyn backend::reactor::Watcher>> {
        let weak = self.downgrade();
        let callback: Callback = Rc::new(move |event| {
            if let Some(watcher) = weak.upgrade() {
                fired(&watcher, event);
            }
        });
        Ok(self.handle.backend()?.watch(source, callback)?)
    }

    /// Wait no more, and let the collector have it.
    pub fn end(&self) {
        self.handle.end_watcher(self.place);
    }

    /// Call the handler, with the arguments that `arguments` pushes.
    pub fn fire(&self, mut arguments: impl FnMut(&Writer<'_>, Objects) -> c_int) {
        if !self.handle.watchers().is_alive(self.place) {
            return;
        }
        let callbacks = self.handle.callbacks().clone();
        callbacks.call(
            |writer| {
                let objects = self.push_objects(writer.state())?;
                writer.field(objects.fields, c"handler");
                Some(arguments(writer, objects))
            },
            |state, ended| match ended {
                Ok(()) => self.check_result(state),
                Err(Raised) => self.handle.handler_raised(state),
            },
        );
    }

    /// Push what is the watcher's; none where its userdata is not to be had.
    fn push_objects(&self, state: State<'_>) -> Option<Objects> {
        if !self.handle.push_objects(state) {
            return None;
        }
        let table = state.top();
        let is_there = slots::push_object(state, table, self.place) == Kind::Userdata
            && slots::push_fields(state, table, self.place) == Kind::Table;
        is_there.then_some(Objects {
            handle: table - 1,
            watcher: table + 1,
            fields: table + 2,
        })
    }

    fn check_result(&self, state: State<'_>) {
        if self.traits.is_checked && state.to_number(-1).is_some_and(|n| n < 0.0) {
            self.handle.stop_with_error();
        }
    }
}

impl WeakWatcher {
    pub fn upgrade(&self) -> Option<Watcher> {
        let handle = self.handle.upgrade()?;
        handle.watchers().is_alive(self.place).then_some(Watcher {
            handle,
            place: self.place,
            traits: self.traits,
        })
    }
}

/// Where on the stack a firing watcher's objects are.
#[derive(Clone, Copy)]
pub struct Objects {
    pub watcher: c_int,
    pub handle: c_int,
    fields: c_int,
}

impl Objects {
    /// Push the first arguments of handlers of messages, timers and signals;
    /// returns how many those are.
    pub fn push_handle_and_watcher(writer: &Writer<'_>, objects: Objects) -> c_int {
        writer.state().push_value(objects.handle);
        writer.state().push_value(objects.watcher);
        2
    }
}

/// What a script may ask for beside the methods and its own fields.
#[derive(Clone, Copy)]
enum Field {
    Id,
}

const FIELDS_OF_ALL: &[(&CStr, Field)] = &[(c"id", Field::Id)];

/// `w.key`: the methods first, then the table it was made of. Timers of old had
/// a number, under which scripts knew them.
fn index(state: State<'_>) -> Result<Option<FieldValue>> {
    if state.method(2) {
        return Ok(Some(FieldValue::OnTop));
    }
    let object = state.find_object::<Reference>(1)?;
    let reference = value(object)?;
    if push_fields(state, object, reference) {
        state.push_value(2);
        if state.raw_get(state.top() - 1) != Kind::Nil {
            return Ok(Some(FieldValue::OnTop));
        }
    }
    let field = state.field(2, FIELDS_OF_ALL);
    Ok(field.map(|Field::Id| FieldValue::Integer(reference.place.id as i64)))
}

/// `w.key = value`
fn newindex(state: State<'_>) -> Result<()> {
    let object = state.find_object::<Reference>(1)?;
    if matches!(state.kind(2), Kind::Nil | Kind::None) || state.number(2).is_some_and(f64::is_nan) {
        return Err(Error::argument(2, "a field has a name"));
    }
    if !push_fields(state, object, value(object)?) {
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

/// Push the table that the watcher at 1 was made of.
fn push_fields(state: State<'_>, object: Object<'_, Reference>, reference: Reference) -> bool {
    // SAFETY: the object was found at this index.
    if !unsafe { object.push_table(state, 1) } {
        return false;
    }
    if reference.has_ended {
        return true;
    }
    let table = state.top();
    // Where memory was too short to end it, its slot may be another's.
    slots::push_object(state, table, reference.place);
    state.raw_equal(1, -1) && slots::push_fields(state, table, reference.place) == Kind::Table
}

/// `w:remove()`
fn remove(state: State<'_>) -> Result<Removed> {
    let object = state.find_object(1)?;
    let reference = value(object)?;
    let mut table_of_handle = None;
    if let Some(handle) = push_handle(state, object, reference)
        && let Some(_source) = handle.watchers().end(reference.place)
    {
        let table = state.top() - 1;
        reference.has_ended(state, object, 1, table);
        table_of_handle = Some(table);
        handle.let_go();
    }
    Ok(Removed {
        reference,
        table_of_handle,
    })
}

/// The handle of the watcher at 1, until that ends: pushed above its table.
fn push_handle(
    state: State<'_>,
    object: Object<'_, Reference>,
    reference: Reference,
) -> Option<Handle> {
    // SAFETY: the object was found at this index.
    if reference.has_ended || !unsafe { object.push_table(state, 1) } {
        return None;
    }
    slots::push_handle(state, state.top());
    state.object(-1)?
}

/// True, or nothing.
struct Removed {
    reference: Reference,
    /// Where the handle's table is, which keeps the watcher still.
    table_of_handle: Option<c_int>,
}

impl Push for Removed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let Some(table) = self.table_of_handle {
            slots::forget(
                writer.state(),
                table,
                self.reference.place,
                |table, index| {
                    writer.raw_set_index(table, index);
                },
            );
        }
        match self.reference.traits.removed {
            true => true.push(writer),
            false => 0,
        }
    }
}

fn tostring(state: State<'_>) -> Result<Text> {
    let object = state.find_object(1)?;
    let reference = value(object)?;
    let handle = push_handle(state, object, reference);
    let is_alive = handle.is_some_and(|handle| handle.watchers().is_alive(reference.place));
    let ended = if is_alive { "" } else { " (removed)" };
    Ok(Text(format!("flux {}{ended}", reference.traits.kind)))
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

pub fn open(writer: &Writer<'_>) {
    writer.new_class_with_fields::<Reference, Field>(METHODS, FIELDS_OF_ALL);
    writer.state().pop(1);
}
