//! Hides the differences between Lua 5.1 to 5.5 and LuaJIT, so that all other
//! code is written against one Lua. Names and contracts are those of Lua 5.4.
//! `state` and `writer` wrap these functions in safe ones.

use std::os::raw::{c_char, c_int, c_void};

use super::StackError;
use super::sys::{self, lua_State};

/// Tag of an index that holds no value.
pub const TNONE: c_int = sys::LUA_TNONE;
/// Tag of nil.
pub const TNIL: c_int = sys::LUA_TNIL as c_int;
/// Tag of booleans.
pub const TBOOLEAN: c_int = sys::LUA_TBOOLEAN as c_int;
/// Tag of light userdata.
pub const TLIGHTUSERDATA: c_int = sys::LUA_TLIGHTUSERDATA as c_int;
/// Tag of numbers.
pub const TNUMBER: c_int = sys::LUA_TNUMBER as c_int;
/// Tag of strings.
pub const TSTRING: c_int = sys::LUA_TSTRING as c_int;
/// Tag of tables.
pub const TTABLE: c_int = sys::LUA_TTABLE as c_int;
/// Tag of functions.
pub const TFUNCTION: c_int = sys::LUA_TFUNCTION as c_int;
/// Tag of full userdata.
pub const TUSERDATA: c_int = sys::LUA_TUSERDATA as c_int;
/// Tag of threads.
pub const TTHREAD: c_int = sys::LUA_TTHREAD as c_int;

/// The number of results of a call that keeps them all.
pub const MULTRET: c_int = sys::LUA_MULTRET;

/// The Lua that the module is built for, for error texts and `flux.version`.
pub const NAME: &str = if cfg!(feature = "lua51") {
    "Lua 5.1"
} else if cfg!(feature = "lua52") {
    "Lua 5.2"
} else if cfg!(feature = "lua53") {
    "Lua 5.3"
} else if cfg!(feature = "lua54") {
    "Lua 5.4"
} else if cfg!(feature = "lua55") {
    "Lua 5.5"
} else {
    "LuaJIT"
};

/// The pseudo-index of the registry.
#[cfg(not(feature = "lua55"))]
pub const REGISTRYINDEX: c_int = sys::LUA_REGISTRYINDEX;
/// The pseudo-index of the registry. Lua 5.5 derives it from INT_MAX, which
/// bindgen does not evaluate.
#[cfg(feature = "lua55")]
pub const REGISTRYINDEX: c_int = -(c_int::MAX / 2 + 1000);

/// The pseudo-index of the running function's upvalue `i`, from 1.
#[cfg(any(feature = "lua51", feature = "luajit"))]
pub const fn upvalue_index(i: c_int) -> c_int {
    sys::LUA_GLOBALSINDEX - i
}
/// The pseudo-index of the running function's upvalue `i`, from 1.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
pub const fn upvalue_index(i: c_int) -> c_int {
    REGISTRYINDEX - i
}

/// Defines functions that replace Lua's functions of the same names. Each has
/// the contract of that function in Lua 5.4, and raises only if that function
/// does. A body that makes several calls keeps that contract too. It never has
/// more values on the stack than the function has results and parameters.
macro_rules! functions {
    ($(
        $(#[$meta:meta])*
        fn $name:ident($state:ident $(, $argument:ident: $type:ty)*) $(-> $result:ty)? $body:block
    )*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// As for Lua's function of this name.
        #[inline]
        pub unsafe fn $name($state: *mut lua_State $(, $argument: $type)*) $(-> $result)? {
            // SAFETY: the caller keeps the contract of Lua's function, which is
            // that of the calls in the body.
            unsafe { $body }
        }
    )*};
}

#[cfg(any(feature = "lua51", feature = "luajit"))]
mod versioned {
    use super::*;

