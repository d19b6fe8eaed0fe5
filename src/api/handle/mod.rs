//! The handle: a connection to a broker, with everything that a script has on it, which
//! are its pending transaction, the deadlines of its requests, and its watchers.

pub mod class;
mod external;
pub mod open;
mod run;

use std::cell::{Cell, RefCell, RefMut};
use std::os::raw::c_int;
use std::rc::{Rc, Weak};
use std::time::Instant;

use crate::api::kvs::pending::Pending;
use crate::api::reactor::reference;
use crate::api::reactor::slots::Watchers;
use crate::backend;
use crate::backend::ids::TagMap;
use crate::backend::slab::Place;
use crate::lua::{
    Callbacks, Class, ClassInfo, Error, Kind, Push, RegistryKey, Result, State, Writer,
};

pub use external::{backend_at, push_external};

/// A handle. Clones share it: messages and KVS directories keep the handle that they
/// came from.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// A reference to a handle that does not keep it alive. Values that the handle owns use
/// it.
#[derive(Clone)]
pub struct WeakHandle(Weak<Inner>);

struct Inner {
    uri: String,
    /// Whether C code opened the handle.
    is_external: bool,
    /// None after the handle was closed.
    backend: RefCell<Option<Rc<dyn backend::Handle>>>,
    /// The transaction that gathers KVS operations until a commit.
    pending: RefCell<Option<Pending>>,
    /// When the requests that were sent with a timeout expire, by matchtag.
    deadlines: RefCell<TagMap<Instant>>,
    callbacks: Callbacks,
    /// Identifies the handle in the registry tables below.
    id: u64,
    watchers: Watchers,
    /// How many calls of `f:reactor()` are running, nested in each other. 0 while C code
    /// runs the reactor.
    running: Cell<u32>,
    /// Whether a handler raised a value that `f:reactor()` has not raised yet.
    has_raised: Cell<bool>,
    /// The argument of `f:reactor_stop_error()`.
    stop_reason: RefCell<Option<String>>,
}

// Tables in the registry.

/// The userdata of each handle, by id. The values are weak.
static USERDATA_BY_ID: RegistryKey = RegistryKey::unique();
/// The userdata of each handle of C code, by the address of its `flux_t`. The values are
/// weak.
static EXTERNAL_BY_ADDRESS: RegistryKey = RegistryKey::unique();
/// The userdata of each handle of C code that has watchers or a pending transaction, by
/// id. This table keeps them alive.
static KEPT_ALIVE_BY_ID: RegistryKey = RegistryKey::unique();
/// The value that a handler raised, by the id of the handle.
static RAISED_BY_ID: RegistryKey = RegistryKey::unique();

/// Makes the tables in the registry.
fn open_registry_tables(writer: &Writer<'_>) {
    for weak in [&USERDATA_BY_ID, &EXTERNAL_BY_ADDRESS] {
        writer.weak_values();
        writer.set_registry(weak);
    }
    for strong in [&KEPT_ALIVE_BY_ID, &RAISED_BY_ID] {
        writer.table(0, 0);
        writer.set_registry(strong);
    }
}

/// Pushes the userdata of the handle with this id. Returns false if the collector has
/// taken it.
fn push_userdata(state: State<'_>, id: u64) -> bool {
    state.registry(&USERDATA_BY_ID);
    state.raw_get_index(-1, id as i64) == Kind::Userdata
}

impl Class for Handle {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.handle", "flux handle");
        &INFO
    }

    /// An estimate: 2 KiB are ours, and the back end's share is not known.
    fn external_memory(&self) -> usize {
        4 << 10
    }

    /// Ends the watchers. The rest stays open: messages and directories may still use the
    /// handle.
    fn collected(self) {
        self.end_watchers();
    }
}

impl Handle {
    /// A handle on an open back end. Fails only if the module is not open in this Lua
    /// state.
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
            has_raised: Cell::new(false),
            stop_reason: RefCell::new(None),
            uri,
            is_external,
            backend: RefCell::new(Some(backend)),
            pending: RefCell::new(None),
            deadlines: RefCell::default(),
        })))
    }

    /// The URI that it was opened with, or "default" or "external".
    fn uri(&self) -> &str {
        &self.0.uri
    }

    /// The back end. Raises an error if the handle is closed.
    #[inline]
    pub fn backend(&self) -> Result<Rc<dyn backend::Handle>> {
        let backend = self.0.backend.borrow().clone();
        backend.ok_or_else(|| Error::raise("the flux handle is closed"))
    }

    /// Calls `change` with the pending transaction, and begins one if there is none.
    pub fn with_pending<T>(
        &self,
        change: impl FnOnce(&mut Pending) -> backend::Result<T>,
    ) -> Result<T> {
        let backend = self.backend()?;
        let mut pending = self.0.pending.borrow_mut();
        let pending = match &mut *pending {
            Some(pending) => pending,
            none => {
                let transaction = backend.transaction()?;
                self.keep_alive()?;
                none.insert(Pending::new(transaction))
            }
        };
        Ok(change(pending)?)
    }

    /// Takes the pending transaction, to commit or to drop it.
    pub fn take_pending(&self) -> Option<Pending> {
        let pending = self.0.pending.borrow_mut().take();
        self.release_if_idle();
        pending
    }

    /// The error of reading `key`. If the pending transaction would create the key, the
    /// detail says so.
    pub fn explain_read(&self, key: &str, error: backend::Error) -> Error {
        let error = match &mut *self.0.pending.borrow_mut() {
            Some(pending) => pending.keys().explain_read(key, error),
            None => error,
        };
        error.into()
    }

    /// When the requests that were sent with a timeout expire, by matchtag.
    pub fn deadlines(&self) -> RefMut<'_, TagMap<Instant>> {
        self.0.deadlines.borrow_mut()
    }

    /// How callbacks of the back end call Lua.
    pub fn callbacks(&self) -> &Callbacks {
        &self.0.callbacks
    }

    /// A reference that does not keep the handle alive.
    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle(Rc::downgrade(&self.0))
    }

    /// The live watchers of this handle.
    pub fn watchers(&self) -> &Watchers {
        &self.0.watchers
    }

    /// Pushes the handle's userdata and, above it, the table that the userdata carries,
    /// which holds the values of its watchers. Returns false if one of them does not
    /// exist.
    pub fn push_with_table(&self, state: State<'_>) -> bool {
        push_userdata(state, self.0.id) && state.object_table::<Handle>(-1)
    }

    /// Ends a watcher: its handler is not called again, and the collector may free its
    /// values. Does nothing if it has ended.
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

    /// Closes the handle: ends its watchers, stops its reactor, and drops the pending
    /// transaction and the back end.
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
    /// The handle, if it is still alive.
    pub fn upgrade(&self) -> Option<Handle> {
        self.0.upgrade().map(Handle)
    }
}

/// The handle in argument 1. Raises an error if it is closed, or any other value.
pub fn check(state: State<'_>) -> Result<Handle> {
    state.check_object(1)
}

/// A new handle, to be returned as userdata.
struct NewHandle(Option<Handle>);

impl Push for NewHandle {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let Some(id) = self.0.as_ref().map(|handle| handle.0.id) else {
            return 0;
        };
        writer.new_object(&mut self.0);
        let handle = writer.state().top();
        writer.state().registry(&USERDATA_BY_ID);
        writer.integer(id as i64);
        writer.state().push_value(handle);
        writer.raw_set(-3);
        writer.state().set_top(handle);
        1
    }
}
