//! The functions of Lua's API that not every Lua has: looked up by name, not
//! linked, so that the module loads into any Lua and can say that it was built
//! for another. What it links is in all of Lua 5.1 to 5.5 and LuaJIT.
//!
//! The limit: a Lua is known by the symbols that this module is bound to. In a
//! process that holds two, the loader may bind a module to the one and a state
//! of the other call it; with that state nothing can be done then, not even an
//! error raised. Lua 5.2 and later find it out if the two are of one version.

use std::ffi::CStr;
use std::os::raw::{c_int, c_void};
use std::process;
use std::sync::OnceLock;

use super::compat::NAME;
use super::sys::{self, lua_State};
use super::writer::Writer;

/// Declare functions to look up, by the Luas that have them. Each prototype is
/// held against the generated one.
macro_rules! imports {
    ($(#[$luas:meta] {
        $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*
    })*) => {
        #[allow(non_snake_case, reason = "the names are Lua's")]
        struct Table {
            $($(#[$luas] $name: unsafe extern "C-unwind" fn($($type),*) $(-> $result)?,)*)*
        }

        impl Table {
            /// Or the name of what this Lua lacks.
            fn of(lua: &Loaded) -> Result<Table, &'static str> {
                $($(
                    #[$luas]
                    const _: unsafe extern "C-unwind" fn($($type),*) $(-> $result)? = sys::$name;
                )*)*
                Ok(Table {
                    $($(#[$luas] $name: {
                        let symbol = lua.symbol(c_name(concat!(stringify!($name), "\0")));
                        let symbol = symbol.ok_or(stringify!($name))?;
                        // SAFETY: Lua's function of this name has the type that
                        // its headers declare, which is the one above.
                        unsafe {
                            std::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C-unwind" fn($($type),*) $(-> $result)?,
                            >(symbol)
                        }
                    },)*)*
                })
            }
        }

        $($(
            /// # Safety
            /// As for the C function.
            #[$luas]
            #[allow(non_snake_case, reason = "the names are Lua's")]
            #[inline]
            pub unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the caller's promise.
                unsafe { (table().$name)($($argument),*) }
            }
        )*)*
    };
}

imports! {
    #[cfg(any(feature = "lua51", feature = "luajit"))] {
        fn lua_call(state: *mut lua_State, args: c_int, results: c_int);
        fn lua_cpcall(state: *mut lua_State, function: sys::lua_CFunction, argument: *mut c_void) -> c_int;
        fn lua_getfenv(state: *mut lua_State, index: c_int);
        fn lua_objlen(state: *mut lua_State, index: c_int) -> usize;
        fn lua_pcall(state: *mut lua_State, args: c_int, results: c_int, msgh: c_int) -> c_int;
        fn lua_setfenv(state: *mut lua_State, index: c_int) -> c_int;
        fn lua_tonumber(state: *mut lua_State, index: c_int) -> f64;
    }
    #[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52"))] {
        fn lua_insert(state: *mut lua_State, index: c_int);
    }
    #[cfg(any(feature = "lua51", feature = "luajit", feature = "lua52", feature = "lua53"))] {
        fn lua_newuserdata(state: *mut lua_State, size: usize) -> *mut c_void;
    }
    #[cfg(not(any(feature = "lua51", feature = "luajit")))] {
        fn lua_rawsetp(state: *mut lua_State, index: c_int, key: *const c_void);
        fn lua_tonumberx(state: *mut lua_State, index: c_int, is_number: *mut c_int) -> f64;
    }
    #[cfg(feature = "lua52")] {
        fn lua_callk(state: *mut lua_State, args: c_int, results: c_int, context: c_int, next: sys::lua_CFunction);
        fn lua_getglobal(state: *mut lua_State, name: *const libc::c_char);
        fn lua_getuservalue(state: *mut lua_State, index: c_int);
        fn lua_pcallk(state: *mut lua_State, args: c_int, results: c_int, msgh: c_int, context: c_int, next: sys::lua_CFunction) -> c_int;
        fn lua_rawgetp(state: *mut lua_State, index: c_int, key: *const c_void);
        fn luaL_checkversion_(state: *mut lua_State, version: f64);
    }
    #[cfg(any(feature = "lua52", feature = "lua53"))] {
        fn lua_rawlen(state: *mut lua_State, index: c_int) -> usize;
        fn lua_setuservalue(state: *mut lua_State, index: c_int);
    }
    #[cfg(feature = "lua53")] {
        fn lua_getuservalue(state: *mut lua_State, index: c_int) -> c_int;
    }
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))] {
        fn lua_callk(state: *mut lua_State, args: c_int, results: c_int, context: sys::lua_KContext, next: sys::lua_KFunction);
        fn lua_getglobal(state: *mut lua_State, name: *const libc::c_char) -> c_int;
        fn lua_isinteger(state: *mut lua_State, index: c_int) -> c_int;
        fn lua_pcallk(state: *mut lua_State, args: c_int, results: c_int, msgh: c_int, context: sys::lua_KContext, next: sys::lua_KFunction) -> c_int;
        fn lua_rawgetp(state: *mut lua_State, index: c_int, key: *const c_void) -> c_int;
        fn lua_rotate(state: *mut lua_State, index: c_int, n: c_int);
        fn lua_tointegerx(state: *mut lua_State, index: c_int, is_integer: *mut c_int) -> sys::lua_Integer;
        fn luaL_checkversion_(state: *mut lua_State, version: f64, sizes: usize);
    }
    #[cfg(any(feature = "lua54", feature = "lua55"))] {
        fn lua_getiuservalue(state: *mut lua_State, index: c_int, n: c_int) -> c_int;
        fn lua_newuserdatauv(state: *mut lua_State, size: usize, values: c_int) -> *mut c_void;
        fn lua_rawlen(state: *mut lua_State, index: c_int) -> sys::lua_Unsigned;
        fn lua_setiuservalue(state: *mut lua_State, index: c_int, n: c_int) -> c_int;
    }
    // What only a program that runs scripts needs.
    #[cfg(all(feature = "interpreter", any(feature = "lua51", feature = "luajit")))] {
        fn luaL_loadbuffer(state: *mut lua_State, chunk: *const libc::c_char, size: usize, name: *const libc::c_char) -> c_int;
    }
    #[cfg(all(feature = "interpreter", any(feature = "lua51", feature = "luajit", feature = "lua52")))] {
        fn lua_remove(state: *mut lua_State, index: c_int);
    }
    #[cfg(all(feature = "interpreter", not(any(feature = "lua51", feature = "luajit"))))] {
        fn lua_setglobal(state: *mut lua_State, name: *const libc::c_char);
        fn luaL_loadbufferx(state: *mut lua_State, chunk: *const libc::c_char, size: usize, name: *const libc::c_char, mode: *const libc::c_char) -> c_int;
    }
}

