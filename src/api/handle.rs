//! The handle, class `FLUX.handle`: opening and closing, fields, attributes,
//! the log. Its other methods are in the files named after what they do.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::raw::{c_int, c_void};
use std::rc::{Rc, Weak};
use std::time::Instant;

use crate::api::kvs::pending::Pending;
use crate::api::quote::quoted;
use crate::api::reactor::reference;
use crate::api::reactor::slots::Watchers;
use crate::api::{arguments, read_only};
use crate::backend::ids::TagMap;
use crate::backend::reactor::RunMode;
use crate::backend::slab::Place;
use crate::backend::{self, ErrorParts};
use crate::lua::{
    self, Callbacks, Class, ClassInfo, Error, FieldValue, Integer, Kind, Push, Raised, RegistryKey,
    Result, StackError, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// An open handle, shared by what was made from it: messages, directories.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// A handle as what it owns knows it: it does not keep it alive.
#[derive(Clone)]
pub struct WeakHandle(Weak<Inner>);

struct Inner {
    uri: String,
    /// Whether C code opened it, and passed it to this Lua state.
    is_external: bool,
    /// None once closed.
    backend: RefCell<Option<Rc<dyn backend::Handle>>>,
    /// What was put since the last commit.
    pending: RefCell<Option<Pending>>,
    /// When the requests that were sent with a timeout are given up, by matchtag.
    deadlines: RefCell<TagMap<Instant>>,
    /// The way back into Lua.
    callbacks: Callbacks,
    /// By which what a handler raised is found again.
    id: u64,
    /// The reactor objects that are alive.
    watchers: Watchers,
    /// How many `f:reactor()` run, one within the other. None when it is C
    /// code that runs the reactor.
    running: Cell<u32>,
    /// Whether a handler raised, and `f:reactor()` is to raise that again.
    raised: Cell<bool>,
    /// What `reactor_stop_error` was told.
    reason: RefCell<Option<String>>,
}

impl Class for Handle {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.handle", "flux handle");
        &INFO
    }

    /// Of a back end's less is known than of ours, which is 2 KiB.
    fn external_memory(&self) -> usize {
        4 << 10
    }

    /// What was made from the handle may use it still; nothing waits for its
    /// reactor's events any more.
    fn collected(self) {
        self.end_watchers();
    }
}

impl Handle {
    fn new(
        state: State<'_>,
        uri: String,
        is_external: bool,
        backend: Rc<dyn backend::Handle>,
    ) -> Result<Handle> {
        let callbacks = Callbacks::of(state)?;
        Ok(Handle(Rc::new(Inner {
            id: callbacks.next_id(),
            callbacks,
            watchers: Watchers::default(),
            running: Cell::new(0),
            raised: Cell::new(false),
            reason: RefCell::new(None),
            uri,
            is_external,
            backend: RefCell::new(Some(backend)),
            pending: RefCell::new(None),
            deadlines: RefCell::default(),
        })))
    }

    /// The broker, while the handle is open.
    #[inline]
    pub fn backend(&self) -> Result<Rc<dyn backend::Handle>> {
        let backend = self.0.backend.borrow().clone();
        backend.ok_or_else(|| Error::raise("the flux handle is closed"))
    }

    /// Work on the pending transaction, begun if there is none.
    pub fn with_pending<T>(
        &self,
        work: impl FnOnce(&mut Pending) -> backend::Result<T>,
    ) -> Result<T> {
        let backend = self.backend()?;
        let mut pending = self.0.pending.borrow_mut();
        let pending = match &mut *pending {
            Some(pending) => pending,
            none => {
                let begun = backend.transaction()?;
                self.keep_alive()?;
                none.insert(Pending::new(begun))
            }
        };
        Ok(work(pending)?)
    }

    /// The error of a read of `key`, which may be pending here.
    pub fn explain_read(&self, key: &str, error: backend::Error) -> Error {
        let error = match &mut *self.0.pending.borrow_mut() {
            Some(pending) => pending.keys().explain_read(key, error),
            None => error,
        };
        error.into()
    }

    /// Take the pending transaction: whatever becomes of it, what is put from
    /// now on belongs to the next.
    pub fn take_pending(&self) -> Option<Pending> {
        let pending = self.0.pending.borrow_mut().take();
        self.release_if_idle();
        pending
    }