    functions! {
        /// The length of a table, string or userdata, without metamethods. Converts
        /// a number to a string, and may raise then.
        fn rawlen(state, index: c_int) -> usize {
            sys::lua_objlen(state, index)
        }

        /// The number that a value is or converts to.
        fn tonumber(state, index: c_int) -> f64 {
            sys::lua_tonumber(state, index)
        }

        /// Replaces the key on top by the table's value, and returns its tag.
        fn rawget(state, index: c_int) -> c_int {
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }

        /// Pushes the table's item `n`, and returns its tag.
        fn rawgeti(state, index: c_int, n: i64) -> c_int {
            rawget_integer(state, index, n)
        }

        /// Pops a value into the table's item `n`.
        fn rawseti(state, index: c_int, n: c_int) {
            sys::lua_rawseti(state, index, n)
        }

        /// Pushes the table's value under a light userdata, and returns its tag.
        fn rawgetp(state, index: c_int, key: *const c_void) -> c_int {
            let index = absindex(state, index);
            sys::lua_pushlightuserdata(state, key.cast_mut());
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }

        /// Pops a value into the table under a light userdata.
        fn rawsetp(state, index: c_int, key: *const c_void) {
            let index = absindex(state, index);
            sys::lua_pushlightuserdata(state, key.cast_mut());
            sys::lua_insert(state, -2);
            sys::lua_rawset(state, index);
        }

        /// Calls a function, and returns a status: 0, or that of its error.
        fn pcall(state, args: c_int, results: c_int, msgh: c_int) -> c_int {
            sys::lua_pcall(state, args, results, msgh)
        }

        /// Calls a function.
        fn call(state, args: c_int, results: c_int) {
            sys::lua_call(state, args, results)
        }

        /// Pushes a userdata, and returns its block.
        fn newuserdata(state, size: usize) -> *mut c_void {
            sys::lua_newuserdata(state, size)
        }

        /// Pushes the table that the userdata at `index` carries, and returns its
        /// tag. A new userdata carries a table that others share.
        fn getuservalue(state, index: c_int) -> c_int {
            sys::lua_getfenv(state, index);
            sys::lua_type(state, -1)
        }

        /// Pops a table, which the userdata at `index` carries from then on.
        fn setuservalue(state, index: c_int) {
            sys::lua_setfenv(state, index);
        }

        /// Moves the value on top to `index`, and shifts those above up.
        fn insert(state, index: c_int) {
            sys::lua_insert(state, index)
        }

        /// Removes the value at `index`, and shifts those above down.
        fn remove(state, index: c_int) {
            sys::lua_remove(state, index)
        }

        /// Pushes a chunk's function and returns 0, or an error and its status.
        #[cfg(feature = "interpreter")]
        fn loadbuffer(state, chunk: &[u8], name: *const c_char) -> c_int {
            sys::luaL_loadbuffer(state, chunk.as_ptr().cast(), chunk.len(), name)
        }

        /// Pushes a global variable.
        fn pushglobal(state, name: *const c_char) {
            sys::lua_getfield(state, sys::LUA_GLOBALSINDEX, name)
        }

        /// Pops a value into a global variable.
        #[cfg(feature = "interpreter")]
        fn setglobal(state, name: *const c_char) {
            sys::lua_setfield(state, sys::LUA_GLOBALSINDEX, name)
        }
    }
}

#[cfg(not(any(feature = "lua51", feature = "luajit")))]
mod versioned {
    use super::*;

