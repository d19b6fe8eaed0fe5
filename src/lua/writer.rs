//! The half of Lua's API that may raise: the functions that allocate or run
//! metamethods. Only a frame that owns nothing may use it; the head of `lua`
//! says why.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};

use super::{Kind, RegistryKey, State, compat, lua_CFunction, lua_State, sys};

/// A `lua_State` in a frame that a Lua error may jump over. Each method may
/// raise unless its comment says otherwise. Code that uses a `Writer` owns
/// nothing that has a destructor.
pub struct Writer<'a> {
    raw: *mut lua_State,
    call: PhantomData<&'a lua_State>,
}

/// SAFETY comments below that say "by the rules of the stack" rely on those rules,
/// which are part of the contract of [`Writer::new`], on the state being live, and
/// on the frames owning nothing.
impl<'a> Writer<'a> {
    /// Wraps a state for code that may raise.
    ///
    /// # Safety
    /// `raw` is a live state of the Lua that the module is bound to, and this
    /// thread may use it for all of `'a`. No frame from here up to the
    /// innermost protected call owns anything, and neither does the code that
    /// gets the value. That code keeps the rules of the stack (see the head of
    /// [`lua`](super)).
    pub unsafe fn new(raw: *mut lua_State) -> Writer<'a> {
        Writer {
            raw,
            call: PhantomData,
        }
    }

    /// The pointer that Lua's API takes.
    pub fn raw(&self) -> *mut lua_State {
        self.raw
    }

    /// The state, for the functions that cannot raise.
    pub fn state(&self) -> State<'a> {
        // SAFETY: the state is live for `'a`, and the rules of the stack are
        // kept, by the contract of `new`.
        unsafe { State::new(self.raw) }
    }

    /// Makes sure that there are `n` free slots.
    #[inline]
    pub fn reserve(&self, n: c_int) {
        // luaL_checkstack is not used. If Lua 5.5 lacks memory for the error
        // text, its luaL_checkstack returns as if the stack had grown.
        if let Err(error) = self.state().reserve(n) {
            self.bytes(error.text().as_bytes());
            self.raise();
        }
    }

    /// Pushes nil. Does not raise.
    pub fn nil(&self) {
        self.state().push_nil();
    }

    /// Pushes a boolean. Does not raise.
    pub fn boolean(&self, value: bool) {
        self.state().push_boolean(value);
    }

    /// Pushes an integer. A Lua without integers gets the nearest number. Does
    /// not raise.
    pub fn integer(&self, value: i64) {
        self.state().push_integer(value);
    }

    /// Pushes a number. Does not raise.
    pub fn number(&self, value: f64) {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_pushnumber(self.raw, value) }
    }

    /// Pushes a string.
    #[inline]
    pub fn bytes(&self, value: &[u8]) {
        // SAFETY: by the rules of the stack. Lua copies the bytes.
        unsafe {
            sys::lua_pushlstring(self.raw, value.as_ptr().cast(), value.len());
        }
    }

    /// Replaces the number at `index` by its text. Leaves other values as they
    /// are.
    pub fn number_to_string(&self, index: c_int) {
        // SAFETY: by the rules of the stack.
        unsafe {
            sys::lua_tolstring(self.raw, index, std::ptr::null_mut());
        }
    }

    /// Pushes formatted text, cut at 400 bytes. It is formatted on the C stack,
    /// so that nothing is owned when the string is made.
    pub fn text(&self, text: fmt::Arguments<'_>) {
        self.bytes(Line::new(text).as_bytes());
    }

    /// Pushes a light userdata. Does not raise.
    pub fn light_userdata(&self, value: *const c_void) {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_pushlightuserdata(self.raw, value.cast_mut()) }
    }

    /// Pushes a function.
    ///
    /// # Safety
    /// The function is not null, and Lua may call it with any arguments: it is
    /// an entry point (see [`mod@super::entry`]) or keeps to the same rules.
    pub unsafe fn function(&self, function: lua_CFunction) {
        // SAFETY: by the rules of the stack and the contract.
        unsafe { compat::pushcfunction(self.raw, function) }
    }

    /// Pops `upvalues` values, and pushes a function with these upvalues.
    ///
    /// # Safety
    /// As for [`Writer::function`].
    pub unsafe fn closure(&self, function: lua_CFunction, upvalues: c_int) {
        // SAFETY: by the rules of the stack and the contract.
        unsafe { sys::lua_pushcclosure(self.raw, function, upvalues) }
    }

    /// Pushes a new table, with memory for `items` items and `fields` named
    /// fields.
    pub fn table(&self, items: usize, fields: usize) {
        let size = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_createtable(self.raw, size(items), size(fields)) }
    }

    /// Pushes a new table that does not keep its values alive.
    pub fn weak_values(&self) {
        self.table(0, 0);
        self.table(0, 1);
        self.bytes(b"v");
        self.set_field(-2, c"__mode");
        self.set_metatable(-2);
    }

    /// Pushes a full userdata of `size` bytes, and returns the address of its
    /// block, which is valid while the userdata is alive.
    pub fn userdata(&self, size: usize) -> *mut c_void {
        // SAFETY: by the rules of the stack.
        unsafe { compat::newuserdata(self.raw, size) }
    }

    /// Pushes a new thread. Lua frees it when nothing refers to it.
    pub fn thread(&self) -> *mut lua_State {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_newthread(self.raw) }
    }

    /// Pops a value, and sets `table[name]` to it.
    pub fn set_field(&self, table: c_int, name: &CStr) {
        // SAFETY: by the rules of the stack. Lua raises if the value is not a
        // table.
        unsafe { sys::lua_setfield(self.raw, table, name.as_ptr()) }
    }

    /// Pops a value, and sets `table[n]` to it without metamethods.
    pub fn raw_set_index(&self, table: c_int, n: c_int) {
        self.check_table(table);
        // SAFETY: a table is at `table`.
        unsafe { self.raw_set_index_unchecked(table, n) }
    }

    /// The same without a check that there is a table.
    ///
    /// # Safety
    /// A table is at `table`.
    #[inline]
    pub unsafe fn raw_set_index_unchecked(&self, table: c_int, n: c_int) {
        // SAFETY: by the rules of the stack and the contract.
        unsafe { compat::rawseti(self.raw, table, n) }
    }

    /// Pops a value and a key below it, and sets `table[key]` to the value
    /// without metamethods.
    pub fn raw_set(&self, table: c_int) {
        self.check_table(table);
        // SAFETY: a table is at `table`.
        unsafe { self.raw_set_unchecked(table) }
    }

    /// The same without a check that there is a table.
    ///
    /// # Safety
    /// A table is at `table`.
    #[inline]
    pub unsafe fn raw_set_unchecked(&self, table: c_int) {
        // SAFETY: by the rules of the stack and the contract.
        unsafe { sys::lua_rawset(self.raw, table) }
    }

    /// Raises an error if the value is not a table. The debug library can
    /// replace the module's tables by other values.
    #[inline]
    fn check_table(&self, index: c_int) {
        if self.state().kind(index) != Kind::Table {
            self.bytes(b"a table of the flux module is missing");
            self.raise();
        }
    }

    /// Pops a value, and keeps it in the registry under `key`.
    pub fn set_registry(&self, key: &'static RegistryKey) {
        // SAFETY: by the rules of the stack. The registry is a table.
        unsafe { compat::rawsetp(self.raw, compat::REGISTRYINDEX, key.address()) }
    }

    /// Pops a table, and makes it the metatable of the value at `index`. A
    /// value that is not a table is only popped. Does not raise.
    pub fn set_metatable(&self, index: c_int) {
        match self.state().kind(-1) {
            // SAFETY: a table is on top.
            Kind::Table => unsafe { self.set_metatable_unchecked(index) },
            _ => self.state().pop(1),
        }
    }

    /// The same without a check of the value on top.
    ///
    /// # Safety
    /// A table or nil is on top.
    #[inline]
    pub unsafe fn set_metatable_unchecked(&self, index: c_int) {
        // SAFETY: by the rules of the stack and the contract.
        unsafe {
            sys::lua_setmetatable(self.raw, index);
        }
    }

    /// Pushes `table[name]`.
    pub fn field(&self, table: c_int, name: &CStr) {
        // SAFETY: by the rules of the stack. Lua raises if the value cannot be
        // indexed.
        unsafe {
            sys::lua_getfield(self.raw, table, name.as_ptr());
        }
    }

    /// Pushes a global variable.
    pub fn global(&self, name: &CStr) {
        // SAFETY: by the rules of the stack.
        unsafe { compat::pushglobal(self.raw, name.as_ptr()) }
    }

    /// Calls the function below the topmost `args` values, unprotected. Its
    /// first result replaces function and arguments.
    pub fn call(&self, args: c_int) {
        // SAFETY: by the rules of the stack. Any value may be in the function's
        // place.
        unsafe { compat::call(self.raw, args, 1) }
    }

    /// Raises the value on top.
    pub fn raise(&self) -> ! {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_error(self.raw) };
        unreachable!("lua_error does not return")
    }
}

/// Formatted text on the C stack, cut at 400 bytes.
pub struct Line {
    bytes: [u8; 400],
    len: usize,
}

impl Line {
    /// Formats the text.
    pub fn new(text: fmt::Arguments<'_>) -> Line {
        let mut line = Line {
            bytes: [0; 400],
            len: 0,
        };
        // The only error is that the buffer is full.
        let _ = line.write_fmt(text);
        line
    }

    /// The text, in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.len() - self.len;
        let mut fits = text.len().min(free);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
