//! A reactor object, class `FLUX.watcher`: what all of them have in common. It
//! keeps the table that it was made of, finds the handler there each time it
//! fires, and is kept by its handle until it is removed or has fired for good.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::{Rc, Weak};

use super::handle::Handle;
use crate::backend;
use crate::backend::reactor::{Callback, Event, Source};
use crate::lua::{
    Class, ClassInfo, Error, Indexed, Key, Kind, Push, Raised, Result, State, Text, Writer,
    lua_CFunction,
};
use crate::lua_functions;

/// Something that a handle's reactor waits for, for a script. The handle owns
/// it while it is alive.
#[derive(Clone)]
pub struct Watcher(Rc<Inner>);

/// What the script holds of it: a userdata that owns nothing, and so needs no
/// finalizer. What is made and dropped by the thousand would else pile up.
#[derive(Clone, Copy)]
struct Reference {
    id: u64,
    kind: &'static str,
    /// What `remove` returns.
    removed: bool,
}

struct Inner {
    reference: Reference,
    handle: Handle,
    /// None before it starts, and when it has ended.
    source: RefCell<Option<Box<dyn backend::reactor::Watcher>>>,
    ended: Cell<bool>,
    /// Whether a handler's negative number stops the reactor.
    is_checked: bool,
}

/// A watcher as its callback knows it: it does not keep it alive.
#[derive(Clone)]
pub struct WeakWatcher(Weak<Inner>);

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

/// Where a watcher's own table keeps what it was made of, and its handle.
const FIELDS: c_int = 1;
const HANDLE: c_int = 2;

/// What the kinds of watchers differ in beside what they wait for.
pub struct Traits {
    pub kind: &'static str,
    /// Whether a handler's negative number stops the reactor.
    pub is_checked: bool,
    /// Whether `remove` returns true, or nothing.
    pub removed: bool,
}

impl Watcher {
    /// A watcher that waits for nothing yet.
    pub fn new(handle: Handle, traits: &Traits) -> Watcher {
        let id = handle.gate().next_id();
        let reference = Reference {
            id,
            kind: traits.kind,
            removed: traits.removed,
        };
        Watcher(Rc::new(Inner {
            reference,
            handle,
            source: RefCell::new(None),
            ended: Cell::new(false),
            is_checked: traits.is_checked,
        }))
    }

    pub fn downgrade(&self) -> WeakWatcher {
        WeakWatcher(Rc::downgrade(&self.0))
    }

    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub fn id(&self) -> u64 {
        self.0.reference.id
    }

    /// What it waits for from now on, in place of what it did, which is
    /// returned: whoever is called by that lets go of it last.
    pub fn wait_for(
        &self,
        source: Box<dyn backend::reactor::Watcher>,
    ) -> Option<Box<dyn backend::reactor::Watcher>> {
        if self.0.ended.get() {
            return None;
        }
        self.0.source.replace(Some(source))
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
        Ok(self.handle().backend()?.watch(source, callback)?)
    }

    /// Wait for `source` alone.
    pub fn start(
        self,
        source: Source<'_>,
        fired: impl Fn(&Watcher, Event) + 'static,
    ) -> Result<NewWatcher> {
        self.wait_for(self.listen(source, fired)?);
        Ok(NewWatcher::new(self))
    }

    /// Wait no more, and let the collector have it.
    pub fn end(&self) {
        if self.0.ended.replace(true) {
            return;
        }
        let _source = self.0.source.take();
        self.0.handle.forget(self.id());
    }

