//! A Lua state that uses the test's own allocator. Scripts can require the
//! modules, and use files and signals through functions in the table `host`.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

use flux::lua::{self, Error, Kind, State, lua_CFunction, lua_State};

use super::allocator::{Allocator, allocate};

type Alloc = unsafe extern "C" fn(*mut c_void, *mut c_void, usize, usize) -> *mut c_void;

unsafe extern "C-unwind" {
    #[cfg(not(feature = "lua55"))]
    fn lua_newstate(alloc: Alloc, data: *mut c_void) -> *mut lua_State;
    #[cfg(feature = "lua55")]
    fn lua_newstate(alloc: Alloc, data: *mut c_void, seed: u32) -> *mut lua_State;
    fn lua_close(state: *mut lua_State);
    #[cfg(not(feature = "lua55"))]
    fn luaL_openlibs(state: *mut lua_State);
    #[cfg(feature = "lua55")]
    fn luaL_openselectedlibs(state: *mut lua_State, load: c_int, preload: c_int);
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn luaL_loadbuffer(
        state: *mut lua_State,
        text: *const c_char,
        len: usize,
        name: *const c_char,
    ) -> c_int;
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    fn luaL_loadbufferx(
        state: *mut lua_State,
        text: *const c_char,
        len: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
}

/// A Lua state and its memory. The crate's own `Interpreter` does not serve
/// here: it makes objects whose allocation this test must see fail.
pub struct Machine {
    raw: NonNull<lua_State>,
    allocator: NonNull<Allocator>,
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Lua's memory error.
    OutOfMemory,
    /// Anything else: another error, or a result that is not true.
    Other(String),
}

impl Machine {
    pub fn new() -> Machine {
        lua::bind_to_program().unwrap_or_else(|refusal| panic!("{refusal}"));
        let allocator = NonNull::from(Box::leak(Box::<Allocator>::default()));
        // SAFETY: the allocator outlives the state: `end` frees it after the state.
        let raw = unsafe {
            #[cfg(not(feature = "lua55"))]
            let raw = lua_newstate(allocate, allocator.as_ptr().cast());
            #[cfg(feature = "lua55")]
            let raw = lua_newstate(allocate, allocator.as_ptr().cast(), 1);
            raw
        };
        let raw = NonNull::new(raw).expect("memory for a Lua state");
        let machine = Machine { raw, allocator };
        // SAFETY: the state is live, and no allocation is refused yet.
        unsafe {
            #[cfg(not(feature = "lua55"))]
            luaL_openlibs(raw.as_ptr());
            #[cfg(feature = "lua55")]
            luaL_openselectedlibs(raw.as_ptr(), !0, 0);
        }
        machine.prepare(HOST);
        machine
    }

    pub fn state(&self) -> State<'_> {
        // SAFETY: the state lives as long as `self`, on this one thread.
        unsafe { State::new(self.raw.as_ptr()) }
    }

    /// Changes or reads the allocator's state, while no Lua code runs.
    pub fn allocator<T>(&self, work: impl FnOnce(&mut Allocator) -> T) -> T {
        // SAFETY: only Lua uses the allocator, and it does not run now.
        work(unsafe { &mut *self.allocator.as_ptr() })
    }

    /// Compiles a chunk and pushes its function.
    pub fn load(&self, chunk: &str, name: &CStr) {
        let (text, len) = (chunk.as_ptr().cast(), chunk.len());
        // SAFETY: the text and the name outlive the call, which does not raise.
        let status = unsafe {
            #[cfg(any(feature = "lua51", feature = "luajit"))]
            let status = luaL_loadbuffer(self.raw.as_ptr(), text, len, name.as_ptr());
            #[cfg(not(any(feature = "lua51", feature = "luajit")))]
            let status =
                luaL_loadbufferx(self.raw.as_ptr(), text, len, name.as_ptr(), c"t".as_ptr());
            status
        };
        assert_eq!(status, 0, "{}", self.text(-1));
    }

    /// Runs a chunk that prepares the state. No allocation may be refused.
    fn prepare(&self, chunk: &str) {
        self.load(chunk, c"=host");
        for function in [open_flux, open_kvs, write, kill, note, list] {
            // SAFETY: the state is live, its stack has room, and no allocation
            // is refused.
            unsafe { push_function(self.raw.as_ptr(), function) };
        }
        let world = World::get();
        for fd in [world.pipe[0], world.pipe[1], world.null.as_raw_fd()] {
            self.state().push_integer(fd.into());
        }
        self.load(&format!("return {:?}", world.path), c"=path");
        assert_eq!(self.call(10), End::Done);
    }

    /// Calls the function below the topmost `args` values. It must return true.
    pub fn call(&self, args: c_int) -> End {
        let state = self.state();
        let top = state.top() - args - 1;
        let called = state.call(args, 1);
        let end = match called {
            Ok(()) if state.boolean(-1) => End::Done,
            Ok(()) => End::Other(format!("a result that is not true: {}", self.text(-1))),
            Err(_) if state.bytes(-1) == Some(b"not enough memory") => End::OutOfMemory,
            Err(_) => End::Other(self.text(-1)),
        };
        state.set_top(top);
        end
    }

    fn text(&self, index: c_int) -> String {
        match self.state().bytes(index) {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => format!("a {}", self.state().kind(index).name()),
        }
    }

    /// Closes the state and returns its allocator.
    pub fn close(self) -> Allocator {
        let machine = ManuallyDrop::new(self);
        // SAFETY: `machine` is not dropped, and not used again.
        unsafe { machine.end() }
    }

    /// # Safety
    /// The value is not used afterwards.
    unsafe fn end(&self) -> Allocator {
        // SAFETY: the state is live and closed only here. `new` leaked the allocator,
        // and only the state referred to it.
        unsafe {
            lua_close(self.raw.as_ptr());
            *Box::from_raw(self.allocator.as_ptr())
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: a dropped value is not used again.
        unsafe { self.end() };
    }
}

/// Registers the modules for `require`, and makes the global `host`.
const HOST: &str = "
    local flux, kvs, write, kill, note, list, reader, writer, null, path = ...
    package.preload.flux, package.preload.kvs = flux, kvs
    host = {
      write = write, kill = kill, note = note, list = list,
      reader = reader, writer = writer, null = null, path = path(),
    }
    return true";

/// The files that all states share.
struct World {
    /// A pipe whose ends are both non-blocking.
    pipe: [RawFd; 2],
    null: std::fs::File,
    /// The path of a file that scripts may make.
    path: String,
}

impl World {
    fn get() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            let mut pipe = [0; 2];
            // SAFETY: the array has room for two descriptors.
            let status =
                unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
            assert_eq!(status, 0, "a pipe");
            let path = format!(
                "{}/sweep-{}",
                env!("CARGO_TARGET_TMPDIR"),
                std::process::id()
            );
            let null = std::fs::File::open("/dev/null").expect("/dev/null");
            World { pipe, null, path }
        })
    }
}