    functions! {
        /// The length of a table, string or userdata, without metamethods.
        #[allow(clippy::unnecessary_cast, reason = "the type differs from Lua 5.4 on")]
        fn rawlen(state, index: c_int) -> usize {
            sys::lua_rawlen(state, index) as usize
        }

        /// The number that a value is or converts to.
        fn tonumber(state, index: c_int) -> f64 {
            sys::lua_tonumberx(state, index, std::ptr::null_mut())
        }

        /// Replaces the key on top by the table's value, and returns its tag.
        #[cfg(feature = "lua52")]
        fn rawget(state, index: c_int) -> c_int {
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }

        /// Replaces the key on top by the table's value, and returns its tag.
        #[cfg(not(feature = "lua52"))]
        fn rawget(state, index: c_int) -> c_int {
            sys::lua_rawget(state, index)
        }

        /// Pushes the table's item `n`, and returns its tag.
        #[cfg(feature = "lua52")]
        fn rawgeti(state, index: c_int, n: i64) -> c_int {
            rawget_integer(state, index, n)
        }

        /// Pushes the table's item `n`, and returns its tag.
        #[cfg(not(feature = "lua52"))]
        fn rawgeti(state, index: c_int, n: i64) -> c_int {
            sys::lua_rawgeti(state, index, n)
        }

        /// Pops a value into the table's item `n`.
        #[allow(clippy::useless_conversion, reason = "the type differs from Lua 5.3 on")]
        fn rawseti(state, index: c_int, n: c_int) {
            sys::lua_rawseti(state, index, n.into())
        }

        /// Pushes the table's value under a light userdata, and returns its tag.
        #[cfg(feature = "lua52")]
        fn rawgetp(state, index: c_int, key: *const c_void) -> c_int {
            sys::lua_rawgetp(state, index, key);
            sys::lua_type(state, -1)
        }

        /// Pushes the table's value under a light userdata, and returns its tag.
        #[cfg(not(feature = "lua52"))]
        fn rawgetp(state, index: c_int, key: *const c_void) -> c_int {
            sys::lua_rawgetp(state, index, key)
        }

        /// Pops a value into the table under a light userdata.
        fn rawsetp(state, index: c_int, key: *const c_void) {
            sys::lua_rawsetp(state, index, key)
        }

        /// Calls a function, and returns a status: 0, or that of its error.
        fn pcall(state, args: c_int, results: c_int, msgh: c_int) -> c_int {
            sys::lua_pcallk(state, args, results, msgh, 0, None)
        }

        /// Calls a function.
        fn call(state, args: c_int, results: c_int) {
            sys::lua_callk(state, args, results, 0, None)
        }

        /// Pushes a userdata, and returns its block. It carries nil.
        #[cfg(any(feature = "lua52", feature = "lua53"))]
        fn newuserdata(state, size: usize) -> *mut c_void {
            sys::lua_newuserdata(state, size)
        }

        /// Pushes a userdata, and returns its block. It carries nil.
        #[cfg(not(any(feature = "lua52", feature = "lua53")))]
        fn newuserdata(state, size: usize) -> *mut c_void {
            sys::lua_newuserdatauv(state, size, 1)
        }

        /// Pushes the value that the userdata at `index` carries, and returns its
        /// tag.
        #[cfg(feature = "lua52")]
        fn getuservalue(state, index: c_int) -> c_int {
            sys::lua_getuservalue(state, index);
            sys::lua_type(state, -1)
        }

        /// Pushes the value that the userdata at `index` carries, and returns its
        /// tag.
        #[cfg(feature = "lua53")]
        fn getuservalue(state, index: c_int) -> c_int {
            sys::lua_getuservalue(state, index)
        }

        /// Pushes the value that the userdata at `index` carries, and returns its
        /// tag.
        #[cfg(any(feature = "lua54", feature = "lua55"))]
        fn getuservalue(state, index: c_int) -> c_int {
            sys::lua_getiuservalue(state, index, 1)
        }

        /// Pops a table, which the userdata at `index` carries from then on.
        #[cfg(any(feature = "lua52", feature = "lua53"))]
        fn setuservalue(state, index: c_int) {
            sys::lua_setuservalue(state, index)
        }

        /// Pops a table, which the userdata at `index` carries from then on.
        #[cfg(not(any(feature = "lua52", feature = "lua53")))]
        fn setuservalue(state, index: c_int) {
            sys::lua_setiuservalue(state, index, 1);
        }

        /// Moves the value on top to `index`, and shifts those above up.
        #[cfg(feature = "lua52")]
        fn insert(state, index: c_int) {
            sys::lua_insert(state, index)
        }

        /// Moves the value on top to `index`, and shifts those above up.
        #[cfg(not(feature = "lua52"))]
        fn insert(state, index: c_int) {
            sys::lua_rotate(state, index, 1)
        }

        /// Removes the value at `index`, and shifts those above down.
        #[cfg(feature = "lua52")]
        fn remove(state, index: c_int) {
            sys::lua_remove(state, index)
        }

        /// Removes the value at `index`, and shifts those above down.
        #[cfg(not(feature = "lua52"))]
        fn remove(state, index: c_int) {
            sys::lua_rotate(state, index, -1);
            sys::lua_settop(state, -2);
        }

        /// Pushes a chunk's function and returns 0, or an error and its status.
        #[cfg(feature = "interpreter")]
        fn loadbuffer(state, chunk: &[u8], name: *const c_char) -> c_int {
            let mode = std::ptr::null();
            sys::luaL_loadbufferx(state, chunk.as_ptr().cast(), chunk.len(), name, mode)
        }

        /// Pushes a global variable.
        fn pushglobal(state, name: *const c_char) {
            sys::lua_getglobal(state, name);
        }

        /// Pops a value into a global variable.
        #[cfg(feature = "interpreter")]
        fn setglobal(state, name: *const c_char) {
            sys::lua_setglobal(state, name)
        }
    }
}

