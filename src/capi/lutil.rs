//! `lutil.h`: helpers for the results of functions written in C. The variadic
//! `lua_pusherror` is partly in lutil.c.

use std::ffi::{c_char, c_int, c_void};

use super::{Count, enter};
use crate::api;
use crate::backend;
use crate::exported;
use crate::lua::{self, Cause, Error, Integer, Result, State, Writer, compat, lua_State};

unsafe extern "C-unwind" {
    fn flux_lua_pusherror(state: *mut lua_State, format: *mut c_char, ...) -> c_int;
}

/// A pointer to the Rust function that lutil.c calls. If lutil.c called the
/// function by name, the function would have to be exported, and another
/// `flux.so` in the process could replace it.
type PushFailure =
    unsafe extern "C-unwind" fn(*mut lua_State, *const c_char, usize, *const c_void) -> c_int;

unsafe extern "C" {
    static mut flux_lua_push_failure: Option<PushFailure>;
}

extern "C" fn at_load() {
    // SAFETY: the loader runs this before any other code of this library, so no
    // other thread uses the variable.
    unsafe { flux_lua_push_failure = Some(push_failure) }
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

/// Pushes nil and a text.
///
/// # Safety
/// As for [`l_pushresult`]. `text` has `length` bytes. `caller` is an address in
/// the code that called `lua_pusherror`.
unsafe extern "C-unwind" fn push_failure(
    state: *mut lua_State,
    text: *const c_char,
    length: usize,
    caller: *const c_void,
) -> c_int {
    // SAFETY: by the contract; this frame and that of lutil.c own nothing.
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

/// Pushes nil and a formatted text.
///
/// This function only exports the symbol: rustc exports no functions of C, and
/// Rust defines no variadic ones. In the shared object the linker replaces it by
/// [`flux_lua_pusherror`] (see build.rs). In a program that Rust links it is not
/// replaced, and takes a format without arguments.
///
/// # Safety
/// As for [`l_pushresult`]. `format` ends with a NUL, and needs no arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn lua_pusherror(state: *mut lua_State, format: *mut c_char) -> c_int {
    // SAFETY: by the contract.
    unsafe { flux_lua_pusherror(state, format) }
}

exported! {
    /// Pushes `rc`, or nil and the text of errno if it is negative.
    ///
    /// # Safety
    /// `state` is live, and the caller may use it on this thread. No frame
    /// between this one and Lua has a destructor to run.
    fn l_pushresult(state: *mut lua_State, rc: c_int) -> c_int {
        // Only the number is kept here: a `backend::Error` would own memory.
        let errnum = backend::last_errno();
        // SAFETY: by the contract.
        unsafe {
            enter(state, |_| match rc {
                0.. => Ok(Integer(rc.into())),
                _ => Err(Error::failure(backend::strerror(errnum))),
            })
        }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.fail(state) }
    }
}

exported! {
    /// Replaces the values from `index` on by the text that `string.format` makes of
    /// them.
    ///
    /// # Safety
    /// As for [`l_pushresult`]. There is a value at `index`.
    fn l_format_args(state: *mut lua_State, index: c_int) -> c_int {
        // SAFETY: by the contract.
        unsafe { enter(state, |state| format_args(state, index)) }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.fail(state) };
        -1
    }
}

fn format_args(state: State<'_>, index: c_int) -> Result<Count> {
    let index = state.absolute(index);
    let Err(error) = api::push_formatted(state, index) else {
        // SAFETY: the index is that of a value, by the contract of `l_format_args`.
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

/// `luaL_setfuncs` for Lua 5.1, which lacks it.
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
        /// Registers the functions of a list in a table, with the upvalues on top.
        ///
        /// # Safety
        /// As for [`l_pushresult`](super::l_pushresult). A table is below that many
        /// upvalues, and a null name ends the list.
        fn luaL_setfuncs(state: *mut lua_State, list: *const Reg, upvalues: c_int) {
            // SAFETY: by the contract; this frame owns nothing.
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
