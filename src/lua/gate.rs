//! The way back into Lua for callbacks from C: under protection, on threads
//! that the module owns, never on the coroutine that happened to register them.

use std::cell::Cell;
use std::os::raw::c_int;
use std::rc::Rc;

use super::traceback::traceback;
use super::{Class, ClassInfo, Error, Key, Raised, Result, State, Writer, lua_State, sys};

/// One for each Lua state, shared by what calls back into it.
#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    /// A thread that the registry holds. Its stack holds those that calls run
    /// on, one for each call that runs within another.
    base: *mut lua_State,
    depth: Cell<c_int>,
    last_id: Cell<u64>,
}

impl Class for Gate {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.gate", "gate");
        &INFO
    }
}

/// Under which the registry keeps the gate.
static GATE: Key = Key::unique();
/// Under which it keeps the gate's thread.
static BASE: Key = Key::unique();

/// Make the gate, once per Lua state.
pub fn open(writer: &Writer<'_>) {
    writer.new_class::<Gate>(&[]);
    let base = writer.thread();
    writer.set_registry(&BASE);
    writer.new_object_with(|| {
        Some(Gate(Rc::new(Inner {
            base,
            depth: Cell::new(0),
            last_id: Cell::new(0),
        })))
    });
    writer.set_registry(&GATE);
    writer.state().pop(1);
}

/// Where a thread that calls run on has what their errors go through.
const TRACEBACK: c_int = 1;

impl Gate {
    pub fn of(state: State<'_>) -> Result<Gate> {
        state.registry(&GATE);
        let gate = state.object::<Gate>(-1).flatten();
        state.pop(1);
        gate.ok_or_else(|| Error::raise("the module is not open in this Lua state"))
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

    /// Call a function that `prepare` pushes, above its arguments, whose
    /// number it returns; none to call nothing after all. `ended` gets the
    /// thread with the one result, or what was raised, on top; so it does when
    /// memory is too short for a call. A string that is raised has a traceback.
    pub fn call(
        &self,
        mut prepare: impl FnMut(&Writer<'_>) -> Option<c_int>,
        ended: impl FnOnce(State<'_>, std::result::Result<(), Raised>),
    ) {
        let thread = match self.enter() {
            Ok(thread) => thread,
            Err(Raised) => {
                let base = self.base();
                let top = base.top();
                ended(base, Err(Raised));
                // What was raised may have been taken.
                return base.set_top(base.top().min(top - 1));
            }
        };
        // SAFETY: the thread is held by the base's stack until `leave`.
        let state = unsafe { State::new(thread) };
        let mut is_called = true;
        let called = state.protect_handled(TRACEBACK, |writer| match prepare(writer) {
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
        state.set_top(TRACEBACK);
        self.0.depth.set(self.0.depth.get() - 1);
    }

    fn base(&self) -> State<'_> {
        // SAFETY: the registry holds the base as long as the state lives, and
        // callbacks end before that does.
        unsafe { State::new(self.0.base) }
    }

    /// A thread that no other call runs on. Without memory for it, the error is
    /// on top of the base's stack.
    fn enter(&self) -> std::result::Result<*mut lua_State, Raised> {
        let base = self.base();
        let slot = self.0.depth.get() + 1;
        if base.top() < slot {
            let room = base.reserve(4);
            base.protect(0, |writer| {
                if let Err(lack) = room {
                    writer.bytes(lack.text().as_bytes());
                    writer.raise();
                }
                writer.thread_with(Some(traceback));
                1
            })
            .map_err(|_| Raised)?;
        }
        self.0.depth.set(slot);
        // SAFETY: a thread is in that slot.
        Ok(unsafe { sys::lua_tothread(self.0.base, slot) })
    }

    /// Work that cannot raise and calls no handlers, on a stack of the module's
    /// own. `None` without memory for that.
    pub fn with_state<R>(&self, work: impl FnOnce(State<'_>) -> R) -> Option<R> {
        let base = self.base();
        let top = base.top();
        let done = base.reserve(8).is_ok().then(|| work(base));
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
