//! Finds the Lua that calls the module, and binds the module to it: one loaded
//! `flux.so` serves one Lua. Nothing here calls Lua through `sys` before that
//! Lua is known to be of the version that the module was built for.
//!
//! The module does not link to Lua. Flux loads plugins with RTLD_LOCAL, and a
//! plugin's Lua is then visible to that plugin alone; and one process may hold
//! several Luas. So the address of the caller decides which Lua is meant.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::{self, Display};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::compat::NAME;
use super::sys::{self, Functions, lua_State};
use super::writer::Line;

/// Functions that only one Lua has. The first that is found tells which Lua it
/// is; a Lua without any is Lua 5.1. All belong to the core, which no program
/// leaves out.
const VERSION_MARKS: [(&CStr, &str); 5] = [
    (c"luaJIT_setmode", "LuaJIT"),
    (c"lua_pushexternalstring", "Lua 5.5"),
    (c"lua_newuserdatauv", "Lua 5.4"),
    (c"lua_rotate", "Lua 5.3"),
    (c"lua_rawlen", "Lua 5.2"),
];

/// Makes Lua's functions callable for a call that came from `caller`, an
/// address in the program or library that called an exported function of this
/// module; null where it is not known. An error says why they must not be
/// called with the caller's state.
///
/// The state is looked at only to choose between two copies of one Lua.
///
/// # Safety
/// `state` is a live state of the caller's Lua.
#[expect(clippy::result_large_err, reason = "a box is what Lua would jump over")]
#[inline]
pub unsafe fn bind(state: *mut lua_State, caller: *const c_void) -> Result<(), BindError> {
    match KnownCallers::contains(caller) {
        true => Ok(()),
        // SAFETY: the caller's promise.
        false => unsafe { verify(state, caller) },
    }
}

/// The Lua that the module is bound to.
static BOUND: Mutex<Option<Lua>> = Mutex::new(None);

#[expect(clippy::result_large_err, reason = "a box is what Lua would jump over")]
#[cold]
unsafe fn verify(state: *mut lua_State, caller: *const c_void) -> Result<(), BindError> {
    let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let object = Image::at(caller);
    let own = object.as_ref().and_then(Lua::seen_by);
    let process = Lua::of_process();
    // A Lua that is gone took its states along. So did, perhaps, its users.
    if bound.take_if(|lua| !lua.is_loaded()).is_some() {
        KnownCallers::forget();
    }
    if let Some(bound) = &*bound {
        let is_bound = |lua: &Lua| lua.address == bound.address;
        // Symbols that the process shares hide a caller's own of the same name.
        let may_be_hidden = own.as_ref().is_none_or(|lua| lua.name() == NAME);
        let is_same = own.as_ref().is_some_and(is_bound)
            || (may_be_hidden && process.as_ref().is_some_and(is_bound));
        return match is_same {
            true => {
                KnownCallers::add(object);
                Ok(())
            }
            false => Err(BindError::second(bound, own.or(process))),
        };
    }
    // SAFETY: the caller's promise.
    let Some(lua) = (unsafe { chosen(state, own, process, object.as_ref()) }) else {
        return Err(BindError::no_lua());
    };
    let name = lua.name();
    if name != NAME {
        return Err(BindError::new(Some(&lua), format_args!("this is {name}")));
    }
    // SAFETY: these are the functions of a Lua of that version, with the types
    // that its headers declare. `is_loaded` is asked before they are trusted.
    let functions = unsafe {
        Functions::load(&|name| lua.symbol(name).map_or(ptr::null_mut(), NonNull::as_ptr))
    };
    let functions = functions.map_err(|missing| {
        BindError::new(Some(&lua), format_args!("this {NAME} lacks {missing}"))
    })?;
    // SAFETY: nothing was bound, so no thread can be in a function of Lua's
    // that it called through the table. Other threads find the table by
    // `KnownCallers`, or by this lock.
    unsafe { sys::bind(functions) }
    *bound = Some(lua);
    KnownCallers::add(object);
    Ok(())
}