    pub fn deadlines(&self) -> std::cell::RefMut<'_, TagMap<Instant>> {
        self.0.deadlines.borrow_mut()
    }

    pub fn callbacks(&self) -> &Callbacks {
        &self.0.callbacks
    }

    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle(Rc::downgrade(&self.0))
    }

    /// The reactor objects that are alive: they are ended with the handle.
    pub fn watchers(&self) -> &Watchers {
        &self.0.watchers
    }

    /// Push the handle's userdata and, above it, its table, which is its
    /// reactor objects'. False where there is none.
    pub fn push_with_table(&self, state: State<'_>) -> bool {
        push_handle(state, self.0.id) && state.object_table::<Handle>(-1)
    }

    /// A handle of C code's holds what scripts put there, and they need not
    /// keep a reference to it: it is kept while there is something on it.
    pub fn keep_alive(&self) -> Result<()> {
        if !self.0.is_external {
            return Ok(());
        }
        let held = self.0.callbacks.protect(|writer| {
            if push_handle(writer.state(), self.0.id) {
                let state = writer.state();
                state.registry(&ANCHORS);
                writer.integer(self.0.id as i64);
                state.push_value(-3);
                writer.raw_set(-3);
            }
            0
        });
        match held {
            true => Ok(()),
            false => Err(StackError::Memory.into()),
        }
    }

    /// The opposite, when nothing is left.
    pub fn release_if_idle(&self) {
        let is_idle = || self.0.pending.borrow().is_none() && self.0.watchers.is_empty();
        if self.0.is_external && is_idle() {
            self.0.callbacks.with_state(|state| {
                state.registry(&ANCHORS);
                state.raw_clear_index(-1, self.0.id as i64);
            });
        }
    }

    pub fn run_reactor(&self, state: State<'_>, mode: RunMode) -> Result<backend::Result<u32>> {
        let backend = self.backend()?;
        if self.0.callbacks.depth() >= MAX_NESTED {
            let text = "C stack overflow: reactors run too deep in one another";
            return Err(Error::raise(text));
        }
        if self.0.running.get() == 0 {
            self.0.reason.take();
        }
        self.0.running.set(self.0.running.get() + 1);
        let ended = self
            .0
            .callbacks
            .run_reactor(state, || backend.reactor_run(mode));
        self.0.running.set(self.0.running.get() - 1);
        Ok(ended)
    }

    pub fn set_reason(&self, reason: Option<String>) {
        self.0.reason.replace(reason);
    }

    /// The outermost run is the last to be told.
    pub fn take_reason(&self) -> Option<String> {
        match self.0.running.get() {
            0 => self.0.reason.take(),
            _ => self.0.reason.borrow().clone(),
        }
    }

    /// Stop the reactor with an error; one that is closed has none.
    pub fn stop_with_error(&self) {
        if let Ok(backend) = self.backend() {
            backend.reactor_stop_error();
        }
    }

    /// A handler raised the value on top of this thread's stack.
    pub fn handler_raised(&self, state: State<'_>) {
        if self.0.running.get() == 0 {
            self.log_raised(state);
            return;
        }
        // The first one counts: what follows it may follow from it.
        if !self.0.raised.replace(true) {
            let kept = state.protect(1, |writer| {
                writer.state().registry(&RAISED);
                writer.integer(self.0.id as i64);
                writer.state().push_value(1);
                writer.raw_set(-3);
                0
            });
            if kept.is_err() {
                state.pop(1);
            }
        }
        self.stop_with_error();
    }

    fn log_raised(&self, state: State<'_>) {
        let text = match state.bytes(-1) {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => format!("a {} was raised", state.kind(-1).name()),
        };
        if let Ok(backend) = self.backend() {
            // Where the log is out of reach there is nobody else to tell.
            let _ = backend.log(LOG_ERR, &text);
        }
    }

    /// What a handler raised, once, if one did.
    pub fn raise_again(&self, state: State<'_>) -> Result<()> {
        if !self.0.raised.replace(false) {
            return Ok(());
        }
        state.registry(&RAISED);
        if state.raw_get_index(-1, self.0.id as i64) == Kind::Nil {
            // There was no memory to keep it.
            return Err(StackError::Memory.into());
        }
        self.0.callbacks.with_state(|state| {
            state.registry(&RAISED);
            state.raw_clear_index(-1, self.0.id as i64);
        });
        Err(Raised.into())
    }

    /// The watcher waits no more, and the collector may have it.
    pub fn end_watcher(&self, place: Place) {
        let Some(_source) = self.0.watchers.remove(place) else {
            return;
        };
        self.0.callbacks.with_state(|state| {
            if self.push_with_table(state) {
                reference::release(state, state.top(), place);
            }
        });
        self.release_if_idle();
    }

    fn end_watchers(&self) {
        for place in self.0.watchers.places() {
            self.end_watcher(place);
        }
    }

    fn close(&self) {
        self.end_watchers();
        if self.0.running.get() > 0
            && let Ok(backend) = self.backend()
        {
            backend.reactor_stop();
        }
        self.take_pending();
        self.0.deadlines.borrow_mut().clear();
        self.0.backend.borrow_mut().take();
    }
}

