//! `flux.assert`: Lua's `assert` for calls that return `nil, err, errno, detail`. The error
//! that it raises includes the detail.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::lua::{Cause, Push, Result, State, Writer, lua_CFunction};
use crate::lua_functions;

/// The index of the argument `err`.
const ERR: c_int = 2;
/// The index of the argument `detail`.
const DETAIL: c_int = 4;

/// All arguments of the call, which are on the stack. The number is their count.
struct Arguments(c_int);

impl Push for Arguments {
    fn push(&mut self, _: &Writer<'_>) -> c_int {
        self.0
    }
}

/// `flux.assert(v, err, errno, detail, …)`
///
/// Like Lua's `assert`, adds no position to the error.
fn assert(state: State<'_>) -> Result<Arguments> {
    if state.boolean(1) {
        return Ok(Arguments(state.top()));
    }
    if state.is_none_or_nil(ERR) {
        return raise_text(state, b"assertion failed!");
    }
    let (Some(err), Some(detail)) = (state.bytes(ERR), state.bytes(DETAIL)) else {
        state.push_value(ERR);
        return Err(Cause::RaiseTop.into());
    };
    // The error text of `flux.new` already includes the detail.
    match err.ends_with(detail) {
        true => raise_text(state, err),
        false => raise_text(state, &[err, b": ", detail].concat()),
    }
}

/// Raises the text as it is.
fn raise_text<T>(state: State<'_>, text: &[u8]) -> Result<T> {
    state.protect(0, |writer| {
        writer.bytes(text);
        1
    })?;
    Err(Cause::RaiseTop.into())
}

lua_functions! { lua_assert => assert; }

/// Functions of module `flux`.
pub const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"assert", Some(lua_assert))];