pub use versioned::*;

/// Pushes the table's item `n`, and returns its tag. `lua_rawgeti` takes a C int
/// in these Luas: a larger key is looked up as a number.
///
/// # Safety
/// As for `lua_rawgeti`.
#[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
#[inline]
unsafe fn rawget_integer(state: *mut lua_State, index: c_int, n: i64) -> c_int {
    // SAFETY: by the contract; the number takes the slot that the item will have.
    unsafe {
        match c_int::try_from(n) {
            Ok(n) => sys::lua_rawgeti(state, index, n),
            Err(_) => {
                let index = absindex(state, index);
                sys::lua_pushnumber(state, n as f64);
                sys::lua_rawget(state, index);
            }
        }
        sys::lua_type(state, -1)
    }
}

/// The index counted from the bottom of the stack. Never raises.
///
/// # Safety
/// The state is live.
#[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
unsafe fn absindex(state: *mut lua_State, index: c_int) -> c_int {
    if index > 0 || index <= REGISTRYINDEX {
        return index;
    }
    // SAFETY: by the contract.
    unsafe { sys::lua_gettop(state) + index + 1 }
}

/// The number at `index` as an integer, if it has an integral value. Never
/// raises.
///
/// # Safety
/// The value is a number, or a string that Lua reads as one.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[inline]
pub unsafe fn exact_integer(state: *mut lua_State, index: c_int) -> Option<i64> {
    let mut is_integer = 0;
    // SAFETY: by the contract.
    let n = unsafe { sys::lua_tointegerx(state, index, &mut is_integer) };
    (is_integer != 0).then_some(n)
}

/// The number at `index` as an integer, if it has an integral value. Never
/// raises.
///
/// # Safety
/// The value is a number, or a string that Lua reads as one.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
#[inline]
pub unsafe fn exact_integer(state: *mut lua_State, index: c_int) -> Option<i64> {
    // SAFETY: by the contract.
    let n = unsafe { tonumber(state, index) };
    let i = n as i64;
    (i as f64 == n && i != i64::MAX).then_some(i)
}

/// Whether the value at `index` is a number of Lua 5.3's integer subtype.
///
/// # Safety
/// The state is live, and the index acceptable.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[inline]
pub unsafe fn isinteger(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: by the contract.
    unsafe { sys::lua_isinteger(state, index) != 0 }
}

/// Returns false, because numbers of this Lua have no subtypes.
///
/// # Safety
/// None is needed; in other Luas the state must be live.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
#[inline]
pub unsafe fn isinteger(_: *mut lua_State, _: c_int) -> bool {
    false
}

/// Pushes an integer. Never raises.
///
/// # Safety
/// The state is live, and there is a free slot.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[inline]
pub unsafe fn pushinteger(state: *mut lua_State, n: i64) {
    // SAFETY: by the contract.
    unsafe { sys::lua_pushinteger(state, n) }
}

/// Pushes the number nearest to an integer, because this Lua has no integers.
/// Never raises.
///
/// # Safety
/// The state is live, and there is a free slot.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
#[inline]
pub unsafe fn pushinteger(state: *mut lua_State, n: i64) {
    // SAFETY: by the contract.
    unsafe { sys::lua_pushnumber(state, n as f64) }
}

/// The main thread, if it is the running one. Lua 5.1 has no other way to find it.
///
/// # Safety
/// The state is live, and there is a free slot.
#[cfg(feature = "lua51")]
pub unsafe fn main_thread(state: *mut lua_State) -> Option<*mut lua_State> {
    // SAFETY: there is a free slot, and the thread's own value is popped again.
    let is_main = unsafe {
        let is_main = sys::lua_pushthread(state) != 0;
        sys::lua_settop(state, -2);
        is_main
    };
    is_main.then_some(state)
}

