//! The message handler for errors that a person will read: those of handlers,
//! and of the `flux-lua` command.

use std::os::raw::c_int;

use super::{Kind, Raised, StackError, Writer, lua_State, sys};

/// Adds a traceback to an error that is a string. Other values stay as they
/// are. Lua's memory error stays as it is too: some Luas do not call a message
/// handler when it is raised again, so its text would differ between Luas.
///
/// # Safety
/// Lua calls this as a message handler.
pub unsafe extern "C-unwind" fn traceback(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; this frame owns nothing.
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
    // The error's text is added afterwards: Lua 5.1 copies the text once for each
    // level of the stack, and a peer may have sent it.
    writer.bytes(b"");
    writer.integer(2);
    if let Err(Raised) = state.call(2, 1) {
        state.set_top(1);
        return 1;
    }
    state.push_value(1);
    state.push_value(-2);
    let joined = state.protect(2, |writer| {
        // SAFETY: two strings are on top of the stack, or values that raise.
        unsafe { sys::lua_concat(writer.raw(), 2) };
        1
    });
    if joined.is_err() {
        state.set_top(1);
    }
    1
}
