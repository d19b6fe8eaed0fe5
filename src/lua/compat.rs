//! What differs from Lua 5.1 to 5.5 and LuaJIT, so that the rest is written
//! against one Lua. The names and the contracts are those of Lua 5.4.

use std::os::raw::{c_char, c_int, c_void};

use super::sys::{self, lua_State};
use super::{StackError, Writer};

pub const TNONE: c_int = sys::LUA_TNONE;
pub const TNIL: c_int = sys::LUA_TNIL as c_int;
pub const TBOOLEAN: c_int = sys::LUA_TBOOLEAN as c_int;
pub const TLIGHTUSERDATA: c_int = sys::LUA_TLIGHTUSERDATA as c_int;
pub const TNUMBER: c_int = sys::LUA_TNUMBER as c_int;
pub const TSTRING: c_int = sys::LUA_TSTRING as c_int;
pub const TTABLE: c_int = sys::LUA_TTABLE as c_int;
pub const TFUNCTION: c_int = sys::LUA_TFUNCTION as c_int;
pub const TUSERDATA: c_int = sys::LUA_TUSERDATA as c_int;
pub const TTHREAD: c_int = sys::LUA_TTHREAD as c_int;

pub const MULTRET: c_int = sys::LUA_MULTRET;

/// The Lua that the module is built for, as its users call it.
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

#[cfg(not(feature = "lua55"))]
pub const REGISTRYINDEX: c_int = sys::LUA_REGISTRYINDEX;
/// Lua 5.5 derives it from INT_MAX, which bindgen does not evaluate.
#[cfg(feature = "lua55")]
pub const REGISTRYINDEX: c_int = -(c_int::MAX / 2 + 1000);

#[cfg(any(feature = "lua51", feature = "luajit"))]
pub const fn upvalue_index(i: c_int) -> c_int {
    sys::LUA_GLOBALSINDEX - i
}
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
pub const fn upvalue_index(i: c_int) -> c_int {
    REGISTRYINDEX - i
}

/// The functions whose signature or very existence differs. Each is as unsafe
/// as the C function it is named after, and raises if and only if that does.
#[cfg(any(feature = "lua51", feature = "luajit"))]
mod versioned {
    use super::*;

    #[inline]
    pub unsafe fn rawlen(state: *mut lua_State, index: c_int) -> usize {
        unsafe { sys::lua_objlen(state, index) }
    }

    pub unsafe fn tonumber(state: *mut lua_State, index: c_int) -> f64 {
        unsafe { sys::lua_tonumber(state, index) }
    }

    #[inline]
    pub unsafe fn rawget(state: *mut lua_State, index: c_int) -> c_int {
        unsafe {
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }
    }