impl WeakHandle {
    pub fn upgrade(&self) -> Option<Handle> {
        self.0.upgrade().map(Handle)
    }
}

/// In the registry: the handles' userdata by id; it keeps none.
static HANDLES: RegistryKey = RegistryKey::unique();
/// In the registry: those of C code's handles by address; it keeps none.
static EXTERNAL: RegistryKey = RegistryKey::unique();
/// In the registry: those of C code's handles that have something on them, by
/// id; it keeps them.
static ANCHORS: RegistryKey = RegistryKey::unique();
/// In the registry: what handlers raised, by the handle's id.
static RAISED: RegistryKey = RegistryKey::unique();

/// How many handlers may run, one in the reactor of the other: each takes some
/// of the C stack, which Lua counts anew on every thread.
const MAX_NESTED: c_int = 100;

/// syslog's LOG_ERR.
const LOG_ERR: i32 = 3;

/// Push the userdata of a handle, if it is alive.
fn push_handle(state: State<'_>, id: u64) -> bool {
    state.registry(&HANDLES);
    state.raw_get_index(-1, id as i64) == Kind::Userdata
}

/// A fresh handle, pushed as userdata.
struct NewHandle(Option<Handle>);

impl Push for NewHandle {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let Some(id) = self.0.as_ref().map(|handle| handle.0.id) else {
            return 0;
        };
        writer.new_object(&mut self.0);
        let handle = writer.state().top();
        writer.state().registry(&HANDLES);
        writer.integer(id as i64);
        writer.state().push_value(handle);
        writer.raw_set(-3);
        writer.state().set_top(handle);
        1
    }
}

/// `flux.new([uri])`
fn new(state: State<'_>) -> Result<NewHandle> {
    let given = arguments::optional_text(state, 1)?;
    let environment = std::env::var("FLUX_URI").ok();
    let uri = given.or(environment.as_deref());
    let backend = open_backend(uri).map_err(|error| {
        // The detail matters here more than the errno: which socket, what to do.
        let error = match uri {
            Some(uri) => naming(uri, given.is_some(), error),
            None => error,
        };
        let text = error.to_string();
        let ErrorParts { errnum, detail } = error.into();
        Error::from(lua::Failure {
            text,
            code: Some(errnum),
            detail,
        })
    })?;
    let uri = uri.unwrap_or("default").to_owned();
    Ok(NewHandle(Some(Handle::new(state, uri, false, backend)?)))
}

/// The error of opening a URI, which the script gave or the environment. Its
/// detail shows the URI.
fn naming(uri: &str, is_given: bool, error: backend::Error) -> backend::Error {
    let shown = match is_given {
        true => quoted(uri),
        false => format!("FLUX_URI={}", quoted(uri)),
    };
    let is_shown = |detail: &str| {
        let is_whole = uri.contains("://") && detail.contains(uri);
        is_whole || detail.contains(&quoted(uri))
    };
    let detail = match &error.detail {
        Some(detail) if is_shown(detail) => return error,
        Some(detail) => format!("{detail} (opening {shown})"),
        None => format!("cannot open {shown}"),
    };
    backend::Error::with_detail(error.errnum, detail)
}

/// Push the userdata of a handle of C code's that is at `address`: the one
/// that it has in this Lua state, or one made of `backend`.
pub fn push_external(
    state: State<'_>,
    backend: Box<dyn backend::Handle>,
    address: *const c_void,
) -> Result<Handle> {
    let backend = Rc::from(backend);
    let fresh = Handle::new(state, "external".to_owned(), true, backend)?;
    let mut fresh = NewHandle(Some(fresh));
    state.protect(0, |writer| {
        let state = writer.state();
        state.registry(&EXTERNAL);
        writer.light_userdata(address);
        state.raw_get(1);
        if !matches!(state.object::<Handle>(-1), Some(Some(_))) {
            fresh.push(writer);
            writer.light_userdata(address);
            state.push_value(-2);
            writer.raw_set(1);
        }
        1
    })?;
    state.check_object(-1)
}

/// The broker of the open handle whose userdata is at `index`; none for any
/// other value. Does not raise.
pub fn backend_at(state: State<'_>, index: c_int) -> Option<Rc<dyn backend::Handle>> {
    state.object::<Handle>(index)??.backend().ok()
}

fn open_backend(uri: Option<&str>) -> backend::Result<Rc<dyn backend::Handle>> {
    match uri {
        Some(uri) if uri.starts_with("embed://") || uri.starts_with("loop://") => {
            Ok(Rc::from(backend::embedded::open(uri)?))
        }
        uri => Ok(Rc::new(backend::libflux::open(uri)?)),
    }
}

