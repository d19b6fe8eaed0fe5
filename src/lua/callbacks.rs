//! The way back into Lua for callbacks from C, under a protected call.
//!
//! Handlers run on the thread that runs the reactor, as if that called them: so
//! its debug hooks (Control-C of `lua`, profilers, limits) hold in them. Where C
//! code runs the reactor, they run on the main thread. They never run on the
//! coroutine that happened to register them, which may be dead.

use std::cell::Cell;
use std::os::raw::c_int;
use std::ptr;
use std::rc::Rc;

use super::traceback::traceback;
use super::{
    Class, ClassInfo, Error, Raised, RegistryKey, Result, State, Writer, compat, lua_State,
};

/// One for each Lua state, shared by all that calls back into it.
#[derive(Clone)]
pub struct Callbacks(Rc<Inner>);

struct Inner {
    /// A thread of the module's own, which the registry holds: for work that
    /// calls no handlers.
    base: *mut lua_State,
    /// The main thread, or `base` where that is not known.
    main: *mut lua_State,
    /// The thread whose reactor runs, the innermost of several; null if none.
    running: Cell<*mut lua_State>,
    depth: Cell<c_int>,
    last_id: Cell<u64>,
}

impl Class for Callbacks {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.callbacks", "callbacks");
        &INFO
    }
}

/// Under which the registry keeps the callbacks.
static GATE: RegistryKey = RegistryKey::unique();
/// Under which it keeps the callbacks's thread.
static BASE: RegistryKey = RegistryKey::unique();
/// Under which it keeps the function that adds tracebacks to errors.
static TRACEBACK: RegistryKey = RegistryKey::unique();

/// What a call or such work needs of the stack beside its own frame.
const SLOTS: c_int = 8;

/// Make the callbacks, once per Lua state.
pub fn open(writer: &Writer<'_>) {
    writer.new_class::<Callbacks>(&[]);
    writer.function(Some(traceback));
    writer.set_registry(&TRACEBACK);
    let base = writer.thread();
    writer.set_registry(&BASE);
    let main = compat::main_thread(writer).unwrap_or(base);
    writer.new_object_with(|| {
        Some(Callbacks(Rc::new(Inner {
            base,
            main,
            running: Cell::new(ptr::null_mut()),
            depth: Cell::new(0),
            last_id: Cell::new(0),
        })))
    });
    writer.set_registry(&GATE);
    writer.state().pop(1);
}

impl Callbacks {
    pub fn of(state: State<'_>) -> Result<Callbacks> {
        state.registry(&GATE);
        let callbacks = state.object::<Callbacks>(-1).flatten();
        state.pop(1);
        callbacks.ok_or_else(|| Error::raise("the module is not open in this Lua state"))
    }

    /// How many calls run, one within the other.
    pub fn depth(&self) -> c_int {
        self.0.depth.get()
    }

    /// A number that no other object of this Lua state has.
    pub fn next_id(&self) -> u64 {
        self.0.last_id.set(self.0.last_id.get() + 1);
        self.0.last_id.get()
    }

    /// Run a reactor that `state` called for: handlers run on that thread until
    /// `run` returns.
    pub fn run_reactor<R>(&self, state: State<'_>, run: impl FnOnce() -> R) -> R {
        struct Restore<'g>(&'g Callbacks, *mut lua_State);

        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.0.running.set(self.1);
            }
        }

        let _restore = Restore(self, self.0.running.replace(state.raw()));
        run()
    }

    /// The thread that handlers run on now.
    fn thread(&self) -> State<'_> {
        let running = self.0.running.get();
        let thread = if running.is_null() {
            self.0.main
        } else {
            running
        };
        // SAFETY: a thread whose reactor runs is in a call of ours, and the
        // main thread and `base` live as long as the Lua state does. Callbacks
        // end before that does. A protected call leaves the thread's stack as
        // it was, whatever waits there for the call to return.
        unsafe { State::new(thread) }
    }

    /// Call a function that `prepare` pushes, above its arguments, whose
    /// number it returns; none to call nothing after all. `ended` gets the
    /// thread with the one result, or the error value, on top. That is so too
    /// when memory is too short for a call. An error that is a string has a
    /// traceback.
    pub fn call(
        &self,
        mut prepare: impl FnMut(&Writer<'_>) -> Option<c_int>,
        ended: impl FnOnce(State<'_>, std::result::Result<(), Raised>),
    ) {
        let state = self.thread();
        let top = state.top();
        if let Err(lack) = state.reserve(SLOTS) {
            self.with_state(|state| {
                let text = lack.text().as_bytes();
                // Its own error takes the place of a text without memory.
                let _ = state.protect(0, |writer| {
                    writer.bytes(text);
                    1
                });
                ended(state, Err(Raised));
            });
            return;
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

    fn base(&self) -> State<'_> {
        // SAFETY: the registry holds the base as long as the state lives, and
        // callbacks end before that does.
        unsafe { State::new(self.0.base) }
    }

    /// Work that cannot raise and calls no handlers, on a stack of the module's
    /// own. `None` without memory for that.
    pub fn with_state<R>(&self, work: impl FnOnce(State<'_>) -> R) -> Option<R> {
        let base = self.base();
        let top = base.top();
        let done = base.reserve(SLOTS).is_ok().then(|| work(base));
        base.set_top(top);
        done
    }

    /// Run a job that may raise and calls no handlers; whether it was done.
    pub fn protect<F>(&self, body: F) -> bool
    where
        F: FnMut(&Writer<'_>) -> c_int,
    {
        self.with_state(|base| base.protect(0, body).is_ok())
            .unwrap_or(false)
    }
}