    #[inline]
    pub unsafe fn rawgeti(state: *mut lua_State, index: c_int, n: i64) -> c_int {
        unsafe {
            // A key that a C int cannot hold is looked up as a number.
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

    pub unsafe fn rawseti(state: *mut lua_State, index: c_int, n: c_int) {
        unsafe { sys::lua_rawseti(state, index, n) }
    }

    #[inline]
    pub unsafe fn rawgetp(state: *mut lua_State, index: c_int, key: *const c_void) -> c_int {
        unsafe {
            let index = absindex(state, index);
            sys::lua_pushlightuserdata(state, key.cast_mut());
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }
    }

    pub unsafe fn rawsetp(state: *mut lua_State, index: c_int, key: *const c_void) {
        unsafe {
            let index = absindex(state, index);
            sys::lua_pushlightuserdata(state, key.cast_mut());
            sys::lua_insert(state, -2);
            sys::lua_rawset(state, index);
        }
    }

    #[inline]
    pub unsafe fn pcall(state: *mut lua_State, args: c_int, results: c_int, msgh: c_int) -> c_int {
        unsafe { sys::lua_pcall(state, args, results, msgh) }
    }

    pub unsafe fn call(state: *mut lua_State, args: c_int, results: c_int) {
        unsafe { sys::lua_call(state, args, results) }
    }

    pub unsafe fn newuserdata(state: *mut lua_State, size: usize) -> *mut c_void {
        unsafe { sys::lua_newuserdata(state, size) }
    }

    /// The value that a userdata carries, and its type.
    #[inline]
    pub unsafe fn getuservalue(state: *mut lua_State, index: c_int) -> c_int {
        unsafe {
            sys::lua_getfenv(state, index);
            sys::lua_type(state, -1)
        }
    }

    /// The userdata at `index` shall carry the table on top, which goes.
    #[inline]
    pub unsafe fn setuservalue(state: *mut lua_State, index: c_int) {
        unsafe {
            sys::lua_setfenv(state, index);
        }
    }

    #[inline]
    pub unsafe fn insert(state: *mut lua_State, index: c_int) {
        unsafe { sys::lua_insert(state, index) }
    }

    pub unsafe fn remove(state: *mut lua_State, index: c_int) {
        unsafe { sys::lua_remove(state, index) }
    }

    #[cfg(feature = "interpreter")]
    pub unsafe fn loadbuffer(state: *mut lua_State, chunk: &[u8], name: *const c_char) -> c_int {
        unsafe { sys::luaL_loadbuffer(state, chunk.as_ptr().cast(), chunk.len(), name) }
    }

    pub unsafe fn pushglobal(state: *mut lua_State, name: *const c_char) {
        unsafe { sys::lua_getfield(state, sys::LUA_GLOBALSINDEX, name) }
    }

    #[cfg(feature = "interpreter")]
    pub unsafe fn setglobal(state: *mut lua_State, name: *const c_char) {
        unsafe { sys::lua_setfield(state, sys::LUA_GLOBALSINDEX, name) }
    }
}

#[cfg(not(any(feature = "lua51", feature = "luajit")))]
mod versioned {
    use super::*;

    #[inline]
    pub unsafe fn rawlen(state: *mut lua_State, index: c_int) -> usize {
        #[cfg(any(feature = "lua52", feature = "lua53"))]
        unsafe {
            sys::lua_rawlen(state, index)
        }
        #[cfg(not(any(feature = "lua52", feature = "lua53")))]
        unsafe {
            sys::lua_rawlen(state, index) as usize
        }
    }

    pub unsafe fn tonumber(state: *mut lua_State, index: c_int) -> f64 {
        unsafe { sys::lua_tonumberx(state, index, std::ptr::null_mut()) }
    }

    #[cfg(feature = "lua52")]
    #[inline]
    pub unsafe fn rawget(state: *mut lua_State, index: c_int) -> c_int {
        unsafe {
            sys::lua_rawget(state, index);
            sys::lua_type(state, -1)
        }
    }
    #[cfg(not(feature = "lua52"))]
    #[inline]
    pub unsafe fn rawget(state: *mut lua_State, index: c_int) -> c_int {
        unsafe { sys::lua_rawget(state, index) }
    }

    #[cfg(feature = "lua52")]
    #[inline]
    pub unsafe fn rawgeti(state: *mut lua_State, index: c_int, n: i64) -> c_int {
        unsafe {
            // A key that a C int cannot hold is looked up as a number.
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
    #[cfg(not(feature = "lua52"))]
    #[inline]
    pub unsafe fn rawgeti(state: *mut lua_State, index: c_int, n: i64) -> c_int {
        unsafe { sys::lua_rawgeti(state, index, n) }
    }

    pub unsafe fn rawseti(state: *mut lua_State, index: c_int, n: c_int) {
        #[cfg(feature = "lua52")]
        unsafe {
            sys::lua_rawseti(state, index, n)
        }
        #[cfg(not(feature = "lua52"))]
        unsafe {
            sys::lua_rawseti(state, index, n.into())
        }
    }

    #[cfg(feature = "lua52")]
    #[inline]
    pub unsafe fn rawgetp(state: *mut lua_State, index: c_int, key: *const c_void) -> c_int {
        unsafe {
            sys::lua_rawgetp(state, index, key);
            sys::lua_type(state, -1)
        }
    }
    #[cfg(not(feature = "lua52"))]
    #[inline]
    pub unsafe fn rawgetp(state: *mut lua_State, index: c_int, key: *const c_void) -> c_int {
        unsafe { sys::lua_rawgetp(state, index, key) }
    }

    pub unsafe fn rawsetp(state: *mut lua_State, index: c_int, key: *const c_void) {
        unsafe { sys::lua_rawsetp(state, index, key) }
    }

    #[inline]
    pub unsafe fn pcall(state: *mut lua_State, args: c_int, results: c_int, msgh: c_int) -> c_int {
        unsafe { sys::lua_pcallk(state, args, results, msgh, 0, None) }
    }

    pub unsafe fn call(state: *mut lua_State, args: c_int, results: c_int) {
        unsafe { sys::lua_callk(state, args, results, 0, None) }
    }

    /// With one user value, nil until set.
    pub unsafe fn newuserdata(state: *mut lua_State, size: usize) -> *mut c_void {
        #[cfg(any(feature = "lua52", feature = "lua53"))]
        unsafe {
            sys::lua_newuserdata(state, size)
        }
        #[cfg(not(any(feature = "lua52", feature = "lua53")))]
        unsafe {
            sys::lua_newuserdatauv(state, size, 1)
        }
    }

    /// The value that a userdata carries, and its type.
    #[inline]
    pub unsafe fn getuservalue(state: *mut lua_State, index: c_int) -> c_int {
        #[cfg(feature = "lua52")]
        unsafe {
            sys::lua_getuservalue(state, index);
            sys::lua_type(state, -1)
        }
        #[cfg(feature = "lua53")]
        unsafe {
            sys::lua_getuservalue(state, index)
        }
        #[cfg(any(feature = "lua54", feature = "lua55"))]
        unsafe {
            sys::lua_getiuservalue(state, index, 1)
        }
    }

    /// The userdata at `index` shall carry the table on top, which goes.
    #[inline]
    pub unsafe fn setuservalue(state: *mut lua_State, index: c_int) {
        #[cfg(any(feature = "lua52", feature = "lua53"))]
        unsafe {
            sys::lua_setuservalue(state, index)
        }
        #[cfg(not(any(feature = "lua52", feature = "lua53")))]
        unsafe {
            sys::lua_setiuservalue(state, index, 1);
        }
    }

    #[cfg(feature = "lua52")]
    #[inline]
    pub unsafe fn insert(state: *mut lua_State, index: c_int) {
        unsafe { sys::lua_insert(state, index) }
    }
    #[cfg(not(feature = "lua52"))]
    #[inline]
    pub unsafe fn insert(state: *mut lua_State, index: c_int) {
        unsafe { sys::lua_rotate(state, index, 1) }
    }

    #[cfg(feature = "lua52")]
    pub unsafe fn remove(state: *mut lua_State, index: c_int) {
        unsafe { sys::lua_remove(state, index) }
    }
    #[cfg(not(feature = "lua52"))]
    pub unsafe fn remove(state: *mut lua_State, index: c_int) {
        unsafe {
            sys::lua_rotate(state, index, -1);
            sys::lua_settop(state, -2);
        }
    }

    #[cfg(feature = "interpreter")]
    pub unsafe fn loadbuffer(state: *mut lua_State, chunk: &[u8], name: *const c_char) -> c_int {
        let mode = std::ptr::null();
        unsafe { sys::luaL_loadbufferx(state, chunk.as_ptr().cast(), chunk.len(), name, mode) }
    }

    pub unsafe fn pushglobal(state: *mut lua_State, name: *const c_char) {
        unsafe {
            sys::lua_getglobal(state, name);
        }
    }

    #[cfg(feature = "interpreter")]
    pub unsafe fn setglobal(state: *mut lua_State, name: *const c_char) {
        unsafe { sys::lua_setglobal(state, name) }
    }
}

pub use versioned::*;

/// Never raises.
#[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))]
unsafe fn absindex(state: *mut lua_State, index: c_int) -> c_int {
    if index > 0 || index <= REGISTRYINDEX {
        return index;
    }
    unsafe { sys::lua_gettop(state) + index + 1 }
}

/// The number at `index` as an integer, if it is one exactly. Never raises;
/// the value must be a number, or a string that Lua reads as one.
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
#[inline]
pub unsafe fn exact_integer(state: *mut lua_State, index: c_int) -> Option<i64> {
    let mut is_integer = 0;
    let n = unsafe { sys::lua_tointegerx(state, index, &mut is_integer) };
    (is_integer != 0).then_some(n)
}

/// The number at `index` as an integer, if it is one exactly. Never raises;
/// the value must be a number, or a string that Lua reads as one.
#[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
#[inline]
pub unsafe fn exact_integer(state: *mut lua_State, index: c_int) -> Option<i64> {
    let n = unsafe { tonumber(state, index) };
    let i = n as i64;
    (i as f64 == n && i != i64::MAX).then_some(i)
}

/// Whether the number at `index` has the integer subtype.
#[inline]
pub unsafe fn isinteger(state: *mut lua_State, index: c_int) -> bool {
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    unsafe {
        sys::lua_isinteger(state, index) != 0
    }
    #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
    {
        let _ = (state, index);
        false
    }
}

/// Push an integer; one that this Lua cannot hold exactly becomes the nearest
/// number. Never raises.
pub unsafe fn pushinteger(state: *mut lua_State, n: i64) {
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    unsafe {
        sys::lua_pushinteger(state, n)
    }
    #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
    unsafe {
        sys::lua_pushnumber(state, n as f64)
    }
}

/// The main thread, where it is known and handlers have a use for it. Lua 5.1
/// knows it only while it runs.
#[cfg(feature = "lua51")]
pub fn main_thread(writer: &Writer<'_>) -> Option<*mut lua_State> {
    // SAFETY: there is a free slot, and the thread's own value is popped again.
    let is_main = unsafe {
        let is_main = sys::lua_pushthread(writer.raw()) != 0;
        sys::lua_settop(writer.raw(), -2);
        is_main
    };
    is_main.then(|| writer.raw())
}

/// None: the hooks of LuaJIT are of all threads.
#[cfg(feature = "luajit")]
pub fn main_thread(_: &Writer<'_>) -> Option<*mut lua_State> {
    None
}

/// The main thread, as the registry knows it.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
pub fn main_thread(writer: &Writer<'_>) -> Option<*mut lua_State> {
    /// LUA_RIDX_MAINTHREAD
    const MAIN_THREAD: i64 = if cfg!(feature = "lua55") { 3 } else { 1 };
    // SAFETY: the registry is a table, and there is a free slot.
    let thread = unsafe {
        rawgeti(writer.raw(), REGISTRYINDEX, MAIN_THREAD);
        let thread = sys::lua_tothread(writer.raw(), -1);
        sys::lua_settop(writer.raw(), -2);
        thread
    };
    (!thread.is_null()).then_some(thread)
}

/// The collector is told of no fewer bytes outside Lua than these. LuaJIT begins
/// a collection whenever it is told of any. Lua 5.1 and 5.2 are told of none:
/// 5.1 would do so even where a script stopped the collector, and does not say
/// whether one did; 5.2 would at each call, and its finalizers that find no
/// memory are lost.
pub const LEAST_REPORT: Option<usize> = if cfg!(any(feature = "lua51", feature = "lua52")) {
    None
} else if cfg!(feature = "luajit") {
    Some(64 << 10)
} else {
    Some(1 << 10)
};

/// How many bytes it counts by.
pub const REPORT_UNIT: usize = if cfg!(feature = "lua55") { 1 } else { 1024 };

/// Not told.
#[cfg(any(feature = "lua51", feature = "lua52"))]
pub unsafe fn report_external(_: *mut lua_State, _: usize) {}

/// Have the collector count so many units as allocated since it last ran, if it
/// is not stopped. It may run, as much as that asks for.
#[cfg(not(any(feature = "lua51", feature = "lua52")))]
pub unsafe fn report_external(state: *mut lua_State, units: usize) {
    /// LUA_GCISRUNNING, which a LuaJIT that has it not answers by -1.
    const IS_RUNNING: c_int = if cfg!(feature = "lua55") { 6 } else { 9 };
    unsafe {
        if sys::lua_gc(state, IS_RUNNING, 0) > 0 {
            step(state, units);
        }
    }
}

#[cfg(any(feature = "lua53", feature = "lua54", feature = "luajit"))]
unsafe fn step(state: *mut lua_State, units: usize) {
    let units = units.min(c_int::MAX as usize) as c_int;
    unsafe { sys::lua_gc(state, sys::LUA_GCSTEP as c_int, units) };
}

/// Lua 5.5 takes one step, however much it is told: so it is told step by step,
/// to the end of a collection, but not of all where that is very much.
#[cfg(feature = "lua55")]
unsafe fn step(state: *mut lua_State, units: usize) {
    /// What it takes a step for by itself.
    const STEP: usize = 200 * 56;
    const MOST: usize = 64 * STEP;
    let mut left = units.min(MOST);
    while left > 0 {
        let told = left.min(STEP);
        if unsafe { sys::lua_gc(state, sys::LUA_GCSTEP as c_int, told) } == 1 {
            return;
        }
        left -= told;
    }
}

/// Run `body` with no hook set: one could do anything to what is on the stack,
/// and to the tables that are being walked.
unsafe fn without_hook<R>(state: *mut lua_State, body: impl FnOnce() -> R) -> R {
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

/// Scratch for `n` more values. Never raises, whereas Lua 5.1's and LuaJIT's own
/// `lua_checkstack` do when memory is short.
#[cfg(any(feature = "lua51", feature = "luajit"))]
#[inline]
pub unsafe fn checkstack(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    /// LUAI_MAXCSTACK: the values of one call.
    const MAX: c_int = 8000;
    unsafe extern "C-unwind" fn grow(state: *mut lua_State) -> c_int {
        unsafe {
            let n = sys::lua_touserdata(state, 1) as usize as c_int;
            sys::luaL_checkstack(state, n, std::ptr::null());
        }
        0
    }
    // Growing the stack inside a protected call leaves it grown outside, where
    // checking it again then only notes the new limit.
    unsafe {
        if n > MAX - sys::lua_gettop(state) {
            return Err(StackError::Stack);
        }
        let status = without_hook(state, || {
            sys::lua_cpcall(state, Some(grow), n as usize as *mut c_void)
        });
        if status != 0 {
            sys::lua_settop(state, -2);
            return Err(StackError::Memory);
        }
        match sys::lua_checkstack(state, n) {
            0 => Err(StackError::Stack),
            _ => Ok(()),
        }
    }
}

/// Scratch for `n` more values. Never raises.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[inline]
pub unsafe fn checkstack(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    match unsafe { sys::lua_checkstack(state, n) } {
        0 => unsafe { lack_of_stack(state, n) },
        _ => Ok(()),
    }
}

/// Lua does not say why it gives no room. A call asks for some too, and fails
/// with what was lacking; and where it does not, Lua may have collected garbage.
#[cold]
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
unsafe fn lack_of_stack(state: *mut lua_State, n: c_int) -> Result<(), StackError> {
    /// LUAI_MAXSTACK: the values of all calls.
    const MAX: c_int = 1_000_000;
    const ERRMEM: c_int = 4;
    unsafe extern "C-unwind" fn nothing(_: *mut lua_State) -> c_int {
        0
    }
    unsafe {
        if n > MAX - sys::lua_gettop(state) {
            return Err(StackError::Stack);
        }
        // Lua keeps some slots beyond those that it gives out.
        pushcfunction(state, Some(nothing));
        match without_hook(state, || pcall(state, 0, 0, 0)) {
            0 if sys::lua_checkstack(state, n) != 0 => Ok(()),
            0 => Err(StackError::Memory),
            status => {
                sys::lua_settop(state, -2);
                Err(match status {
                    ERRMEM => StackError::Memory,
                    _ => StackError::Stack,
                })
            }
        }
    }
}

/// Push a C function without upvalues. Lua 5.1 and LuaJIT allocate, and may
/// raise; the others do not.
pub unsafe fn pushcfunction(state: *mut lua_State, function: sys::lua_CFunction) {
    unsafe { sys::lua_pushcclosure(state, function, 0) }
}
