//! Runs calls.lua, which makes a sequence of API calls from the input, in a new Lua
//! state. There must be no crash, panic or hang, and no descriptor, signal handler or
//! embedded instance may remain after the state is closed.

#![no_main]

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::sync::OnceLock;

use flux::backend::embedded;
use flux::lua::{Integer, Interpreter, Kind, Result, State, Writer};
use flux::{lua_functions, luaopen_flux, luaopen_kvs};
use libfuzzer_sys::fuzz_target;

const SCRIPT: &[u8] = include_bytes!("calls.lua");

fuzz_target!(|data: &[u8]| {
    let before = Process::now();
    let lua = Interpreter::new().expect("a Lua state");
    run(&lua, data);
    drop(lua);
    PIPE.take();
    assert_eq!(Process::now(), before);
    // An instance that still exists has another size, so opening it with this size
    // fails.
    for uri in ["embed://?size=3", "embed://fuzz?size=3"] {
        assert!(embedded::open(uri).is_ok(), "the instance is still there");
    }
});

fn run(lua: &Interpreter, data: &[u8]) {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let script = COMPILED.get_or_init(compile);
    let state = lua.state();
    lua.load(script, "=calls").expect("the script loads");
    let pushed = state.protect(0, |writer| {
        for open in [luaopen_flux, luaopen_kvs] {
            // SAFETY: `luaopen_flux` and `luaopen_kvs` are made for Lua to call.
            unsafe { writer.function(Some(open)) };
            writer.state().call(0, 1).expect("the module opens");
        }
        push_native(writer);
        writer.bytes(data);
        4
    });
    pushed.expect("no Lua error");
    lua.call(4).expect("the script catches what it calls");
}

/// The compiled script, which loads faster than its source.
fn compile() -> Vec<u8> {
    let lua = Interpreter::new().expect("a Lua state");
    lua.load(b"return string.dump(...)", "=dump")
        .expect("it compiles");
    lua.load(SCRIPT, "=calls").expect("the script compiles");
    lua.call(1).expect("a function is dumped");
    lua.state().bytes(-1).expect("a string").to_vec()
}

/// The state of the process that the script must restore.
#[derive(Debug, PartialEq)]
struct Process {
    /// The lowest free descriptor.
    free_descriptor: RawFd,
    /// The handler of each signal that the script may handle.
    handlers: [libc::sighandler_t; SIGNALS.len()],
}

const SIGNALS: [i32; 6] = [
    libc::SIGWINCH,
    libc::SIGURG,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGINT,
    libc::SIGQUIT,
];

impl Process {
    fn now() -> Process {
        // SAFETY: dup and close have no preconditions. The closed descriptor is the new
        // one, which nothing else uses.
        let free_descriptor = unsafe {
            let copy = libc::dup(2);
            libc::close(copy);
            copy
        };
        let handlers = SIGNALS.map(|signum| {
            // SAFETY: sigaction is a plain C structure, for which all zeros are valid.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: without a new action, the call only writes to the local `action`.
            unsafe { libc::sigaction(signum, std::ptr::null(), &mut action) };
            action.sa_sigaction
        });
        Process {
            free_descriptor,
            handlers,
        }
    }
}

thread_local! {
    /// The pipe of the script.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
    static IS_SINGLE_THREADED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// A pipe: the descriptors of its read end and its write end. A closed end is -1.
struct Pipe([RawFd; 2]);

impl Pipe {
    fn new() -> Pipe {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has space for two descriptors.
        let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
        assert_eq!(made, 0);
        Pipe(ends)
    }

    fn close_end(&mut self, end: usize) {
        let end = std::mem::replace(&mut self.0[end], -1);
        if end >= 0 {
            // SAFETY: the descriptor belongs to this pipe and is closed only here, once.
            unsafe { libc::close(end) };
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close_end(0);
        self.close_end(1);
    }
}

/// Whether the process has a single thread. With a memory limit, libFuzzer has a
/// second one, and then a call that nobody can answer waits for ever instead of
/// failing with EDEADLK.
fn is_single_threaded() -> bool {
    let count = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let known = IS_SINGLE_THREADED.get().unwrap_or_else(|| count() == 1);
    IS_SINGLE_THREADED.set(Some(known));
    known
}

/// Push the table of functions that the script uses besides the module.
fn push_native(writer: &Writer<'_>) {
    writer.table(0, 8);
    writer.boolean(is_single_threaded());
    writer.set_field(-2, c"is_single_threaded");
    for (name, function) in [
        (c"reader", lua_reader as _),
        (c"writer", lua_writer as _),
        (c"write_to_pipe", lua_write_to_pipe as _),
        (c"close_end", lua_close_end as _),
        (c"signal", lua_signal as _),
        (c"abort_with", lua_abort_with as _),
    ] {
        // SAFETY: `lua_functions!` made the function, so Lua may call it.
        unsafe { writer.function(Some(function)) };
        writer.set_field(-2, name);
    }
}

lua_functions! {
    lua_reader => reader;
    lua_writer => writer;
    lua_write_to_pipe => write_to_pipe;
    lua_close_end => close_end;
    lua_signal => signal;
    lua_abort_with => abort_with;
}

fn pipe_end(which: usize) -> Result<Integer> {
    let end = PIPE.with_borrow_mut(|pipe| pipe.get_or_insert_with(Pipe::new).0[which]);
    Ok(Integer(end.into()))
}

fn reader(_: State<'_>) -> Result<Integer> {
    pipe_end(0)
}

fn writer(_: State<'_>) -> Result<Integer> {
    pipe_end(1)
}

/// Write argument 1 to the pipe.
fn write_to_pipe(state: State<'_>) -> Result<()> {
    let text = state.bytes(1).unwrap_or_default();
    let writer = PIPE.with_borrow(|pipe| pipe.as_ref().map_or(-1, |pipe| pipe.0[1]));
    let reader = PIPE.with_borrow(|pipe| pipe.as_ref().map_or(-1, |pipe| pipe.0[0]));
    if writer >= 0 && reader >= 0 {
        // SAFETY: the pointer and the length are those of `text`. The pipe does not
        // block.
        unsafe { libc::write(writer, text.as_ptr().cast(), text.len()) };
    }
    Ok(())
}

/// Close an end of the pipe, even if a watcher uses it.
fn close_end(state: State<'_>) -> Result<()> {
    let end = state.integer(1).unwrap_or_default() as usize;
    PIPE.with_borrow_mut(|pipe| pipe.iter_mut().for_each(|pipe| pipe.close_end(end & 1)));
    Ok(())
}

/// Raise signal number argument 1, if its default action is to ignore it.
fn signal(state: State<'_>) -> Result<()> {
    let signum = state.integer(1).unwrap_or_default() as i32;
    if SIGNALS[..4].contains(&signum) {
        // SAFETY: raise has no preconditions.
        unsafe { libc::raise(signum) };
    }
    Ok(())
}

/// Print argument 1 and abort, so that libFuzzer reports the input.
fn abort_with(state: State<'_>) -> Result<()> {
    assert_eq!(state.kind(1), Kind::String);
    let text = String::from_utf8_lossy(state.bytes(1).unwrap_or_default());
    eprintln!("{text}");
    std::process::abort();
}
