//! The distribution's interpreter and package of the Lua that the module is
//! built for.

use std::path::PathBuf;
use std::process::Command;

use super::find_in_path;

/// The names that distributions give to the interpreter, and the start of the
/// version that it prints.
const INTERPRETER: (&[&str], &str) = if cfg!(feature = "lua51") {
    (&["lua5.1", "lua51", "lua-5.1", "lua"], "Lua 5.1")
} else if cfg!(feature = "lua52") {
    (&["lua5.2", "lua52", "lua-5.2", "lua"], "Lua 5.2")
} else if cfg!(feature = "lua53") {
    (&["lua5.3", "lua53", "lua-5.3", "lua"], "Lua 5.3")
} else if cfg!(feature = "lua54") {
    (&["lua5.4", "lua54", "lua-5.4", "lua"], "Lua 5.4")
} else if cfg!(feature = "lua55") {
    (&["lua5.5", "lua55", "lua-5.5", "lua"], "Lua 5.5")
} else {
    (&["luajit"], "LuaJIT")
};

/// The start of the version that the interpreter prints.
pub const VERSION: &str = INTERPRETER.1;

/// The names that distributions give to this Lua in pkg-config.
pub const PACKAGES: &[&str] = if cfg!(feature = "lua51") {
    &["lua5.1", "lua-5.1", "lua51"]
} else if cfg!(feature = "lua52") {
    &["lua5.2", "lua-5.2", "lua52"]
} else if cfg!(feature = "lua53") {
    &["lua5.3", "lua-5.3", "lua53"]
} else if cfg!(feature = "lua54") {
    &["lua5.4", "lua-5.4", "lua54"]
} else if cfg!(feature = "lua55") {
    &["lua5.5", "lua-5.5", "lua55"]
} else {
    &["luajit"]
};

/// Finds the distribution's interpreter in PATH.
pub fn find() -> Option<PathBuf> {
    let (names, version) = INTERPRETER;
    names
        .iter()
        .filter_map(|name| find_in_path(name))
        .find(|lua| {
            let script = "print(jit and jit.version or _VERSION)";
            let said = Command::new(lua).args(["-e", script]).output();
            said.is_ok_and(|said| said.stdout.starts_with(version.as_bytes()))
        })
}
