//! The half of Lua's API that may raise: what allocates, and what runs
//! metamethods. For frames that own nothing (see the module's head).

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};

use super::{RegistryKey, State, compat, lua_CFunction, lua_State, sys};

/// A `lua_State` in a frame that a Lua error may jump over. Any method may
/// raise unless it says otherwise; whoever holds a `Writer` owns nothing that
/// has a destructor.
pub struct Writer<'a> {
    raw: *mut lua_State,
    call: PhantomData<&'a lua_State>,
}

impl<'a> Writer<'a> {
    /// # Safety
    /// `raw` is a live Lua state that this thread may use for all of `'a`, and
    /// every frame from here to the protected call above owns nothing.
    pub unsafe fn new(raw: *mut lua_State) -> Writer<'a> {
        Writer {
            raw,
            call: PhantomData,
        }
    }

    pub fn raw(&self) -> *mut lua_State {
        self.raw
    }

    /// What cannot raise.
    pub fn state(&self) -> State<'a> {
        // SAFETY: the state is live for `'a` (`new`).
        unsafe { State::new(self.raw) }
    }

    /// Scratch for `n` more values; raises the lack of it.
    #[inline]
    pub fn reserve(&self, n: c_int) {
        // Not luaL_checkstack: without memory for its words, Lua 5.5's goes on
        // as if it had them.
        if let Err(lack) = self.state().reserve(n) {
            self.bytes(lack.text().as_bytes());
            self.raise();
        }
    }

    /// Does not raise.
    pub fn nil(&self) {
        self.state().push_nil();
    }

    /// Does not raise.
    pub fn boolean(&self, value: bool) {
        self.state().push_boolean(value);
    }

    /// Does not raise.
    pub fn integer(&self, value: i64) {
        self.state().push_integer(value);
    }

    /// Does not raise.
    pub fn number(&self, value: f64) {
        // SAFETY: as said, and so throughout.
        unsafe { sys::lua_pushnumber(self.raw, value) }
    }

    #[inline]
    pub fn bytes(&self, value: &[u8]) {
        unsafe {
            sys::lua_pushlstring(self.raw, value.as_ptr().cast(), value.len());
        }
    }

    /// Convert the number at `index` to its text, in place.
    pub fn number_to_string(&self, index: c_int) {
        unsafe {
            sys::lua_tolstring(self.raw, index, std::ptr::null_mut());
        }
    }

    /// Push formatted text, cut at 400 bytes: it is written on the C stack, so
    /// that nothing is owned when the string is made.
    pub fn text(&self, text: fmt::Arguments<'_>) {
        self.bytes(Line::new(text).as_bytes());
    }

    pub fn light_userdata(&self, value: *const c_void) {
        unsafe { sys::lua_pushlightuserdata(self.raw, value.cast_mut()) }
    }

    pub fn function(&self, function: lua_CFunction) {
        unsafe { compat::pushcfunction(self.raw, function) }
    }

    /// Push a closure over the topmost `upvalues` values, which it takes.
    pub fn closure(&self, function: lua_CFunction, upvalues: c_int) {
        unsafe { sys::lua_pushcclosure(self.raw, function, upvalues) }
    }

    /// Push a new table with room for so many array items and named fields.
    pub fn table(&self, items: usize, fields: usize) {
        let size = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
        unsafe { sys::lua_createtable(self.raw, size(items), size(fields)) }
    }

    /// Push a new table that does not keep its values alive.
    pub fn weak_values(&self) {
        self.table(0, 0);
        self.table(0, 1);
        self.bytes(b"v");
        self.set_field(-2, c"__mode");
        self.set_metatable(-2);
    }

    /// Push a block of userdata and return its address.
    pub fn userdata(&self, size: usize) -> *mut c_void {
        unsafe { compat::newuserdata(self.raw, size) }
    }

    /// Push a new thread, which lives as long as a slot holds it.
    pub fn thread(&self) -> *mut lua_State {
        unsafe { sys::lua_newthread(self.raw) }
    }

    /// `table[name] = value`, the value on top, which goes.
    pub fn set_field(&self, table: c_int, name: &CStr) {
        unsafe { sys::lua_setfield(self.raw, table, name.as_ptr()) }
    }

    /// `table[n] = value` without metamethods, the value on top, which goes.
    pub fn raw_set_index(&self, table: c_int, n: c_int) {
        unsafe { compat::rawseti(self.raw, table, n) }
    }

    /// `table[key] = value` without metamethods, both on top, which go.
    pub fn raw_set(&self, table: c_int) {
        unsafe { sys::lua_rawset(self.raw, table) }
    }

    /// Keep the value on top in the registry under `key`; it goes.
    pub fn set_registry(&self, key: &'static RegistryKey) {
        unsafe { compat::rawsetp(self.raw, compat::REGISTRYINDEX, key.address()) }
    }

    /// Give the value at `index` the metatable on top, which goes. Does not raise.
    pub fn set_metatable(&self, index: c_int) {
        unsafe {
            sys::lua_setmetatable(self.raw, index);
        }
    }

    /// Push `table[name]`.
    pub fn field(&self, table: c_int, name: &CStr) {
        unsafe {
            sys::lua_getfield(self.raw, table, name.as_ptr());
        }
    }

    pub fn global(&self, name: &CStr) {
        unsafe { compat::pushglobal(self.raw, name.as_ptr()) }
    }

    /// Call the function below the topmost `args` values, unprotected: its one
    /// result takes their place.
    pub fn call(&self, args: c_int) {
        unsafe { compat::call(self.raw, args, 1) }
    }

    /// Raise the value on top.
    pub fn raise(&self) -> ! {
        // SAFETY: the frame may be jumped over.
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
    pub fn new(text: fmt::Arguments<'_>) -> Line {
        let mut line = Line {
            bytes: [0; 400],
            len: 0,
        };
        // The only error is that the line is full.
        let _ = line.write_fmt(text);
        line
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.len;
        let mut fits = text.len().min(room);
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
