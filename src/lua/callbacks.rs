//! Calls Lua functions from callbacks of C code, in protected calls. `api` decides
//! which functions are called, and when.
//!
//! Handlers run on the Lua thread that runs the reactor, as if the thread
//! called them. So the thread's debug hooks (Control-C of `lua`, profilers,
//! limits) apply to them. If C code runs the reactor, handlers run on the main
//! thread. They never run on the coroutine that registered them, which may be
//! dead.

use std::cell::Cell;
use std::os::raw::c_int;
use std::ptr;
use std::rc::Rc;

use super::traceback::traceback;
use super::{
    Class, ClassInfo, Error, Raised, RegistryKey, Result, StackError, State, Writer, compat,
    lua_State,
};

/// Calls the Lua functions of one Lua state. Clones share one value.
#[derive(Clone)]
pub struct Callbacks(Rc<Inner>);

struct Inner {
    /// A Lua thread that belongs to the module, for work that calls no
    /// handlers. The registry keeps it alive.
    base: *mut lua_State,
    /// The main thread, or `base` if that is not known.
    main: *mut lua_State,
    /// The thread whose reactor runs. If several run, the innermost one. Null
    /// if none runs.
    running: Cell<*mut lua_State>,
    /// How many calls were running when that reactor began.
    running_depth: Cell<c_int>,
    depth: Cell<c_int>,
    last_id: Cell<u64>,
}

impl Class for Callbacks {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.callbacks", "callbacks");
        &INFO
    }
}

/// The registry keeps the state's `Callbacks` under this key.
static CALLBACKS: RegistryKey = RegistryKey::unique();
/// The registry keeps `Inner::base` under this key.
static BASE: RegistryKey = RegistryKey::unique();
/// The registry keeps the function `traceback` under this key.
static TRACEBACK: RegistryKey = RegistryKey::unique();

/// The number of slots that a call needs in addition to its own frame.
const SLOTS: c_int = 8;

/// Makes the `Callbacks` of a Lua state. Call this once for each state.
pub fn open(writer: &Writer<'_>) {
    // SAFETY: there are no functions.
    unsafe { writer.new_class::<Callbacks>(&[]) };
    // SAFETY: this is a message handler for Lua to call.
    unsafe { writer.function(Some(traceback)) };
    writer.set_registry(&TRACEBACK);
    let base = writer.thread();
    writer.set_registry(&BASE);
    // SAFETY: the state is live, and the call has free slots.
    let main = unsafe { compat::main_thread(writer.raw()) }.unwrap_or(base);
    writer.new_object_with(|| {
        Some(Callbacks(Rc::new(Inner {
            base,
            main,
            running: Cell::new(ptr::null_mut()),
            running_depth: Cell::new(0),
            depth: Cell::new(0),
            last_id: Cell::new(0),
        })))
    });
    writer.set_registry(&CALLBACKS);
    writer.state().pop(1);
}

impl Callbacks {
    /// Returns the `Callbacks` of this Lua state.
    pub fn of(state: State<'_>) -> Result<Callbacks> {
        state.registry(&CALLBACKS);
        let callbacks = state.object::<Callbacks>(-1).flatten();
        state.pop(1);
        callbacks.ok_or_else(|| Error::raise("the module is not open in this Lua state"))
    }

    /// The number of running handlers. Each runs in a reactor that the handler
    /// before it runs.
    pub fn depth(&self) -> c_int {
        self.0.depth.get()
    }

    /// Returns a number that was not returned before for this Lua state.
    pub fn next_id(&self) -> u64 {
        self.0.last_id.set(self.0.last_id.get() + 1);
        self.0.last_id.get()
    }