/// Of the caller's own Lua and that of the process, the one to bind to.
///
/// # Safety
/// As for [`bind`].
unsafe fn chosen(
    state: *mut lua_State,
    own: Option<Lua>,
    process: Option<Lua>,
    caller: Option<&Image>,
) -> Option<Lua> {
    let (own, process) = match (own, process) {
        (Some(own), Some(process)) => (own, process),
        (own, process) => return own.or(process),
    };
    // Lua itself calls, or there are no two copies to choose from.
    if own.is_in(caller) || own.address == process.address || own.name() != process.name() {
        return Some(own);
    }
    // Two copies of one Lua. The loader decided which of them the caller's
    // calls reach; the state's allocator tells which made it.
    type GetAllocator =
        unsafe extern "C-unwind" fn(*mut lua_State, *mut *mut c_void) -> *const c_void;
    let Some(get) = own.symbol(c"lua_getallocf") else {
        return Some(own);
    };
    // SAFETY: Lua's function of this name has that type, and reads a state of
    // this version alike, whichever copy made it.
    let allocator = unsafe {
        let get = std::mem::transmute::<NonNull<c_void>, GetAllocator>(get);
        get(state, ptr::null_mut())
    };
    match process.is_in(Image::at(allocator).as_ref()) {
        true => Some(process),
        false => Some(own),
    }
}

/// Makes Lua's functions callable in a program that this crate is compiled into,
/// together with a Lua.
#[expect(clippy::result_large_err, reason = "a box is what Lua would jump over")]
#[cfg(feature = "interpreter")]
pub fn bind_to_program() -> Result<(), BindError> {
    let here: fn() -> Result<(), BindError> = bind_to_program;
    // SAFETY: no state is needed where the caller is the program with its Lua.
    unsafe { bind(ptr::null_mut(), here as *const c_void) }
}

/// A Lua that is loaded in this process.
struct Lua {
    /// What its functions are looked up in.
    handle: LibraryHandle,
    /// Where its `lua_gettop` is.
    address: NonNull<c_void>,
    /// The program or library that this is in.
    image: Image,
}

// SAFETY: addresses of functions, and of a library that may be asked from any
// thread.
unsafe impl Send for Lua {}

impl Lua {
    /// The Lua in a program or library, or in what that depends on.
    fn seen_by(object: &Image) -> Option<Lua> {
        Lua::find(object.open()?)
    }

    /// The Lua whose symbols the process shares.
    fn of_process() -> Option<Lua> {
        Lua::find(LibraryHandle::process())
    }

    fn find(handle: LibraryHandle) -> Option<Lua> {
        let address = handle.symbol(c"lua_gettop")?;
        Some(Lua {
            address,
            image: Image::at(address.as_ptr())?,
            handle,
        })
    }

    /// A function of this Lua's. One of that name in another object does not
    /// count.
    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        let symbol = self.handle.symbol(name)?;
        self.image.contains(symbol.as_ptr()).then_some(symbol)
    }

    fn name(&self) -> &'static str {
        let mark = VERSION_MARKS
            .iter()
            .find(|(mark, _)| self.symbol(mark).is_some());
        mark.map_or("Lua 5.1", |(_, name)| name)
    }

    fn is_in(&self, object: Option<&Image>) -> bool {
        object == Some(&self.image)
    }

    /// Whether it is still in memory. A plugin's Lua goes with the plugin.
    fn is_loaded(&self) -> bool {
        Image::at(self.address.as_ptr()).as_ref() == Some(&self.image)
    }
}

/// A library that stays loaded as long as this lives, for looking up symbols.
struct LibraryHandle(*mut c_void);

impl LibraryHandle {
    fn process() -> LibraryHandle {
        LibraryHandle(libc::RTLD_DEFAULT)
    }

    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a handle of dlopen's, or RTLD_DEFAULT; the name is terminated.
        NonNull::new(unsafe { libc::dlsym(self.0, name.as_ptr()) })
    }
}

impl Drop for LibraryHandle {
    fn drop(&mut self) {
        if self.0 != libc::RTLD_DEFAULT {
            // SAFETY: `Image::open` opened it, and it is closed once.
            unsafe { libc::dlclose(self.0) };
        }
    }
}

/// A program or a library in memory.
#[derive(Clone, PartialEq, Eq)]
struct Image {
    /// Its path; empty for the program.
    name: CString,
    start: usize,
    end: usize,
}