    /// Call the handler, with the arguments that `arguments` pushes.
    pub fn fire(&self, mut arguments: impl FnMut(&Writer<'_>, Objects) -> c_int) {
        if self.0.ended.get() {
            return;
        }
        let gate = self.0.handle.gate().clone();
        gate.call(
            |writer| {
                let objects = self.push_objects(writer.state())?;
                writer.field(objects.fields, c"handler");
                Some(arguments(writer, objects))
            },
            |state, ended| match ended {
                Ok(()) => self.check_result(state),
                Err(Raised) => self.0.handle.handler_raised(state),
            },
        );
    }

    /// Push what is the watcher's; none where its userdata is not to be had.
    fn push_objects(&self, state: State<'_>) -> Option<Objects> {
        if !self.0.handle.push_objects(state) {
            return None;
        }
        let handle = state.top() - 1;
        if state.raw_get_index(-1, self.id() as i64) != Kind::Userdata
            || !state.object_table::<Reference>(-1)
        {
            return None;
        }
        state.raw_get_index(-1, FIELDS.into());
        Some(Objects {
            handle,
            watcher: handle + 2,
            fields: handle + 4,
        })
    }

    fn check_result(&self, state: State<'_>) {
        if self.0.is_checked && state.number(-1).is_some_and(|n| n < 0.0) {
            self.0.handle.stop_with_error();
        }
    }
}

impl WeakWatcher {
    pub fn upgrade(&self) -> Option<Watcher> {
        self.0.upgrade().map(Watcher)
    }
}

/// Where on the stack a firing watcher's objects are.
#[derive(Clone, Copy)]
pub struct Objects {
    pub watcher: c_int,
    pub handle: c_int,
    fields: c_int,
}

/// A watcher to be pushed as userdata, made of the table that is argument 2 of
/// a method of the handle at 1. One that could not be pushed has ended.
pub struct NewWatcher {
    watcher: Watcher,
    is_pushed: bool,
}

impl NewWatcher {
    /// The watcher is its handle's from now on.
    pub fn new(watcher: Watcher) -> NewWatcher {
        watcher.handle().adopt(watcher.id(), watcher.clone());
        NewWatcher {
            watcher,
            is_pushed: false,
        }
    }
}

impl Drop for NewWatcher {
    fn drop(&mut self) {
        if !self.is_pushed {
            self.watcher.end();
        }
    }
}

impl Push for NewWatcher {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let id = self.watcher.id();
        let state = writer.state();
        writer.new_object(&mut Some(self.watcher.0.reference));
        let watcher = state.top();
        writer.table(2, 0);
        state.push_value(2);
        writer.raw_set_index(-2, FIELDS);
        state.push_value(1);
        writer.raw_set_index(-2, HANDLE);
        writer.set_object_table::<Reference>(watcher);
        // The handle keeps it from now on.
        self.watcher.handle().anchor(writer, 1);
        writer.object_table::<Handle>(1);
        state.push_integer(id as i64);
        state.push_value(watcher);
        writer.raw_set(-3);
        state.set_top(watcher);
        self.is_pushed = true;
        1
    }
}

/// The values of the named fields of the table that is argument 2, pushed;
/// the index of the first. The C bindings' words for a table that is none.
pub fn fields(state: State<'_>, names: &[&CStr]) -> Result<c_int> {
    if state.kind(2) != Kind::Table {
        return Err(Error::failure("Expected table as 2nd argument"));
    }
    let first = state.top() + 1;
    state.push_value(2);
    state.protect(1, |writer| {
        for name in names {
            writer.field(1, name);
        }
        names.len() as c_int
    })?;
    Ok(first)
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
    let reference: Reference = state.check_object(1)?;
    if state.method(2) {
        return Ok(Some(Indexed::OnTop));
    }
    if state.object_table::<Reference>(1) {
        state.raw_get_index(-1, FIELDS.into());
        state.push_value(2);
        if state.raw_get(state.top() - 1) != Kind::Nil {
            return Ok(Some(Indexed::OnTop));
        }
    }
    let field = state.field(2, FIELDS_OF_ALL);
    Ok(field.map(|Field::Id| Indexed::Integer(reference.id as i64)))
}

/// `w.key = value`
fn newindex(state: State<'_>) -> Result<()> {
    state.check_object::<Reference>(1)?;
    if matches!(state.kind(2), Kind::Nil | Kind::None) || state.number(2).is_some_and(f64::is_nan) {
        return Err(Error::argument(2, "a field has a name"));
    }
    if !state.object_table::<Reference>(1) {
        return Ok(());
    }
    state.raw_get_index(-1, FIELDS.into());
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
    let reference: Reference = state.check_object(1)?;
    if let Some(watcher) = alive(state, reference) {
        watcher.end();
    }
    Ok(Removed(reference.removed))
}

/// The watcher that the userdata at 1 refers to, while it waits for something.
fn alive(state: State<'_>, reference: Reference) -> Option<Watcher> {
    let top = state.top();
    let handle = if state.object_table::<Reference>(1) {
        state.raw_get_index(-1, HANDLE.into());
        state.object::<Handle>(-1).flatten()
    } else {
        None
    };
    state.set_top(top);
    handle?.watcher(reference.id)
}

/// True, or nothing.
struct Removed(bool);

impl Push for Removed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if self.0 { true.push(writer) } else { 0 }
    }
}

fn tostring(state: State<'_>) -> Result<Text> {
    let reference: Reference = state.check_object(1)?;
    let ended = match alive(state, reference) {
        Some(_) => "",
        None => " (removed)",
    };
    Ok(Text(format!("flux {}{ended}", reference.kind)))
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