    /// Calls `run`, which runs a reactor for the thread `state`. Handlers run on
    /// that thread until `run` returns. Fails if the thread has no stack slots for
    /// them.
    pub fn run_reactor<R>(&self, state: State<'_>, run: impl FnOnce() -> R) -> Result<R> {
        struct Restore<'c>(&'c Callbacks, *mut lua_State, c_int);

        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.0.running.set(self.1);
                self.0.0.running_depth.set(self.2);
            }
        }

        state.reserve(SLOTS)?;
        let thread = self.0.running.replace(state.raw());
        let depth = self.0.running_depth.replace(self.depth());
        let _restore = Restore(self, thread, depth);
        Ok(run())
    }

    /// The thread on which handlers run at present.
    fn thread(&self) -> State<'_> {
        let running = self.0.running.get();
        let thread = if running.is_null() {
            self.0.main
        } else {
            running
        };
        // SAFETY: a thread whose reactor runs is in a call of this module. The
        // main thread and `base` live as long as the Lua state, and callbacks
        // end before the state is closed. `call` leaves the thread's stack as
        // it was.
        unsafe { State::new(thread) }
    }

    /// Calls a Lua function. `prepare` pushes the function and its arguments, and
    /// returns how many arguments there are, or None if nothing is to be called.
    /// `ended` gets the thread, with the function's first result on top. If the
    /// function raised an error, its value is on top; an error that is a string has
    /// a traceback. A lack of memory for the call is such an error, too.
    pub fn call(
        &self,
        mut prepare: impl FnMut(&Writer<'_>) -> Option<c_int>,
        ended: impl FnOnce(State<'_>, std::result::Result<(), Raised>),
    ) {
        let state = self.thread();
        let top = state.top();
        // The frame of `f:reactor()` has the slots already.
        let is_running = !self.0.running.get().is_null();
        let has_slots = is_running && self.0.running_depth.get() == self.depth();
        if !has_slots && let Err(error) = state.reserve(SLOTS) {
            return self.end_without_call(error, ended);
        }
        state.registry(&TRACEBACK);
        self.0.depth.set(self.0.depth.get() + 1);
        let mut is_called = true;
        let called = state.protect_handled(top + 1, |writer| match prepare(writer) {
            Some(args) => {
                writer.call(args);
                1
            }
            None => {
                is_called = false;
                0
            }
        });
        if is_called {
            ended(state, called);
        }
        state.set_top(top);
        self.0.depth.set(self.0.depth.get() - 1);
    }

    /// Reports that there are no stack slots for a call. `base` has had slots for
    /// this since it was made, so no handler is lost when memory is short.
    fn end_without_call(
        &self,
        error: StackError,
        ended: impl FnOnce(State<'_>, std::result::Result<(), Raised>),
    ) {
        let base = self.base();
        let top = base.top();
        let text = error.text().as_bytes();
        // If memory for the text is lacking, the memory error takes its place.
        let _ = base.protect(0, |writer| {
            writer.bytes(text);
            1
        });
        ended(base, Err(Raised));
        // `ended` may have taken the error value.
        base.set_top(base.top().min(top));
    }

    /// The module's own thread.
    fn base(&self) -> State<'_> {
        // SAFETY: the registry holds the thread as long as the Lua state lives,
        // and callbacks end before the state is closed. Callers keep the rules
        // of the stack.
        unsafe { State::new(self.0.base) }
    }

    /// Does work that cannot raise and calls no handlers, on the module's own
    /// stack. Returns None if there is not enough memory.
    pub fn with_state<R>(&self, work: impl FnOnce(State<'_>) -> R) -> Option<R> {
        let base = self.base();
        let top = base.top();
        let done = base.reserve(SLOTS).is_ok().then(|| work(base));
        base.set_top(top);
        done
    }

    /// Does work that may raise and calls no handlers. Returns whether it did not
    /// raise.
    pub fn protect<F>(&self, body: F) -> bool
    where
        F: FnMut(&Writer<'_>) -> c_int,
    {
        self.with_state(|base| base.protect(0, body).is_ok())
            .unwrap_or(false)
    }
}
