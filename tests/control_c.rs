//! Tests of Control-C in the distribution's `lua` command. On SIGINT it sets a
//! debug hook on the main thread, which must end a running reactor.

mod installed;
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use installed::{lua, skipped};
use support::TestFolder;

/// Runs a script with these handlers and sends it SIGINT once they have run
/// three times. Returns the error that `lua` prints; None if the script ended
/// in another way.
fn interrupted(lua: &Path, folder: &TestFolder, handlers: &str) -> Option<String> {
    let script = format!(
        "local flux = require 'flux' \
         local f = assert(flux.new 'embed://') \
         local count = 0 \
         local function ran() \
           count = count + 1 \
           if count == 3 then io.stdout:write 'ready\\n' io.stdout:flush() end \
         end \
         {handlers} \
         f:timer {{ timeout = 600000, handler = function() os.exit(77) end }} \
         f:reactor() \
         os.exit(78)"
    );
    let mut child = Command::new(lua)
        .args(["-e", &script])
        .env("LUA_CPATH", folder.path().join("?.so"))
        .env_remove("LUA_INIT")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the interpreter was found");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let read = BufReader::new(stdout).read_line(&mut line);
    assert!(read.is_ok() && line == "ready\n", "{read:?}: {line:?}");
    // SAFETY: kill has no preconditions, and the child has not been waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let ended = child
        .wait_with_output()
        .expect("the child can be waited for");
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code() == Some(1)).then_some(errors)
}

#[test]
fn control_c_ends_a_reactor_whose_handlers_are_busy() {
    let Some(lua) = lua::find() else {
        return skipped("the distribution's lua is not installed, so nothing was interrupted");
    };
    let folder = TestFolder::with_module("control-c");
    for (name, handlers) in [
        (
            "a repeating timer",
            "f:timer { timeout = 1, oneshot = false, handler = ran }",
        ),
        (
            "timers made by handlers",
            "local function again(f) ran() f:timer { timeout = 1, handler = again } end \
             f:timer { timeout = 1, handler = again }",
        ),
        (
            "a handler that makes calls",
            "f:timer { timeout = 1, oneshot = false, handler = function(f) \
               ran() f:rpc('broker.ping', {}) end }",
        ),
        (
            "an endless stream of messages",
            "f:msghandler { pattern = '*.ping', msgtypes = { 2 }, handler = function(f) \
               ran() f:send('broker.ping', {}) end } \
             f:send('broker.ping', {})",
        ),
        (
            // The JIT compiler is off, since compiled loops ignore hooks.
            "a handler that never returns",
            "if jit then jit.off() end \
             f:timer { timeout = 1, oneshot = false, handler = function() \
               ran() while count >= 3 do end end }",
        ),
    ] {
        let errors = interrupted(&lua, &folder, handlers);
        let is_interrupted = errors
            .as_deref()
            .is_some_and(|errors| errors.contains("interrupted!"));
        assert!(is_interrupted, "{name}: {errors:?}");
    }
}