const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name ends with a NUL and holds no other"),
    }
}

/// What only one Lua has; the first found tells which it is. All are of the
/// core, which no program leaves out. A Lua without any is Lua 5.1.
const MARKS: [(&CStr, &str); 5] = [
    (c"luaJIT_setmode", "LuaJIT"),
    (c"lua_pushexternalstring", "Lua 5.5"),
    (c"lua_newuserdatauv", "Lua 5.4"),
    (c"lua_rotate", "Lua 5.3"),
    (c"lua_rawlen", "Lua 5.2"),
];

/// The Lua that this module's linked functions are bound to.
struct Loaded {
    /// Where the program or the library that holds it begins.
    object: *const c_void,
}

impl Loaded {
    fn find() -> Option<Loaded> {
        Some(Loaded {
            object: object_of(look_up(c"lua_gettop")?)?,
        })
    }

    /// A function of this Lua's: one of the name in another does not count.
    fn symbol(&self, name: &CStr) -> Option<*mut c_void> {
        look_up(name).filter(|symbol| object_of(*symbol) == Some(self.object))
    }

    fn name(&self) -> &'static str {
        let mark = MARKS.iter().find(|(mark, _)| self.symbol(mark).is_some());
        mark.map_or("Lua 5.1", |(_, name)| name)
    }
}

/// Where the loader finds a symbol for this module, as it does for those linked.
fn look_up(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a C string is all that dlsym asks for.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// What program or library a symbol is in, by the address where that begins.
fn object_of(symbol: *mut c_void) -> Option<*const c_void> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about; a result other than 0 says that
    // the structure was filled.
    unsafe {
        match libc::dladdr(symbol, info.as_mut_ptr()) {
            0 => None,
            _ => Some(info.assume_init().dli_fbase.cast_const()),
        }
    }
}

/// Why the module does not work in this Lua.
enum Wrong {
    NoLua,
    Version(&'static str),
    Lacks(&'static str),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flux.so is built for {NAME}, and ")?;
        match self {
            Wrong::NoLua => write!(f, "no Lua is found in this program"),
            Wrong::Version(name) => write!(f, "this is {name}"),
            Wrong::Lacks(function) => write!(f, "this {NAME} lacks {function}"),
        }
    }
}

static TABLE: OnceLock<Table> = OnceLock::new();

fn find() -> Result<Table, Wrong> {
    let lua = Loaded::find().ok_or(Wrong::NoLua)?;
    match lua.name() {
        NAME => Table::of(&lua).map_err(Wrong::Lacks),
        other => Err(Wrong::Version(other)),
    }
}

#[inline]
fn table() -> &'static Table {
    match TABLE.get() {
        Some(table) => table,
        None => find_late(),
    }
}

/// For a program with a Lua of its own, which nobody has checked.
#[cold]
fn find_late() -> &'static Table {
    match find() {
        Ok(table) => TABLE.get_or_init(|| table),
        Err(wrong) => {
            // There is no error to raise in a Lua whose calls are unknown.
            eprintln!("{wrong}");
            process::abort()
        }
    }
}

/// Raise an error that names both versions, unless the Lua that loads the
/// module is the one that it was built for. Before this, only functions that
/// all Luas have may be called.
///
/// # Safety
/// Lua called, with `state`, a C function whose frame owns nothing.
pub unsafe fn check_host(state: *mut lua_State) {
    if TABLE.get().is_none() {
        match find() {
            // Another thread that was faster has found the same.
            Ok(table) => drop(TABLE.set(table)),
            Err(wrong) => {
                // SAFETY: the state is live, and neither this frame nor the
                // caller's owns anything.
                let writer = unsafe { Writer::new(state) };
                writer.text(format_args!("{wrong}"));
                writer.raise()
            }
        }
    }
    // SAFETY: as above.
    unsafe { check_numbers(state) }
}

/// Lua's own check: that numbers are as large as in the headers built with, and
/// that the state is of the Lua that its functions are of.
///
/// # Safety
/// As for [`check_host`].
unsafe fn check_numbers(state: *mut lua_State) {
    // SAFETY: the state is live and the frames may be jumped over.
    #[cfg(feature = "lua52")]
    unsafe {
        luaL_checkversion_(state, sys::LUA_VERSION_NUM.into())
    }
    // SAFETY: the same.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    unsafe {
        let sizes = size_of::<sys::lua_Integer>() * 16 + size_of::<sys::lua_Number>();
        luaL_checkversion_(state, sys::LUA_VERSION_NUM.into(), sizes)
    }
    // Lua 5.1 and LuaJIT have none.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    let _ = state;
}
