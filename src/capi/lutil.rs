//! `lutil.h`: what functions written in C return to Lua.

use std::ffi::{c_char, c_int, c_void};

use super::{Count, enter};
use crate::api;
use crate::backend;
use crate::exported;
use crate::lua::{self, Cause, Error, Integer, Result, State, Writer, compat, lua_State};

unsafe extern "C-unwind" {
    fn flux_lua_pusherror(state: *mut lua_State, format: *mut c_char, ...) -> c_int;
}

/// The C code's way back into Rust. Called by name, this function would have to
/// be exported, and another `flux.so` in the process could take its place.
type PushFailure =
    unsafe extern "C-unwind" fn(*mut lua_State, *const c_char, usize, *const c_void) -> c_int;

unsafe extern "C" {
    static mut flux_lua_push_failure: Option<PushFailure>;
}

extern "C" fn at_load() {
    // SAFETY: the loader runs this before any function of the object is called.
    unsafe { flux_lua_push_failure = Some(push_failure) }
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

/// # Safety
/// As for [`l_pushresult`], with a text of `length` bytes.
unsafe extern "C-unwind" fn push_failure(
    state: *mut lua_State,
    text: *const c_char,
    length: usize,
    caller: *const c_void,
) -> c_int {
    // SAFETY: by the contract; the frames from here to Lua own nothing.
    unsafe {
        if let Err(error) = lua::bind(state, caller) {
            return error.fail(state);
        }
        let writer = Writer::new(state);
        writer.nil();
        writer.bytes(std::slice::from_raw_parts(text.cast(), length));
    }
    2
}

/// The name under which the shared object exports [`flux_lua_pusherror`], which
/// the linker puts in this one's place (see build.rs): only a function of
/// Rust's is exported, and only one of C's takes variable arguments. In a
/// program that Rust links, this is it, with a text and no arguments.
///
/// # Safety
/// A C function, or the host, of this live state calls, with a terminated
/// format that needs no arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lua_pusherror(state: *mut lua_State, format: *mut c_char) -> c_int {
    // SAFETY: by the contract.
    unsafe { flux_lua_pusherror(state, format) }
}

exported! {
    /// # Safety
    /// A C function, or the host, of this live state calls; and so below.
    fn l_pushresult(state: *mut lua_State, rc: c_int) -> c_int {
        // An error of the back end's would own something, in a frame that may be
        // jumped over.
        let errnum = backend::last_errno();
        // SAFETY: by the contract.
        unsafe {
            enter(state, |_| match rc {
                0.. => Ok(Integer(rc.into())),
                _ => Err(Error::failure(backend::strerror(errnum))),
            })
        }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.fail(state) }
    }
}

exported! {
    /// # Safety
    /// As for [`l_pushresult`]; `index` is an index of the stack.
    fn l_format_args(state: *mut lua_State, index: c_int) -> c_int {
        // SAFETY: by the contract.
        unsafe { enter(state, |state| format_args(state, index)) }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.fail(state) };
        -1
    }
}

fn format_args(state: State<'_>, index: c_int) -> Result<Count> {
    let index = state.absolute(index);
    let Err(error) = api::push_formatted(state, index) else {
        // SAFETY: an index of the stack, at or below the top.
        unsafe { compat::insert(state.raw(), index) };
        state.set_top(index);
        return Ok(Count(1));
    };
    match error.cause() {
        Cause::Failure(failure) => {
            state.protect(0, |writer| {
                writer.nil();
                writer.bytes(failure.text.as_bytes());
                2
            })?;
            Ok(Count(-1))
        }
        cause => Err(cause.into()),
    }
}

/// What Lua 5.2 and LuaJIT have, and Lua 5.1 lacks.
#[cfg(feature = "lua51")]
mod setfuncs {
    use super::{c_char, c_int, lua_State};
    use crate::exported;
    use crate::lua::{lua_CFunction, sys};

    /// Lua's `luaL_Reg`.
    #[repr(C)]
    pub struct Reg {
        name: *const c_char,
        function: lua_CFunction,
    }

    exported! {
        /// # Safety
        /// A C function, or the host, of this live state calls, with a table
        /// below so many upvalues on top, and a list that a null name ends.
        fn luaL_setfuncs(state: *mut lua_State, list: *const Reg, upvalues: c_int) {
            // SAFETY: by the contract; the frame owns nothing that a Lua error
            // could jump over.
            unsafe {
                let mut list = list;
                sys::luaL_checkstack(state, upvalues + 2, c"too many upvalues".as_ptr());
                while !(*list).name.is_null() {
                    for _ in 0..upvalues {
                        sys::lua_pushvalue(state, -upvalues);
                    }
                    sys::lua_pushcclosure(state, (*list).function, upvalues);
                    sys::lua_setfield(state, -(upvalues + 2), (*list).name);
                    list = list.add(1);
                }
                sys::lua_settop(state, -upvalues - 1);
            }
        } unbound(error) {
            error.print()
        }
    }
}