/// Returns None. Callers need the main thread for its debug hooks, and in
/// LuaJIT all threads share the same hooks.
///
/// # Safety
/// None is needed here.
#[cfg(feature = "luajit")]
pub unsafe fn main_thread(_: *mut lua_State) -> Option<*mut lua_State> {
    None
}

/// The main thread, which the registry holds.
///
/// # Safety
/// The state is live, and there is a free slot.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
pub unsafe fn main_thread(state: *mut lua_State) -> Option<*mut lua_State> {
    /// LUA_RIDX_MAINTHREAD
    const MAIN_THREAD: i64 = if cfg!(feature = "lua55") { 3 } else { 1 };
    // SAFETY: the registry is a table, and there is a free slot.
    let thread = unsafe {
        rawgeti(state, REGISTRYINDEX, MAIN_THREAD);
        let thread = sys::lua_tothread(state, -1);
        sys::lua_settop(state, -2);
        thread
    };
    (!thread.is_null()).then_some(thread)
}

/// The smallest amount of memory outside Lua, in bytes, that is reported to the
/// collector. None if nothing is reported:
/// - LuaJIT starts a collection at each report, so reports are large.
/// - Lua 5.1 would collect even if the script had stopped the collector, and
///   offers no way to find out.
/// - Lua 5.2 would collect at each report, and never runs a finalizer again
///   that has failed for lack of memory.
pub const LEAST_REPORT: Option<usize> = if cfg!(any(feature = "lua51", feature = "lua52")) {
    None
} else if cfg!(feature = "luajit") {
    Some(64 << 10)
} else {
    Some(1 << 10)
};

/// The unit of [`report_external`], in bytes.
pub const REPORT_UNIT: usize = if cfg!(feature = "lua55") { 1 } else { 1024 };

/// Does nothing, because nothing is reported to this Lua's collector.
///
/// # Safety
/// There are no requirements here. Other Luas have some.
#[cfg(any(feature = "lua51", feature = "lua52"))]
pub unsafe fn report_external(_: *mut lua_State, _: usize) {}

/// Makes the collector count this number of units as allocated, unless it is
/// stopped. It may run at once, and finalizers may raise.
///
/// # Safety
/// The state is live, and the frames above the protected call own nothing.
#[cfg(not(any(feature = "lua51", feature = "lua52")))]
pub unsafe fn report_external(state: *mut lua_State, units: usize) {
    /// LUA_GCISRUNNING. A LuaJIT without it returns -1.
    const IS_RUNNING: c_int = if cfg!(feature = "lua55") { 6 } else { 9 };
    // SAFETY: by the contract.
    unsafe {
        if sys::lua_gc(state, IS_RUNNING, 0) > 0 {
            step(state, units);
        }
    }
}

/// # Safety
/// As for [`report_external`].
#[cfg(any(feature = "lua53", feature = "lua54", feature = "luajit"))]
unsafe fn step(state: *mut lua_State, units: usize) {
    let units = units.min(c_int::MAX as usize) as c_int;
    // SAFETY: by the contract.
    unsafe { sys::lua_gc(state, sys::LUA_GCSTEP as c_int, units) };
}

/// Lua 5.5 takes one step for a report of any size. So this splits a large
/// report into parts, up to a limit, and stops when a collection ends.
///
/// # Safety
/// As for [`report_external`].
#[cfg(feature = "lua55")]
unsafe fn step(state: *mut lua_State, units: usize) {
    /// The number of allocated bytes after which Lua 5.5 itself takes a step.
    const STEP: usize = 200 * 56;
    const MOST: usize = 64 * STEP;
    let mut left = units.min(MOST);
    while left > 0 {
        let part = left.min(STEP);
        // SAFETY: by the contract.
        if unsafe { sys::lua_gc(state, sys::LUA_GCSTEP as c_int, part) } == 1 {
            return;
        }
        left -= part;
    }
}

