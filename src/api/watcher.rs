//! A reactor object, class `FLUX.watcher`: what all of them have in common. It
//! keeps the table that it was made of, finds the handler there each time it
//! fires, and is kept by its handle until it is removed or has fired for good.

use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use super::handle::{Handle, WeakHandle};
use super::watchers;
use crate::backend;
use crate::backend::reactor::{Callback, Event, Source};
use crate::backend::slab::Place;
use crate::lua::{
    self, Class, ClassInfo, Error, Indexed, Key, Kind, Object, Push, Raised, Result, State, Text,
    Writer, lua_CFunction, lua_State, upvalue_index,
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
        static INFO: ClassInfo = ClassInfo {
            key: Key::unique(),
            name: c"FLUX.watcher",
            label: "flux watcher",
        };
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
        if self.traits.is_checked && state.number(-1).is_some_and(|n| n < 0.0) {
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
        let set = |table, index| state.raw_replace_index(table, index);
        let fields = watchers::take_fields(state, table, place, set);
        reference.has_ended(state, object, index, fields);
    }
    state.set_top(index - 1);
}

impl Reference {
    /// Have the userdata at `index` keep the table on top, if it is one.
    fn has_ended(
        mut self,
        state: State<'_>,
        object: Object<'_, Reference>,
        index: c_int,
        fields: Kind,
    ) {
        if fields == Kind::Table {
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
pub(super) use lua_watcher_functions;

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

/// What a script may ask for beside the methods and its own fields.
#[derive(Clone, Copy)]
enum Field {
    Id,
}

const FIELDS_OF_ALL: &[(&CStr, Field)] = &[(c"id", Field::Id)];

/// `w.key`: the methods first, then the table it was made of. Timers of old had
/// a number, under which scripts knew them.
fn index(state: State<'_>) -> Result<Option<Indexed>> {
    let object = state.find_object::<Reference>(1)?;
    if state.method(2) {
        return Ok(Some(Indexed::OnTop));
    }
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
        table_of_handle = Some(state.top() - 1);
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
    /// Where the table is that has what is the watcher's still.
    table_of_handle: Option<c_int>,
}

impl Push for Removed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let Some(table) = self.table_of_handle {
            let set = |table, index| writer.raw_set_index(table, index);
            let state = writer.state();
            let fields = watchers::take_fields(state, table, self.reference.place, set);
            if let Some(object) = state.find(1) {
                self.reference.has_ended(state, object, 1, fields);
            }
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
