//! Entry points: how Lua and C code call into this crate. There are two kinds.
//!
//! **Functions that Lua calls** are made by [`lua_functions!`](crate::lua_functions)
//! around Rust functions that take a [`State`] and return a [`Result`]:
//!
//! ```text
//! lua_functions! {
//!     lua_send => send;               // fn send(State) -> Result<Integer>
//!     lua_rpc(Scratch) => rpc;        // fn rpc(State, &mut Scratch) -> Result<Response>
//!     lua_barrier => blocking(barrier);
//! }
//! ```
//!
//! The macro defines an `extern "C-unwind"` function that calls [`enter`], which
//! works in this order:
//!
//! 1. It runs the body inside `catch_unwind`. The body may own things and must
//!    call only what cannot raise, which is all that a [`State`] offers. A panic
//!    becomes a Lua error.
//! 2. It pushes the results. Results that own nothing are pushed directly,
//!    because a Lua error may jump over them. This is the fast path. Others are
//!    pushed in a protected call, and dropped after it.
//! 3. It raises, if there is something to raise. All destructors have run.
//!
//! A function that needs memory of Lua's *before* its body runs, or a buffer
//! that outlives the body, names a type that implements [`Prepare`] in
//! parentheses. The value is made first, while a Lua error can still leave the
//! function, and the body gets a reference to it. [`Scratch`] is such a buffer:
//! a short text that is copied there owns nothing, and takes the fast path.
//! [`Preallocated`](super::Preallocated) is a userdata that the body fills.
//!
//! The right side is any expression for such a function. A call that waits is
//! turned into one by an adapter (`api::wait::blocking`).
//!
//! **Functions that C code calls by name**, `luaopen_flux` among them, are made
//! by [`exported!`](crate::exported). Their callers can belong to another Lua
//! than the one that the module is bound to, so that is checked first; the body
//! then calls `enter` like a function of Lua's.
//!
//! Two callbacks of Lua's do not come through here. The finalizer of userdata
//! (`userdata`) has no results and nobody to report an error to. The function
//! that runs a protected call (`state`) is called by this crate itself.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    Cause, Error, Failure, Push, Result, Scratch, StackError, State, Writer, lua_State, sys,
};