/// Runs `body` with no debug hook set. A hook can change the stack, and tables
/// that are being traversed.
///
/// # Safety
/// The state is live. `body` does not raise.
unsafe fn without_hook<R>(state: *mut lua_State, body: impl FnOnce() -> R) -> R {
    // SAFETY: by the contract. The hook that is set at the end is the one that
    // was set before.
    unsafe {
        let mask = sys::lua_gethookmask(state);
        if mask == 0 {
            return body();
        }
        let (hook, count) = (sys::lua_gethook(state), sys::lua_gethookcount(state));
        sys::lua_sethook(state, None, 0, 0);
        let result = body();
        sys::lua_sethook(state, hook, mask, count);
        result
    }
}

/// Makes sure that there are `n` free slots. Never raises, whereas
/// `lua_checkstack` of Lua 5.1 and LuaJIT raises when memory is short.
///
/// # Safety
/// The state is live.
#[cfg(any(feature = "lua51", feature = "luajit"))]
#[inline]
pub unsafe fn checkstack(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    /// LUAI_MAXCSTACK: the largest number of values of one call.
    const MAX: c_int = 8000;
    unsafe extern "C-unwind" fn grow(state: *mut lua_State) -> c_int {
        // SAFETY: Lua calls with a live state, and the argument is the light
        // userdata that `lua_cpcall` passes. This frame owns nothing.
        unsafe {
            let n = sys::lua_touserdata(state, 1) as usize as c_int;
            sys::luaL_checkstack(state, n, std::ptr::null());
        }
        0
    }
    // The stack grows inside a protected call, and keeps its size outside. The
    // check outside then only records the new limit. SAFETY: by the contract;
    // `lua_cpcall` does not raise, and neither does `lua_checkstack` once the
    // stack has grown.
    unsafe {
        if n > MAX - sys::lua_gettop(state) {
            return Err(StackError::Overflow);
        }
        let status = without_hook(state, || {
            sys::lua_cpcall(state, Some(grow), n as usize as *mut c_void)
        });
        if status != 0 {
            sys::lua_settop(state, -2);
            return Err(StackError::Memory);
        }
        match sys::lua_checkstack(state, n) {
            0 => Err(StackError::Overflow),
            _ => Ok(()),
        }
    }
}

/// Makes sure that there are `n` free slots. Never raises.
///
/// # Safety
/// The state is live.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[inline]
pub unsafe fn checkstack(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    // SAFETY: by the contract.
    match unsafe { sys::lua_checkstack(state, n) } {
        // SAFETY: by the contract.
        0 => unsafe { stack_error(state, n) },
        _ => Ok(()),
    }
}

/// Finds out why the stack does not grow, because Lua does not tell. A
/// protected call needs stack too, so it fails for the same reason, and its
/// status shows the reason. If the call succeeds, Lua may have collected
/// garbage, and the stack may be able to grow now.
///
/// # Safety
/// The state is live.
#[cold]
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
unsafe fn stack_error(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    /// LUAI_MAXSTACK: the largest number of values of all calls together.
    const MAX: c_int = 1_000_000;
    /// LUA_ERRMEM.
    const ERRMEM: c_int = 4;
    unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
        0
    }
    // SAFETY: by the contract. Lua reserves some slots (EXTRA_STACK) beyond
    // those that callers get. The function takes one of them.
    unsafe {
        if n > MAX - sys::lua_gettop(state) {
            return Err(StackError::Overflow);
        }
        pushcfunction(state, Some(nothing));
        match without_hook(state, || pcall(state, 0, 0, 0)) {
            0 if sys::lua_checkstack(state, n) != 0 => Ok(()),
            0 => Err(StackError::Memory),
            status => {
                sys::lua_settop(state, -2);
                Err(match status {
                    ERRMEM => StackError::Memory,
                    _ => StackError::Overflow,
                })
            }
        }
    }
}

/// Pushes a C function without upvalues. Lua 5.1 and LuaJIT allocate memory,
/// and may raise. The other Luas do neither.
///
/// # Safety
/// The state is live, there is a free slot, and Lua may call the function. In
/// Lua 5.1 and LuaJIT the frames above the protected call own nothing.
pub unsafe fn pushcfunction(state: *mut lua_State, function: sys::lua_CFunction) {
    // SAFETY: by the contract.
    unsafe { sys::lua_pushcclosure(state, function, 0) }
}
