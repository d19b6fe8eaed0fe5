//! The one door from Lua into Rust: every `lua_CFunction` is [`enter`] round a
//! Rust function. A panic becomes a Lua error; destructors have run before any
//! error jumps.

use std::any::Any;
use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    Cause, Class, Either, Error, OnTop, Push, Result, StackError, State, Writer, lua_State, sys,
};

/// Define `extern "C-unwind"` entry points: `name => rust_function`.
#[macro_export]
macro_rules! lua_functions {
    ($($(#[$meta:meta])* $name:ident => $body:path;)*) => {
        $($(#[$meta])*
        unsafe extern "C-unwind" fn $name(
            state: *mut $crate::lua::lua_State,
        ) -> ::std::os::raw::c_int {
            // SAFETY: Lua calls with a live state, and this frame owns nothing.
            unsafe { $crate::lua::enter(state, $body) }
        })*
    };
}

/// The same, of functions that are given [`Scratch`] too.
#[macro_export]
macro_rules! lua_functions_with_scratch {
    ($($name:ident => $body:path;)*) => {
        $(unsafe extern "C-unwind" fn $name(
            state: *mut $crate::lua::lua_State,
        ) -> ::std::os::raw::c_int {
            let mut scratch = $crate::lua::Scratch::new();
            // SAFETY: Lua calls with a live state, and this frame owns nothing.
            unsafe { $crate::lua::enter(state, |state| $body(state, &mut scratch)) }
        })*
    };
}

/// What the body of an entry point can return.
pub trait Results {
    /// Push it, and drop it if there is something to drop.
    ///
    /// # Safety
    /// No frame from here to Lua owns anything else.
    unsafe fn end(self, state: State<'_>) -> End;
}

impl<R: Push> Results for R {
    #[inline]
    unsafe fn end(mut self, state: State<'_>) -> End {
        match std::mem::needs_drop::<R>() {
            true => give(state, &mut self),
            // SAFETY: the caller's promise.
            false => unsafe { give_plain(state, self) },
        }
    }
}

impl<P: Push, O: Push> Results for Either<P, O> {
    #[inline]
    unsafe fn end(self, state: State<'_>) -> End {
        const {
            assert!(!std::mem::needs_drop::<P>(), "it must own nothing");
        }
        match self {
            // SAFETY: the caller's promise; the other one is not there.
            Either::Plain(results) => unsafe { give_plain(state, results) },
            Either::Owned(mut results) => give(state, &mut results),
        }
    }
}

/// How the call ends, known before what owned the words for it is dropped.
pub enum End {
    Return(c_int),
    /// The value on top is raised.
    Raise,
    /// The string on top is raised about this argument.
    RaiseArgument(c_int),
}

/// Run an entry point's body and give its results, or its error, to Lua. `'a`
/// is the call: what is borrowed for it ends with this function. There is one
/// of it for every entry point, so all that is the same in them is elsewhere.
///
/// # Safety
/// Lua called, with `raw`, a C function whose frame owns nothing.
pub unsafe fn enter<'a, R, F>(raw: *mut lua_State, body: F) -> c_int
where
    R: Results,
    F: FnOnce(State<'a>) -> Result<R>,
{
    // SAFETY: the state is live during the call.
    let state = unsafe { State::new(raw) };
    match run(state, body) {
        End::Return(count) => count,
        // SAFETY: what it says is on top; `run` has dropped all it owned.
        end => unsafe { jump(raw, end) },
    }
}

/// Run an entry point's body that makes an object. Its userdata is made first,
/// while nothing is owned, so that no protected call is needed. The body's
/// arguments are the first `arguments`.
///
/// # Safety
/// As for [`enter`].
pub unsafe fn enter_making<T: Class>(
    raw: *mut lua_State,
    arguments: c_int,
    body: impl FnOnce(State<'_>) -> Result<T>,
) -> c_int {
    // SAFETY: the frame owns nothing, and a call has slots for arguments that
    // it was not given.
    let (writer, slot) = unsafe {
        sys::lua_settop(raw, arguments);
        (Writer::new(raw), arguments + 1)
    };
    let object = writer.new_object_with::<T>(|| None);
    // SAFETY: the caller's promise; the stack holds the userdata.
    unsafe {
        enter(raw, |state| {
            let value = body(state)?;
            object.fill(value);
            state.set_top(slot);
            Ok(OnTop)
        })
    }
}

/// Leave with an error.
///
/// # Safety
/// `end` is an error, what it raises is on top, and no frame owns anything.
#[cold]
unsafe fn jump(raw: *mut lua_State, end: End) -> c_int {
    match end {
        End::Return(count) => count,
        // SAFETY: by the contract.
        End::Raise => unsafe { sys::lua_error(raw) },
        // SAFETY: a string is on top and stays there until the jump.
        End::RaiseArgument(index) => unsafe {
            let message = sys::lua_tolstring(raw, -1, std::ptr::null_mut());
            sys::luaL_argerror(raw, index, message)
        },
    }
}

/// A metamethod of the collector: `body` must not raise, and a panic in it is
/// the end of it.
///
/// # Safety
/// As for [`enter`].
pub unsafe fn finalize(raw: *mut lua_State, body: fn(State<'_>)) -> c_int {
    // SAFETY: the state is live during the call.
    let state = unsafe { State::new(raw) };
    // A finalizer has nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| body(state)));
    0
}

/// All that owns something happens in here; it returns with nothing owned.
fn run<'a, R: Results>(state: State<'a>, body: impl FnOnce(State<'a>) -> Result<R>) -> End {
    match catch_unwind(AssertUnwindSafe(|| body(state))) {
        // SAFETY: nothing from here to Lua owns anything but the results.
        Ok(Ok(results)) => unsafe { results.end(state) },
        Ok(Err(error)) => refuse(state, error),
        Err(panic) => panicked(state, panic),
    }
}

#[cold]
fn panicked(state: State<'_>, panic: Box<dyn Any + Send>) -> End {
    let text = format!("internal error: {}", said(&*panic));
    refuse(state, Error::raise(text))
}

/// Push what the error gives to Lua.
#[cold]
fn refuse(state: State<'_>, error: Error) -> End {
    match error.cause() {
        Cause::Failure(mut failure) => give(state, &mut failure),
        Cause::RaiseTop => {
            come_back(state);
            End::Raise
        }
        Cause::Memory => {
            push_text(state, StackError::Memory.text());
            End::Raise
        }
        Cause::Raise(message) => raise(state, &message),
        Cause::Argument { index, message } => match push_text(state, &message) {
            true => End::RaiseArgument(index),
            false => End::Raise,
        },
    }
}

/// Handlers run on threads of their own. LuaJIT before 2022-10 takes the thread
/// that was called last for the one that runs when an error ends a call: have
/// that be the caller's. A return does so itself, and other errors' texts.
fn come_back(state: State<'_>) {
    if cfg!(feature = "luajit") {
        let _ = state.protect(0, |_| 0);
    }
}

/// Push results that own nothing.
///
/// # Safety
/// No frame from here to Lua owns anything.
#[inline]
unsafe fn give_plain<P: Push>(state: State<'_>, mut results: P) -> End {
    // SAFETY: the caller's promise.
    let writer = unsafe { Writer::new(state.raw()) };
    End::Return(results.push(&writer))
}

/// Push results that own something: under protection, as a jump would skip
/// their destructor. Those that look at the call's arguments find them at
/// their indices.
fn give(state: State<'_>, results: &mut dyn Push) -> End {
    let mut count = 0;
    let args = match results.looks_at_arguments() {
        true => state.top(),
        false => 0,
    };
    let given = state.protect(args, |writer| {
        count = results.push(writer);
        count
    });
    match given {
        Ok(_) => End::Return(count),
        Err(_) => End::Raise,
    }
}

fn raise(state: State<'_>, message: &str) -> End {
    // What comes of a lack of memory for the words is raised in their place.
    let _ = state.protect(0, |writer| {
        // Level 2 is who called the C function: this job is level 0.
        // SAFETY: the state is live and the frame owns nothing.
        unsafe { sys::luaL_where(writer.raw(), 2) };
        writer.bytes(message.as_bytes());
        // SAFETY: two strings are on top.
        unsafe { sys::lua_concat(writer.raw(), 2) };
        1
    });
    End::Raise
}

/// Push the text, or what was raised in its place.
fn push_text(state: State<'_>, text: &str) -> bool {
    let pushed = state.protect(0, |writer| {
        writer.bytes(text.as_bytes());
        1
    });
    pushed.is_ok()
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic")
}
