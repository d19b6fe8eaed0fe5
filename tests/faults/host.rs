//! Makes this test program a Lua interpreter with a module `system`, by which a
//! script can close the sockets of its own process and read a clock.

use std::env;
use std::ffi::CStr;
use std::fs;
use std::os::raw::c_int;
use std::process::{Command, exit};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use flux::lua::{self, Error, Integer, Interpreter, State, Writer, lua_CFunction, lua_State};
use flux::lua_functions;

use crate::script;

/// A command that runs a script of this folder in this program.
pub fn command(file: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command
        .args(["--exact", "host::run_as_an_interpreter"])
        .args(["--ignored", "--nocapture", "--test-threads=2"])
        .env("FAULT_SCRIPT", script::folder().join(file))
        .env("FAULT_ARGUMENTS", arguments.join(" "));
    command
}

/// Not a test: [`command`] starts this program with this function as its only
/// test.
#[test]
#[ignore = "other tests run it in a process of its own"]
fn run_as_an_interpreter() {
    let Ok(script) = env::var("FAULT_SCRIPT") else {
        return;
    };
    let arguments = env::var("FAULT_ARGUMENTS").unwrap_or_default();
    match run(&script, &arguments) {
        Ok(()) => exit(0),
        Err(why) => {
            eprintln!("{why}");
            exit(1);
        }
    }
}

fn run(script: &str, arguments: &str) -> Result<(), String> {
    let host = Interpreter::new().ok_or("no memory")?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"flux", Some(flux::luaopen_flux)) }?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"kvs", Some(flux::luaopen_kvs)) }?;
    // SAFETY: Lua may call this function.
    unsafe { host.preload(c"system", Some(open)) }?;
    let mut argv = vec![script.as_bytes().to_vec()];
    argv.extend(arguments.split_whitespace().map(|a| a.as_bytes().to_vec()));
    host.set_arguments(&argv)?;
    let body = fs::read(script).map_err(|why| format!("{script}: {why}"))?;
    host.load(&body, &format!("@{script}"))?;
    host.call(0).map(|_| ())
}

/// `system.harm(how, after)` shuts down ("shutdown") or closes ("close") all
/// sockets of this process, now or after so many milliseconds.
fn harm(state: State<'_>) -> lua::Result<()> {
    let harm: unsafe extern "C" fn(c_int) -> c_int = match state.bytes(1) {
        Some(b"shutdown") => shutdown,
        Some(b"close") => libc::close,
        _ => return Err(Error::expected(state, 1, "shutdown or close")),
    };
    let sockets = sockets();
    let after = state.integer(2).unwrap_or(0);
    let act = move || {
        for socket in sockets {
            // SAFETY: neither function takes a pointer. libflux owns the socket,
            // and must cope with losing it.
            unsafe { harm(socket) };
        }
    };
    match u64::try_from(after) {
        Ok(after) if after > 0 => {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(after));
                act();
            });
        }
        _ => act(),
    }
    Ok(())
}

unsafe extern "C" fn shutdown(socket: c_int) -> c_int {
    // SAFETY: the call takes no pointer.
    unsafe { libc::shutdown(socket, libc::SHUT_RDWR) }
}

/// The descriptors of this process that are sockets.
fn sockets() -> Vec<c_int> {
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let is_socket = |entry: &fs::DirEntry| {
        let file = fs::read_link(entry.path()).unwrap_or_default();
        file.to_string_lossy().starts_with("socket:")
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_string_lossy().parse().ok();
    let sockets = descriptors.flatten().filter(is_socket);
    sockets.filter_map(number).collect()
}

/// `system.now()` returns the microseconds of a monotonic clock.
fn now(_: State<'_>) -> lua::Result<Integer> {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let now = BEGUN.get_or_init(Instant::now).elapsed();
    Ok(Integer(now.as_micros() as i64))
}

lua_functions! {
    lua_harm => harm;
    lua_now => now;
}

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"harm", Some(lua_harm)), (c"now", Some(lua_now))];

unsafe extern "C-unwind" fn open(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua passes a live state, and this frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    writer.table(0, FUNCTIONS.len());
    for (name, function) in FUNCTIONS {
        // SAFETY: Lua may call this function.
        unsafe { writer.function(*function) };
        writer.set_field(-2, name);
    }
    1
}
