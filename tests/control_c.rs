//! Control-C in the distribution's `lua`: it sets a debug hook on the main
//! thread, which ends whatever runs in the reactor.

mod installed;

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use installed::{lua, skipped};

/// A folder in which Lua finds the module.
fn place() -> PathBuf {
    let name = format!("control-c-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let test = env::current_exe().expect("a test knows where it is");
    let module = test.with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"));
    symlink(module, folder.join("flux.so")).expect("the folder is new");
    folder
}

/// What `lua` says when it gets SIGINT while these handlers run: once they have
/// run for the third time. None where it does not end by itself.
fn interrupted(lua: &Path, folder: &Path, handlers: &str) -> Option<String> {
    let script = format!(
        "local flux = require 'flux' \
         local f = assert(flux.new 'embed://') \
         local count = 0 \
         local function ran() \
           count = count + 1 \
           if count == 3 then io.stdout:write 'ready\\n' io.stdout:flush() end \
         end \
         {handlers} \
         f:timer {{ timeout = 60000, handler = function() os.exit(77) end }} \
         f:reactor() \
         os.exit(78)"
    );
    let mut child = Command::new(lua)
        .args(["-e", &script])
        .env("LUA_CPATH", folder.join("?.so"))
        .env_remove("LUA_INIT")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the interpreter was found");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is a pipe");
    let read = BufReader::new(stdout).read_line(&mut line);
    assert!(read.is_ok() && line == "ready\n", "{read:?}: {line:?}");
    // SAFETY: kill has no preconditions, and the child has not been waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let ended = child.wait_with_output().expect("the child is ours");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code() == Some(1)).then_some(said)
}

#[test]
fn control_c_ends_a_reactor_whose_handlers_are_busy() {
    let Some(lua) = lua::find() else {
        return skipped("there is no lua of the distribution's, so nothing was interrupted");
    };
    let folder = place();
    for (what, handlers) in [
        (
            "a timer that repeats",
            "f:timer { timeout = 1, oneshot = false, handler = ran }",
        ),
        (
            "timers that handlers make",
            "local function again(f) ran() f:timer { timeout = 1, handler = again } end \
             f:timer { timeout = 1, handler = again }",
        ),
        (
            "a handler that makes calls",
            "f:timer { timeout = 1, oneshot = false, handler = function(f) \
               ran() f:rpc('broker.ping', {}) end }",
        ),
        (
            "messages without end",
            "f:msghandler { pattern = '*.ping', msgtypes = { 2 }, handler = function(f) \
               ran() f:send('broker.ping', {}) end } \
             f:send('broker.ping', {})",
        ),
        (
            // LuaJIT's compiled loops look at no hook.
            "a handler that does not end",
            "if jit then jit.off() end \
             f:timer { timeout = 1, oneshot = false, handler = function() \
               ran() while count >= 3 do end end }",
        ),
    ] {
        let said = interrupted(&lua, &folder, handlers);
        let is_said = said
            .as_deref()
            .is_some_and(|said| said.contains("interrupted!"));
        assert!(is_said, "{what}: {said:?}");
    }
    let _ = fs::remove_dir_all(folder);
}