impl Image {
    /// The one that an address is in.
    fn at(address: *const c_void) -> Option<Image> {
        struct Search {
            address: usize,
            found: Option<Image>,
        }

        unsafe extern "C" fn look(
            info: *mut libc::dl_phdr_info,
            _: usize,
            search: *mut c_void,
        ) -> c_int {
            // SAFETY: the loader gives an object with its program headers and
            // a terminated name; the last argument is the `Search` below.
            unsafe {
                let (info, search) = (&*info, &mut *search.cast::<Search>());
                let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
                let loaded = headers
                    .iter()
                    .filter(|header| header.p_type == libc::PT_LOAD);
                let ends = loaded.map(|header| {
                    let start = info.dlpi_addr as usize + header.p_vaddr as usize;
                    (start, start + header.p_memsz as usize)
                });
                let whole = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
                let Some((start, end)) = whole else { return 0 };
                if !(start..end).contains(&search.address) {
                    return 0;
                }
                let name: *const c_char = info.dlpi_name;
                let name = CStr::from_ptr(name).to_owned();
                search.found = Some(Image { name, start, end });
                1
            }
        }

        let mut search = Search {
            address: address as usize,
            found: None,
        };
        // SAFETY: `look` gets `search`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.found
    }

    fn open(&self) -> Option<LibraryHandle> {
        let name = match self.name.is_empty() {
            true => ptr::null(),
            false => self.name.as_ptr(),
        };
        // SAFETY: a terminated name, or null for the program. It is in memory,
        // so nothing is loaded and no initializer runs.
        let handle = unsafe { libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        (!handle.is_null()).then_some(LibraryHandle(handle))
    }

    fn contains(&self, address: *const c_void) -> bool {
        (self.start..self.end).contains(&(address as usize))
    }

    /// For error texts.
    fn path(&self) -> String {
        match self.name.is_empty() {
            true => "the program".to_owned(),
            false => self.name.to_string_lossy().into_owned(),
        }
    }
}

/// The objects that are known to use the bound Lua: a list to which is added
/// and from which nothing is freed, so that it is read without a lock.
struct KnownCallers {
    image: Image,
    next: *mut KnownCallers,
}

static KNOWN_CALLERS: AtomicPtr<KnownCallers> = AtomicPtr::new(ptr::null_mut());

impl KnownCallers {
    #[inline]
    fn contains(address: *const c_void) -> bool {
        // Acquire: whoever sees an item sees the table that was bound before.
        let mut item = KNOWN_CALLERS.load(Ordering::Acquire);
        // SAFETY: an item is never changed nor freed.
        while let Some(verified) = unsafe { item.as_ref() } {
            if verified.image.contains(address) {
                return true;
            }
            item = verified.next;
        }
        false
    }

    /// The lock of `BOUND` is held. A caller that is not known is looked for
    /// again each time.
    fn add(image: Option<Image>) {
        if let Some(image) = image {
            let next = KNOWN_CALLERS.load(Ordering::Relaxed);
            let item = Box::into_raw(Box::new(KnownCallers { image, next }));
            KNOWN_CALLERS.store(item, Ordering::Release);
        }
    }

