//! A Lua interpreter that is compiled into a program: the `flux-lua` command and
//! the tests run scripts in it. Command line and scripts are left to them.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::ptr::NonNull;

use super::library;
use super::traceback::traceback;
use super::{Kind, Raised, State, compat, lua_CFunction, lua_State, sys};

/// Owns a Lua state, with the standard libraries open.
pub struct Interpreter {
    raw: NonNull<lua_State>,
}

impl Interpreter {
    /// Makes a Lua state. None if memory is lacking. Ends the process if the
    /// program contains no Lua of the right version.
    pub fn new() -> Option<Interpreter> {
        if let Err(error) = library::bind_to_program() {
            error.print();
            std::process::abort()
        }
        // SAFETY: the module is bound, and luaL_newstate has no other
        // precondition.
        let raw = unsafe { sys::luaL_newstate() };
        let interpreter = Interpreter {
            raw: NonNull::new(raw)?,
        };
        interpreter
            .state()
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
        Some(interpreter)
    }

    /// The Lua state.
    pub fn state(&self) -> State<'_> {
        // SAFETY: the state lives as long as `self`, which stays on one thread.
        // Callers keep the rules of the stack.
        unsafe { State::new(self.raw.as_ptr()) }
    }

    /// Makes `require(name)` call `open`.
    ///
    /// # Safety
    /// As for [`Writer::function`](super::Writer::function).
    pub unsafe fn preload(&self, name: &CStr, open: lua_CFunction) -> Result<(), String> {
        let done = self.state().protect(0, |writer| {
            writer.global(c"package");
            writer.field(-1, c"preload");
            // SAFETY: by the contract.
            unsafe { writer.function(open) };
            writer.set_field(-2, name);
            0
        });
        done.map(|_| ()).map_err(|_| self.take_message())
    }

    /// Sets the global `arg`: the command at index 0, its arguments from 1.
    pub fn set_arguments(&self, argv: &[Vec<u8>]) -> Result<(), String> {
        let done = self.state().protect(0, |writer| {
            writer.table(argv.len(), 1);
            for (position, argument) in argv.iter().enumerate() {
                writer.bytes(argument);
                writer.raw_set_index(-2, position as c_int);
            }
            // SAFETY: a value is on top, and the frame owns nothing.
            unsafe { compat::setglobal(writer.raw(), c"arg".as_ptr()) };
            0
        });
        done.map(|_| ()).map_err(|_| self.take_message())
    }

    /// Pushes the function of a chunk. The error is the compiler's text.
    pub fn load(&self, chunk: &[u8], name: &str) -> Result<(), String> {
        let name = CString::new(name).map_err(|_| "a chunk's name contains a NUL".to_owned())?;
        // SAFETY: chunk and name outlive the call, which does not raise.
        let status = unsafe { compat::loadbuffer(self.raw.as_ptr(), chunk, name.as_ptr()) };
        match status {
            0 => Ok(()),
            _ => Err(self.take_message()),
        }
    }

    /// Calls the function below the topmost `args` values. Its results replace
    /// them, and their number is returned. The error's text has a traceback.
    pub fn call(&self, args: c_int) -> Result<c_int, String> {
        let state = self.state();
        let function = state.top() - args;
        state
            .protect(0, |writer| {
                // SAFETY: this is a message handler for Lua to call.
                unsafe { writer.function(Some(traceback)) };
                1
            })
            .map_err(|_| self.take_message())?;
        // SAFETY: the message handler goes below the function, which is on the
        // stack.
        unsafe { compat::insert(self.raw.as_ptr(), function) };
        // SAFETY: handler, function and arguments are on the stack; pcall does not
        // raise.
        let status = unsafe { compat::pcall(self.raw.as_ptr(), args, compat::MULTRET, function) };
        // SAFETY: the handler is still there.
        unsafe { compat::remove(self.raw.as_ptr(), function) };
        match status {
            0 => Ok(state.top() - function + 1),
            _ => Err(self.take_message()),
        }
    }

    /// The text that `tostring` returns for the value at `index`.
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

    /// Pops an error value, and returns its text.
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
        // SAFETY: this value owns the state, and closes it once.
        unsafe { sys::lua_close(self.raw.as_ptr()) }
    }
}