/// Empties the pipe and removes the file that a script may have made.
pub fn tidy() {
    let world = World::get();
    let mut bytes = [0u8; 4096];
    // SAFETY: the descriptor is open, and the buffer has that length.
    while unsafe { libc::read(world.pipe[0], bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
    let _ = std::fs::remove_file(&world.path);
}

/// The names of the functions that coverage.lua found, and of those that scripts
/// called.
pub static LISTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
pub static CALLED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// `host.write(text)` writes into the pipe.
fn write_pipe(state: State<'_>) -> lua::Result<()> {
    let text = text_of(state)?;
    // SAFETY: the descriptor is open, and the text has that length.
    unsafe { libc::write(World::get().pipe[1], text.as_ptr().cast(), text.len()) };
    Ok(())
}

/// `host.kill(signum)` sends this process a signal.
fn kill_self(state: State<'_>) -> lua::Result<()> {
    let signum = state.integer(1).unwrap_or_default() as c_int;
    // SAFETY: raising a signal has no preconditions.
    unsafe { libc::raise(signum) };
    Ok(())
}

/// `host.note(name)` records that a function was called.
fn note_call(state: State<'_>) -> lua::Result<()> {
    let name = String::from_utf8_lossy(text_of(state)?).into_owned();
    CALLED.lock().expect("no thread has panicked").insert(name);
    Ok(())
}

/// `host.list(name)` records that a function exists.
fn list_name(state: State<'_>) -> lua::Result<()> {
    let name = String::from_utf8_lossy(text_of(state)?).into_owned();
    LISTED.lock().expect("no thread has panicked").insert(name);
    Ok(())
}

fn text_of<'a>(state: State<'a>) -> lua::Result<&'a [u8]> {
    match state.kind(1) {
        Kind::String => Ok(state.bytes(1).unwrap_or_default()),
        _ => Err(Error::expected(state, 1, "string")),
    }
}

flux::lua_functions! {
    write => write_pipe;
    kill => kill_self;
    note => note_call;
    list => list_name;
}

unsafe extern "C-unwind" fn open_flux(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state.
    unsafe { flux::luaopen_flux(state) }
}

unsafe extern "C-unwind" fn open_kvs(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state.
    unsafe { flux::luaopen_kvs(state) }
}

type Function = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;

/// # Safety
/// The state is live, and no allocation is refused.
unsafe fn push_function(raw: *mut lua_State, function: Function) {
    let function: lua_CFunction = Some(function);
    // SAFETY: by the contract.
    unsafe { lua::Writer::new(raw).function(function) };
}
