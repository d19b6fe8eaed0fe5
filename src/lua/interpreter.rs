//! A Lua of our own: what the `flux-lua` command and the tests run scripts in.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::ptr::NonNull;

use super::library;
use super::traceback::traceback;
use super::{Kind, Raised, State, compat, lua_CFunction, lua_State, sys};

/// A Lua state that this value owns, with the standard libraries open.
pub struct Interpreter {
    raw: NonNull<lua_State>,
}

impl Interpreter {
    /// None when there is not even the memory for an empty state.
    pub fn new() -> Option<Interpreter> {
        if let Err(refusal) = library::bind_to_program() {
            refusal.print();
            std::process::abort()
        }
        // SAFETY: luaL_newstate has no preconditions; null means no memory.
        let host = Interpreter {
            raw: NonNull::new(unsafe { sys::luaL_newstate() })?,
        };
        host.state()
            .protect(0, |writer| {
                // SAFETY: the state is live and the frame owns nothing.
                unsafe {
                    #[cfg(not(feature = "lua55"))]
                    sys::luaL_openlibs(writer.raw());
                    #[cfg(feature = "lua55")]
                    sys::luaL_openselectedlibs(writer.raw(), !0, 0);
                }
                0
            })
            .ok()?;
        Some(host)
    }

    pub fn state(&self) -> State<'_> {
        // SAFETY: the state lives as long as `self`, on the thread that owns it.
        unsafe { State::new(self.raw.as_ptr()) }
    }

    /// Make `require(name)` call `open`.
    pub fn preload(&self, name: &CStr, open: lua_CFunction) -> Result<(), String> {
        let done = self.state().protect(0, |writer| {
            writer.global(c"package");
            writer.field(-1, c"preload");
            writer.function(open);
            writer.set_field(-2, name);
            0
        });
        done.map(|_| ()).map_err(|_| self.take_message())
    }

    /// Set the global `arg`: the command at 0, its arguments from 1.
    pub fn set_arguments(&self, argv: &[Vec<u8>]) -> Result<(), String> {
        let done = self.state().protect(0, |writer| {
            writer.table(argv.len(), 1);
            for (position, argument) in argv.iter().enumerate() {
                writer.bytes(argument);
                writer.raw_set_index(-2, position as c_int);
            }
            // SAFETY: a table is on top, and the frame owns nothing.
            unsafe { compat::setglobal(writer.raw(), c"arg".as_ptr()) };
            0
        });
        done.map(|_| ()).map_err(|_| self.take_message())
    }

    /// Load a chunk and push its function, or say what is wrong with it.
    pub fn load(&self, chunk: &[u8], name: &str) -> Result<(), String> {
        let name = CString::new(name).map_err(|_| "a chunk's name holds a NUL".to_owned())?;
        // SAFETY: the buffer and the name outlive the call, which does not raise.
        let status = unsafe { compat::loadbuffer(self.raw.as_ptr(), chunk, name.as_ptr()) };
        match status {
            0 => Ok(()),
            _ => Err(self.take_message()),
        }
    }

    /// Call the function below the topmost `args` values; its results stay on
    /// the stack. An error comes with a traceback.
    pub fn call(&self, args: c_int) -> Result<c_int, String> {
        let state = self.state();
        let function = state.top() - args;
        state
            .protect(0, |writer| {
                writer.function(Some(traceback));
                1
            })
            .map_err(|_| self.take_message())?;
        // SAFETY: the handler goes below the function, which is on the stack.
        unsafe { compat::insert(self.raw.as_ptr(), function) };
        // SAFETY: a handler, a function and its arguments are on the stack.
        let status = unsafe { compat::pcall(self.raw.as_ptr(), args, compat::MULTRET, function) };
        // SAFETY: the handler is there still.
        unsafe { compat::remove(self.raw.as_ptr(), function) };
        match status {
            0 => Ok(state.top() - function + 1),
            _ => Err(self.take_message()),
        }
    }

    /// The value on top as `tostring` has it.
    pub fn display(&self, index: c_int) -> String {
        let state = self.state();
        state.push_value(index);
        let shown = state.protect(1, |writer| {
            writer.global(c"tostring");
            writer.state().push_value(1);
            match writer.state().call(1, 1) {
                Ok(()) => 1,
                Err(Raised) => writer.raise(),
            }
        });
        let text = state
            .bytes(-1)
            .map(|text| String::from_utf8_lossy(text).into_owned());
        state.pop(1);
        match shown {
            Ok(_) => text.unwrap_or_default(),
            Err(_) => "?".to_owned(),
        }
    }

    fn take_message(&self) -> String {
        let state = self.state();
        if state.kind(-1) == Kind::String {
            let message = state
                .bytes(-1)
                .map(|text| String::from_utf8_lossy(text).into_owned());
            state.pop(1);
            return message.unwrap_or_default();
        }
        let message = self.display(-1);
        state.pop(1);
        message
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // SAFETY: ours, and closed once.
        unsafe { sys::lua_close(self.raw.as_ptr()) }
    }
}