/// `f:close()`
fn close(state: State<'_>) -> Result<()> {
    match state.object::<Handle>(1) {
        Some(_) => {
            if let Some(handle) = state.take_object::<Handle>(1) {
                handle.close();
            }
            Ok(())
        }
        None => Err(Error::expected(state, 1, "flux handle")),
    }
}

fn tostring(state: State<'_>) -> Result<Text> {
    match state.object::<Handle>(1) {
        Some(Some(handle)) => Ok(Text(format!("flux handle ({})", handle.0.uri))),
        Some(None) => Ok(Text("flux handle (closed)".to_owned())),
        None => Err(Error::expected(state, 1, "flux handle")),
    }
}

/// The fields beside the methods.
#[derive(Clone, Copy)]
enum Field {
    Rank,
    Size,
    Arity,
}

const FIELDS: &[(&CStr, Field)] = &[
    (c"rank", Field::Rank),
    (c"size", Field::Size),
    (c"arity", Field::Arity),
];

/// `f.rank`, `f.size`, `f.arity`, and the methods.
fn index(state: State<'_>) -> Result<Option<FieldValue>> {
    // A closed handle has its methods still: they say that it is closed.
    if state.method(2) {
        return Ok(Some(FieldValue::OnTop));
    }
    let Some(field) = state.field(2, FIELDS) else {
        return match state.is_object::<Handle>(1) {
            true => Ok(None),
            false => Err(Error::expected(state, 1, "flux handle")),
        };
    };
    let backend = check(state)?.backend()?;
    Ok(Some(FieldValue::Integer(match field {
        Field::Rank => backend.rank()?.into(),
        Field::Size => backend.size()?.into(),
        Field::Arity => arity(&*backend)?,
    })))
}

/// `f.name = value`
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Handle, _>(state, FIELDS)
}

/// Brokers before 0.53 have it as an attribute; later ones name their tree's
/// shape, which has an arity if it is k-ary.
fn arity(backend: &dyn backend::Handle) -> Result<i64> {
    let parsed = |text: &str| text.parse().ok();
    let attribute = match backend.attr_get("tbon.arity") {
        Ok(text) => parsed(&text),
        Err(_) => backend
            .attr_get("tbon.topo")?
            .strip_prefix("kary:")
            .and_then(parsed),
    };
    attribute.ok_or_else(|| {
        backend::Error::with_detail(libc::ENOENT, "the broker's tree has no fixed arity").into()
    })
}

/// The handle that `self` must be.
pub fn check(state: State<'_>) -> Result<Handle> {
    state.check_object(1)
}

/// `f:getattr(name)`
fn getattr(state: State<'_>) -> Result<Text> {
    let handle = check(state)?;
    let name = arguments::text(state, 2)?;
    Ok(Text(handle.backend()?.attr_get(name)?))
}

/// The levels of syslog, by number.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The level's number, which is argument 2.
fn level(state: State<'_>) -> Result<i32> {
    let named = state
        .bytes(2)
        .and_then(|name| LEVELS.iter().position(|level| level.as_bytes() == name));
    match named {
        Some(level) => Ok(level as i32),
        None if state.kind(2) == Kind::String && state.to_number(2).is_none() => {
            let message = format!("a level is 0 to 7 or {}", LEVELS.join(", "));
            Err(Error::argument(2, message))
        }
        None => Ok(arguments::integer(state, 2, 0..=7)? as i32),
    }
}

/// `f:log(level, fmt, ...)`
fn log(state: State<'_>) -> Result<Integer> {
    let handle = check(state)?;
    let level = level(state)?;
    let text = arguments::formatted(state, 3)?;
    handle.backend()?.log(level, text)?;
    Ok(Integer(0))
}

lua_functions! {
    lua_new => new;
    lua_close => close;
    lua_tostring => tostring;
    lua_index => index;
    lua_newindex => newindex;
    lua_getattr => getattr;
    lua_log => log;
}

pub const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"new", Some(lua_new))];

const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"__close", Some(lua_close)),
    (c"close", Some(lua_close)),
    (c"getattr", Some(lua_getattr)),
    (c"log", Some(lua_log)),
];

/// Make the class, and leave its metatable on top of the stack.
pub fn open(writer: &Writer<'_>) {
    for by_handle in [&HANDLES, &EXTERNAL] {
        writer.weak_values();
        writer.set_registry(by_handle);
    }
    for kept in [&ANCHORS, &RAISED] {
        writer.table(0, 0);
        writer.set_registry(kept);
    }
    writer.new_class_with_fields::<Handle, Field>(METHODS, FIELDS);
}