    fn forget() {
        KNOWN_CALLERS.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Why the module does not work with the Lua that called it. It owns nothing,
/// so that Lua may jump over it.
pub struct BindError {
    text: Line,
    /// How to tell that Lua, if one was found.
    functions: Option<ErrorFunctions>,
}

/// The few functions, alike in all Luas, that tell a script or C code.
#[derive(Clone, Copy)]
struct ErrorFunctions {
    push_nil: unsafe extern "C-unwind" fn(*mut lua_State),
    push_string: unsafe extern "C-unwind" fn(*mut lua_State, *const c_char, usize),
    error: unsafe extern "C-unwind" fn(*mut lua_State) -> c_int,
}

impl BindError {
    fn new(lua: Option<&Lua>, why: fmt::Arguments<'_>) -> BindError {
        BindError {
            text: Line::new(format_args!("flux.so is built for {NAME}, and {why}")),
            functions: lua.and_then(ErrorFunctions::of),
        }
    }

    fn no_lua() -> BindError {
        let why = "no Lua is found in this program: it must export its Lua's functions (-rdynamic)";
        BindError::new(None, format_args!("{why}"))
    }

    fn second(bound: &Lua, other: Option<Lua>) -> BindError {
        let Some(other) = other else {
            return BindError::no_lua();
        };
        if other.name() != NAME {
            return BindError::new(Some(&other), format_args!("this is {}", other.name()));
        }
        BindError {
            text: Line::new(format_args!(
                "this flux.so serves the {NAME} in {} already, and another {NAME}, in {}, needs a \
                 copy of flux.so of its own",
                bound.image.path(),
                other.image.path(),
            )),
            functions: ErrorFunctions::of(&other),
        }
    }

    /// Raises the text as an error of the caller's Lua. Where that has no
    /// functions to be found, the text is printed and the function returns
    /// nothing.
    ///
    /// # Safety
    /// As for [`bind`]; no frame from here to Lua owns anything.
    pub unsafe fn raise(self, state: *mut lua_State) -> c_int {
        let Some(functions) = self.functions else {
            self.print();
            return 0;
        };
        let text = self.text.as_bytes();
        // SAFETY: by the contract.
        unsafe {
            (functions.push_string)(state, text.as_ptr().cast(), text.len());
            (functions.error)(state)
        }
    }

    /// Pushes nil and the text; returns how many values that is.
    ///
    /// # Safety
    /// As for [`BindError::raise`].
    pub unsafe fn fail(self, state: *mut lua_State) -> c_int {
        let Some(functions) = self.functions else {
            self.print();
            return 0;
        };
        let text = self.text.as_bytes();
        // SAFETY: by the contract.
        unsafe {
            (functions.push_nil)(state);
            (functions.push_string)(state, text.as_ptr().cast(), text.len());
        }
        2
    }

    /// Pushes one nil, for a caller that expects a value, and prints the text.
    ///
    /// # Safety
    /// As for [`BindError::raise`].
    pub unsafe fn push_nil(self, state: *mut lua_State) {
        self.print();
        if let Some(functions) = self.functions {
            // SAFETY: by the contract.
            unsafe { (functions.push_nil)(state) }
        }
    }

    /// Prints the text, where the caller expects no value: there is nobody else
    /// to tell.
    pub fn print(&self) {
        eprintln!("{self}");
    }
}

impl Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text.as_bytes()))
    }
}

impl ErrorFunctions {
    fn of(lua: &Lua) -> Option<ErrorFunctions> {
        let push_nil = lua.symbol(c"lua_pushnil")?;
        let push_string = lua.symbol(c"lua_pushlstring")?;
        let error = lua.symbol(c"lua_error")?;
        // SAFETY: Lua's functions of these names have these types in all
        // versions, but that some return a pointer, which is not looked at.
        unsafe {
            Some(ErrorFunctions {
                push_nil: std::mem::transmute::<
                    NonNull<c_void>,
                    unsafe extern "C-unwind" fn(*mut lua_State),
                >(push_nil),
                push_string: std::mem::transmute::<
                    NonNull<c_void>,
                    unsafe extern "C-unwind" fn(*mut lua_State, *const c_char, usize),
                >(push_string),
                error: std::mem::transmute::<
                    NonNull<c_void>,
                    unsafe extern "C-unwind" fn(*mut lua_State) -> c_int,
                >(error),
            })
        }
    }
}

/// Lua's own check: that numbers are as large as in the headers built with, and
/// that the state is of the Lua that its functions are of.
///
/// # Safety
/// Lua called, with `state`, a C function whose frame owns nothing, and the
/// module is bound to that Lua.
pub unsafe fn check_version(state: *mut lua_State) {
    // SAFETY: the state is live and the frames may be jumped over.
    #[cfg(feature = "lua52")]
    unsafe {
        sys::luaL_checkversion_(state, sys::LUA_VERSION_NUM.into())
    }
    // SAFETY: the same.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    unsafe {
        let sizes = size_of::<sys::lua_Integer>() * 16 + size_of::<sys::lua_Number>();
        sys::luaL_checkversion_(state, sys::LUA_VERSION_NUM.into(), sizes)
    }
    // Lua 5.1 and LuaJIT have none.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    let _ = state;
}
