//! Sequences of API calls in a Lua of their own, which calls.lua makes of the
//! input: no crash, no panic, no hang; and once that Lua is closed, nothing is
//! left of it.

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
    // An instance that were still there would have another size.
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
            writer.function(Some(open));
            writer.state().call(0, 1).expect("the module opens");
        }
        push_native(writer);
        writer.bytes(data);
        4
    });
    pushed.expect("no Lua error");
    lua.call(4).expect("the script catches what it calls");
}

/// The script in this Lua's own form, which is sooner loaded.
fn compile() -> Vec<u8> {
    let lua = Interpreter::new().expect("a Lua state");
    lua.load(b"return string.dump(...)", "=dump")
        .expect("it compiles");
    lua.load(SCRIPT, "=calls").expect("the script compiles");
    lua.call(1).expect("a function is dumped");
    lua.state().bytes(-1).expect("a string").to_vec()
}

/// What belongs to the process, and is to be as it was.
#[derive(Debug, PartialEq)]
struct Process {
    /// The lowest descriptor that is free.
    free_descriptor: RawFd,
    /// What is done about each signal that the script may handle.
    actions: [libc::sighandler_t; SIGNALS.len()],
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
        // SAFETY: a descriptor is made and closed.
        let free_descriptor = unsafe {
            let copy = libc::dup(2);
            libc::close(copy);
            copy
        };
        let actions = SIGNALS.map(|signum| {
            // SAFETY: of a sigaction, all zeros is one.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: only asks.
            unsafe { libc::sigaction(signum, std::ptr::null(), &mut action) };
            action.sa_sigaction
        });
        Process {
            free_descriptor,
            actions,
        }
    }
}

thread_local! {
    /// The script's pipe: its ends, as far as they are open.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
    static IS_ALONE: Cell<Option<bool>> = const { Cell::new(None) };
}

struct Pipe([RawFd; 2]);

impl Pipe {
    fn new() -> Pipe {
        let mut ends = [-1; 2];
        // SAFETY: there is room for two descriptors.
        let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
        assert_eq!(made, 0);
        Pipe(ends)
    }

    fn shut(&mut self, end: usize) {
        let end = std::mem::replace(&mut self.0[end], -1);
        if end >= 0 {
            // SAFETY: it is ours, and closed once.
            unsafe { libc::close(end) };
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shut(0);
        self.shut(1);
    }
}

/// libFuzzer has a second thread where it limits memory: then a wait that
/// nobody ends is no EDEADLK.
fn is_alone() -> bool {
    let count = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let known = IS_ALONE.get().unwrap_or_else(|| count() == 1);
    IS_ALONE.set(Some(known));
    known
}

fn push_native(writer: &Writer<'_>) {
    writer.table(0, 8);
    writer.boolean(is_alone());
    writer.set_field(-2, c"is_alone");
    for (name, function) in [
        (c"reader", lua_reader as _),
        (c"writer", lua_writer as _),
        (c"feed", lua_feed as _),
        (c"shut", lua_shut as _),
        (c"signal", lua_signal as _),
        (c"fail", lua_fail as _),
    ] {
        writer.function(Some(function));
        writer.set_field(-2, name);
    }
}

lua_functions! {
    lua_reader => reader;
    lua_writer => writer;
    lua_feed => feed;
    lua_shut => shut;
    lua_signal => signal;
    lua_fail => fail;
}

fn end(which: usize) -> Result<Integer> {
    let end = PIPE.with_borrow_mut(|pipe| pipe.get_or_insert_with(Pipe::new).0[which]);
    Ok(Integer(end.into()))
}

fn reader(_: State<'_>) -> Result<Integer> {
    end(0)
}

fn writer(_: State<'_>) -> Result<Integer> {
    end(1)
}

/// Write a text to the pipe.
fn feed(state: State<'_>) -> Result<()> {
    let text = state.bytes(1).unwrap_or_default();
    let writer = PIPE.with_borrow(|pipe| pipe.as_ref().map_or(-1, |pipe| pipe.0[1]));
    let reader = PIPE.with_borrow(|pipe| pipe.as_ref().map_or(-1, |pipe| pipe.0[0]));
    if writer >= 0 && reader >= 0 {
        // SAFETY: the text is readable; a full pipe takes none of it.
        unsafe { libc::write(writer, text.as_ptr().cast(), text.len()) };
    }
    Ok(())
}

/// Close an end of the pipe, whoever watches it.
fn shut(state: State<'_>) -> Result<()> {
    let end = state.integer(1).unwrap_or_default() as usize;
    PIPE.with_borrow_mut(|pipe| pipe.iter_mut().for_each(|pipe| pipe.shut(end & 1)));
    Ok(())
}

/// Have a signal that does no harm where nobody handles it.
fn signal(state: State<'_>) -> Result<()> {
    let signum = state.integer(1).unwrap_or_default() as i32;
    if SIGNALS[..4].contains(&signum) {
        // SAFETY: raise has no preconditions.
        unsafe { libc::raise(signum) };
    }
    Ok(())
}

fn fail(state: State<'_>) -> Result<()> {
    assert_eq!(state.kind(1), Kind::String);
    let text = String::from_utf8_lossy(state.bytes(1).unwrap_or_default());
    eprintln!("{text}");
    std::process::abort();
}
