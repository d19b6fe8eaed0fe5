//! A reactor object, class `FLUX.watcher`: what all of them have in common. It
//! keeps the table that it was made of, finds the handler there each time it
//! fires, and is kept by its handle until it is removed or has fired for good.

pub mod fields;
mod making;

use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use super::handle::{Handle, WeakHandle};
use super::watchers;
use crate::backend;
use crate::backend::reactor::{Callback, Event, Source};
use crate::backend::slab::Place;
use crate::lua::{
    self, Class, ClassInfo, Error, Indexed, Kind, Object, Push, Raised, Result, State, Text,
    Writer, lua_CFunction,
};
use crate::lua_functions;

pub(super) use making::lua_watcher_functions;
pub use making::{Made, Method, NewWatcher, enter, set_methods};

/// Something that a handle's reactor waits for, for a script. The handle has
/// what it is; this says which one.
#[derive(Clone)]
pub struct Watcher {
    handle: Handle,
    place: Place,
    traits: &'static Traits,
}

/// What the script holds of it: a userdata that owns nothing, and so needs no
/// finalizer. What is made and dropped by the thousand would else pile up.
#[derive(Clone, Copy)]
struct Reference {
    place: Place,
    traits: &'static Traits,
    /// Whether the table that the userdata carries is the one that the watcher
    /// was made of. While it is alive it is its handle's.
    has_ended: bool,
}

/// A watcher as its callback knows it: it does not keep its handle alive.
#[derive(Clone)]
pub struct WeakWatcher {
    handle: WeakHandle,
    place: Place,
    traits: &'static Traits,
}

impl Class for Reference {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.watcher", "flux watcher");
        &INFO
    }
}

/// What the kinds of watchers differ in beside what they wait for.
pub struct Traits {
    pub kind: &'static str,
    /// Whether a handler's negative number stops the reactor.
    pub is_checked: bool,
    /// Whether `remove` returns true, or nothing.
    pub removed: bool,
}

impl Watcher {
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
        end(&self.handle, self.place);
    }

    /// Call the handler, with the arguments that `arguments` pushes.
    pub fn fire(&self, mut arguments: impl FnMut(&Writer<'_>, Objects) -> c_int) {
        if !self.handle.watchers().is_alive(self.place) {
            return;
        }
        let gate = self.handle.gate().clone();
        gate.call(
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
        let is_there = watchers::push_object(state, table, self.place) == Kind::Userdata
            && watchers::push_fields(state, table, self.place) == Kind::Table;
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

/// The handle's watcher waits no more, and the collector may have it.
pub fn end(handle: &Handle, place: Place) {
    let Some(_source) = handle.watchers().end(place) else {
        return;
    };
    handle.gate().with_state(|state| {
        if handle.push_objects(state) {
            let_go(state, state.top(), place);
        }
    });
    handle.let_go();
}

/// The table at `table`, its handle's, keeps the watcher no more, which keeps
/// the table that it was made of.
fn let_go(state: State<'_>, table: c_int, place: Place) {
    let index = state.top() + 1;
    watchers::push_object(state, table, place);
    if let Some(object) = state.find::<Reference>(index)
        && let Ok(reference) = value(object)
    {
        reference.has_ended(state, object, index, table);
        watchers::forget(state, table, place, |table, index| {
            state.raw_replace_index(table, index);
        });
    }
    state.set_top(index - 1);
}

impl Reference {
    /// Have the userdata at `index` keep the table that the watcher was made of,
    /// in place of the handle's table, which is at `table`.
    fn has_ended(
        mut self,
        state: State<'_>,
        object: Object<'_, Reference>,
        index: c_int,
        table: c_int,
    ) {
        if watchers::push_fields(state, table, self.place) == Kind::Table {
            self.has_ended = true;
            object.set(self);
            object.keep_table(state, index);
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

/// What a script may ask for beside the methods and its own fields.
#[derive(Clone, Copy)]
enum Field {
    Id,
}

const FIELDS_OF_ALL: &[(&CStr, Field)] = &[(c"id", Field::Id)];

/// `w.key`: the methods first, then the table it was made of. Timers of old had
/// a number, under which scripts knew them.
fn index(state: State<'_>) -> Result<Option<Indexed>> {
    if state.method(2) {
        return Ok(Some(Indexed::OnTop));
    }
    let object = state.find_object::<Reference>(1)?;
    let reference = value(object)?;
    if push_fields(state, object, reference) {
        state.push_value(2);
        if state.raw_get(state.top() - 1) != Kind::Nil {
            return Ok(Some(Indexed::OnTop));
        }
    }
    let field = state.field(2, FIELDS_OF_ALL);
    Ok(field.map(|Field::Id| Indexed::Integer(reference.place.id as i64)))
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

/// The value of the object at 1.
fn value(object: Object<'_, Reference>) -> Result<Reference> {
    // SAFETY: it is copied at once.
    let value = unsafe { object.borrow() }.copied();
    value.ok_or_else(|| lua::closed::<Reference>(1))
}

/// Push the table that the watcher at 1 was made of.
fn push_fields(state: State<'_>, object: Object<'_, Reference>, reference: Reference) -> bool {
    if !object.push_table(state, 1) {
        return false;
    }
    if reference.has_ended {
        return true;
    }
    let table = state.top();
    // Where memory was too short to end it, its slot may be another's.
    watchers::push_object(state, table, reference.place);
    state.raw_equal(1, -1) && watchers::push_fields(state, table, reference.place) == Kind::Table
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
    if reference.has_ended || !object.push_table(state, 1) {
        return None;
    }
    watchers::push_handle(state, state.top());
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
            watchers::forget(
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