/// Defines functions for Lua to call: `name => body;`, or `name(Type) => body;`
/// where the body takes a prepared value. See the head of `lua::entry`.
#[macro_export]
macro_rules! lua_functions {
    ($($(#[$meta:meta])* $name:ident $(($prepared:ty))? => $body:expr;)*) => {
        $($(#[$meta])*
        unsafe extern "C-unwind" fn $name(
            state: *mut $crate::lua::lua_State,
        ) -> ::std::os::raw::c_int {
            $crate::enter_prepared!(state, $body $(, $prepared)?)
        })*
    };
}

/// The body of a function that [`lua_functions!`] defines.
#[doc(hidden)]
#[macro_export]
macro_rules! enter_prepared {
    ($state:ident, $body:expr) => {
        // SAFETY: Lua calls with a live state, and this frame owns nothing.
        unsafe { $crate::lua::enter($state, $body) }
    };
    ($state:ident, $body:expr, $prepared:ty) => {{
        const {
            assert!(
                !::std::mem::needs_drop::<$prepared>(),
                "a Lua error may jump over it"
            );
        }
        // SAFETY: as below.
        let mut prepared = unsafe { <$prepared as $crate::lua::Prepare>::prepare($state) };
        // SAFETY: Lua calls with a live state, and this frame owns nothing.
        unsafe { $crate::lua::enter($state, |state| $body(state, &mut prepared)) }
    }};
}

/// A value that a function for Lua has ready before its body runs. It has no
/// destructor.
pub trait Prepare {
    /// Makes the value. May raise.
    ///
    /// # Safety
    /// As for [`enter`].
    unsafe fn prepare(raw: *mut lua_State) -> Self;
}

impl Prepare for Scratch {
    #[inline(always)]
    unsafe fn prepare(_: *mut lua_State) -> Scratch {
        Scratch::new()
    }
}

/// How a call ends.
enum Exit {
    /// By returning this number of results, which are on top of the stack.
    Return(c_int),
    /// By raising the value on top.
    Raise,
    /// By raising an error about this argument, whose text is on top.
    RaiseArgument(c_int),
}

/// Runs the body of an entry point and gives its results, or its error, to Lua.
/// `'a` is the duration of the call. Nothing that is borrowed for it outlives
/// this function.
///
/// Each entry point has its own copy of this function. So code that does not
/// depend on the body is in other functions.
///
/// # Safety
/// `raw` is a live state of the Lua that the module is bound to. Lua called a C
/// function with it. Neither the frame of that function nor one between it and
/// this one owns anything.
pub unsafe fn enter<'a, R, F>(raw: *mut lua_State, body: F) -> c_int
where
    R: Push,
    F: FnOnce(State<'a>) -> Result<R>,
{
    // SAFETY: the state is live during the call, by the contract.
    let state = unsafe { State::new(raw) };
    match run(state, body) {
        Exit::Return(count) => count,
        // SAFETY: `run` has pushed what to raise, and dropped all it owned.
        exit => unsafe { raise(raw, exit) },
    }
}

/// Leaves the entry point by an error.
///
/// # Safety
/// The value to raise is on top of the stack, and no frame between this one and
/// Lua owns anything.
#[cold]
unsafe fn raise(raw: *mut lua_State, exit: Exit) -> c_int {
    match exit {
        Exit::Return(count) => count,
        // SAFETY: by the contract.
        Exit::Raise => unsafe { sys::lua_error(raw) },
        // SAFETY: a string is on top, and stays there until the jump.
        Exit::RaiseArgument(index) => unsafe {
            let message = sys::lua_tolstring(raw, -1, std::ptr::null_mut());
            sys::luaL_argerror(raw, index, message)
        },
    }
}

/// Owns the values that the body makes, and drops all of them before it
/// returns.
fn run<'a, R: Push>(state: State<'a>, body: impl FnOnce(State<'a>) -> Result<R>) -> Exit {
    match catch_unwind(AssertUnwindSafe(|| body(state))) {
        Ok(Ok(results)) if results.owns_nothing() => {
            let mut results = ManuallyDrop::new(results);
            // SAFETY: the state is live. Neither this frame nor one between it
            // and Lua has a destructor to run.
            let writer = unsafe { Writer::new(state.raw()) };
            Exit::Return(results.push(&writer))
        }
        Ok(Ok(mut results)) => {
            // The arguments move into the protected call, where they have the
            // same indices.
            give(state, state.top(), &mut |writer| results.push(writer))
        }
        Ok(Err(error)) => refuse(state, error),
        Err(panic) => panicked(state, &*panic),
    }
}

/// Pushes results in a protected call, which gets the topmost `args` values.
fn give(state: State<'_>, args: c_int, push: &mut dyn FnMut(&Writer<'_>) -> c_int) -> Exit {
    let mut count = 0;
    let pushed = state.protect(args, |writer| {
        count = push(writer);
        count
    });
    match pushed {
        Ok(_) => Exit::Return(count),
        Err(_) => Exit::Raise,
    }
}

#[cold]
fn panicked(state: State<'_>, panic: &(dyn Any + Send)) -> Exit {
    let text = format!("internal error: {}", panic_text(panic));
    refuse(state, Error::raise(text))
}

/// Pushes the values of an error. The stack below stays as it is, because its
/// values can belong to C code.
#[cold]
fn refuse(state: State<'_>, error: Error) -> Exit {
    match error.cause() {
        Cause::Failure(failure) => give_failure(state, &failure),
        Cause::RaiseTop => {
            return_to_caller(state);
            Exit::Raise
        }
        Cause::Memory => {
            push_text(state, StackError::Memory.text());
            Exit::Raise
        }
        Cause::Raise(message) => raise_at_caller(state, &message),
        Cause::Argument { index, message } => match push_text(state, &message) {
            true => Exit::RaiseArgument(index),
            false => Exit::Raise,
        },
    }
}

fn give_failure(state: State<'_>, failure: &Failure) -> Exit {
    give(state, 0, &mut |writer| failure.push(writer))
}

/// Handlers run on other Lua threads. When a call ends by an error, LuaJIT
/// before 2022-10 takes the thread that was called last for the running one.
/// This call makes LuaJIT take the caller's thread again. A return has the same
/// effect, and so do errors whose text is pushed here.
fn return_to_caller(state: State<'_>) {
    if cfg!(feature = "luajit") {
        let _ = state.protect(0, |_| 0);
    }
}

/// Pushes the message with the position of the code that called the function.
fn raise_at_caller(state: State<'_>, message: &str) -> Exit {
    // If memory for the text is lacking, the memory error is raised instead.
    let _ = state.protect(0, |writer| {
        // Level 0 is this protected call, 1 the function, and 2 its caller.
        // SAFETY: the state is live and the frame owns nothing.
        unsafe { sys::luaL_where(writer.raw(), 2) };
        writer.bytes(message.as_bytes());
        // SAFETY: two strings are on top.
        unsafe { sys::lua_concat(writer.raw(), 2) };
        1
    });
    Exit::Raise
}

/// Pushes the text, or Lua's memory error if memory for it is lacking. Returns
/// whether it has pushed the text.
fn push_text(state: State<'_>, text: &str) -> bool {
    let pushed = state.protect(0, |writer| {
        writer.bytes(text.as_bytes());
        1
    });
    pushed.is_ok()
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic")
}

impl Failure {
    /// Pushes the values, and returns how many there are.
    pub(super) fn push(&self, writer: &Writer<'_>) -> c_int {
        writer.nil();
        writer.bytes(self.text.as_bytes());
        if self.code.is_none() && self.detail.is_none() {
            return 2;
        }
        match self.code {
            Some(code) => writer.integer(code.into()),
            None => writer.nil(),
        }
        match &self.detail {
            Some(detail) => {
                writer.bytes(detail.as_bytes());
                4
            }
            None => 3,
        }
    }
}
