//! The message handler of the calls that show their errors.

use std::os::raw::c_int;

use super::{Kind, Raised, StackError, Writer, lua_State};

/// A string gets a traceback, another value stays what it is, and so does
/// Lua's memory error: not every Lua calls this for one that is raised again.
pub unsafe extern "C-unwind" fn traceback(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    let state = writer.state();
    match state.bytes(1) {
        None => return 1,
        Some(text) if text == StackError::Memory.text().as_bytes() => return 1,
        Some(_) => {}
    }
    writer.global(c"debug");
    if state.kind(-1) != Kind::Table {
        state.set_top(1);
        return 1;
    }
    writer.field(-1, c"traceback");
    state.push_value(1);
    writer.integer(2);
    match state.call(2, 1) {
        Ok(()) => 1,
        Err(Raised) => {
            state.set_top(1);
            1
        }
    }
}
