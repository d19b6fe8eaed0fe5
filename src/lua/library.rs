//! Binds the module to the Lua that calls it. One loaded `flux.so` serves one Lua.
//! The table of Lua's functions is in `sys`; nothing here calls through it before
//! that Lua is known to have the version that the module was built for.
//!
//! The module does not link to Lua, for two reasons. Flux loads plugins with
//! RTLD_LOCAL, and then a plugin's Lua is visible to that plugin only. And one
//! process can contain several Luas. So the Lua to bind to is the one that the
//! caller uses, and the caller is identified by its address in memory.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt::{self, Display};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::compat::NAME;
use super::sys::{self, Functions, lua_State};
use super::writer::Line;

/// Functions by which to tell versions apart. The first one that a Lua has tells
/// its version; a Lua that has none is Lua 5.1. All of them are in Lua's core, so
/// every program with that Lua contains them.
const VERSION_MARKS: [(&CStr, &str); 5] = [
    (c"luaJIT_setmode", "LuaJIT"),
    (c"lua_pushexternalstring", "Lua 5.5"),
    (c"lua_newuserdatauv", "Lua 5.4"),
    (c"lua_rotate", "Lua 5.3"),
    (c"lua_rawlen", "Lua 5.2"),
];

/// Makes sure that Lua's functions can be called with the caller's state. `caller`
/// is an address in the program or library that called an exported function of
/// this module, or null if it is unknown. The error says why the module does not
/// work with the caller's Lua.
///
/// The state is used only to choose between two copies of one Lua.
///
/// # Safety
/// `state` is a live state of the caller's Lua.
#[expect(clippy::result_large_err, reason = "Lua would jump over a box")]
#[inline]
pub unsafe fn bind(state: *mut lua_State, caller: *const c_void) -> Result<(), BindError> {
    match KnownCallers::contains(caller) {
        true => Ok(()),
        // SAFETY: by the contract.
        false => unsafe { verify(state, caller) },
    }
}

/// The Lua that the module is bound to.
static BOUND: Mutex<Option<Lua>> = Mutex::new(None);

/// Looks up the caller's Lua, and binds the module to it if it is bound to none.
///
/// # Safety
/// As for [`bind`].
#[expect(clippy::result_large_err, reason = "Lua would jump over a box")]
#[cold]
unsafe fn verify(state: *mut lua_State, caller: *const c_void) -> Result<(), BindError> {
    let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let object = Image::at(caller);
    let own = object.as_ref().and_then(Lua::seen_by);
    let process = Lua::of_process();
    // If the bound Lua was unloaded, no state of it is left, and its callers may
    // have been unloaded too.
    if bound.take_if(|lua| !lua.is_loaded()).is_some() {
        KnownCallers::forget();
    }
    if let Some(bound) = &*bound {
        let is_bound = |lua: &Lua| lua.address == bound.address;
        // A caller's own Lua can be hidden by symbols of the same name that the
        // process shares. Then its calls reach the process's Lua.
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
    // SAFETY: by the contract.
    let Some(lua) = (unsafe { chosen(state, own, process, object.as_ref()) }) else {
        return Err(BindError::no_lua());
    };
    let name = lua.name();
    if name != NAME {
        return Err(BindError::new(Some(&lua), format_args!("this is {name}")));
    }
    // SAFETY: these are the functions of a Lua of that version, with the types
    // that its headers declare. Whenever an unknown caller comes, `is_loaded` tells
    // whether they are still there.
    let functions = unsafe {
        Functions::load(&|name| lua.symbol(name).map_or(ptr::null_mut(), NonNull::as_ptr))
    };
    let functions = functions.map_err(|missing| {
        BindError::new(Some(&lua), format_args!("this {NAME} lacks {missing}"))
    })?;
    // SAFETY: nothing was bound, so no thread is calling through the table. Other
    // threads synchronize with this write by `KnownCallers` or by this lock.
    unsafe { sys::bind(functions) }
    *bound = Some(lua);
    KnownCallers::add(object);
    Ok(())
}

/// Chooses the Lua to bind to: the caller's own, or the one that the process
/// shares.
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
    // Lua itself calls, or these are not two copies of one Lua.
    if own.is_in(caller) || own.address == process.address || own.name() != process.name() {
        return Some(own);
    }
    // These are two copies of one Lua. The loader decided which of them the
    // caller's calls reach. The state's allocator tells which of them made the
    // state.
    type GetAllocator =
        unsafe extern "C-unwind" fn(*mut lua_State, *mut *mut c_void) -> *const c_void;
    let Some(get) = own.symbol(c"lua_getallocf") else {
        return Some(own);
    };
    // SAFETY: Lua's function of this name has that type. Both copies have the same
    // version, so it can read a state of either.
    let allocator = unsafe {
        let get = std::mem::transmute::<NonNull<c_void>, GetAllocator>(get);
        get(state, ptr::null_mut())
    };
    match process.is_in(Image::at(allocator).as_ref()) {
        true => Some(process),
        false => Some(own),
    }
}

/// Binds the module to the Lua in the program, for a program that this crate is
/// compiled into together with a Lua.
#[expect(clippy::result_large_err, reason = "Lua would jump over a box")]
#[cfg(feature = "interpreter")]
pub fn bind_to_program() -> Result<(), BindError> {
    let here: fn() -> Result<(), BindError> = bind_to_program;
    // SAFETY: the state is used only for a caller whose Lua is in two places; the
    // program is the caller, and contains its Lua.
    unsafe { bind(ptr::null_mut(), here as *const c_void) }
}

/// A Lua that is loaded in this process.
struct Lua {
    /// For looking up its functions.
    handle: LibraryHandle,
    /// The address of its `lua_gettop`, which identifies it.
    address: NonNull<c_void>,
    /// The program or library that contains it.
    image: Image,
}

// SAFETY: the pointers are the address of a function, and a handle of dlopen's,
// which any thread may use.
unsafe impl Send for Lua {}

impl Lua {
    /// The Lua in a program or library, or in a library that it depends on.
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

    /// The address of one of this Lua's functions. A function of that name in
    /// another program or library does not count.
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

    /// Whether it is still in memory. A plugin's Lua is unloaded with the plugin.
    fn is_loaded(&self) -> bool {
        Image::at(self.address.as_ptr()).as_ref() == Some(&self.image)
    }
}

/// A handle for looking up symbols in a library, which stays loaded as long as
/// this value lives.
struct LibraryHandle(*mut c_void);

impl LibraryHandle {
    fn process() -> LibraryHandle {
        LibraryHandle(libc::RTLD_DEFAULT)
    }

    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: this is a handle of dlopen's, or RTLD_DEFAULT; the name ends with
        // a NUL.
        NonNull::new(unsafe { libc::dlsym(self.0, name.as_ptr()) })
    }
}

impl Drop for LibraryHandle {
    fn drop(&mut self) {
        if self.0 != libc::RTLD_DEFAULT {
            // SAFETY: `Image::open` got the handle from dlopen. It is closed once.
            unsafe { libc::dlclose(self.0) };
        }
    }
}

/// A program or library, as it is loaded in memory.
#[derive(Clone, PartialEq, Eq)]
struct Image {
    /// The path. Empty for the program itself.
    name: CString,
    start: usize,
    end: usize,
}

impl Image {
    /// The program or library that contains an address.
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
            // SAFETY: the loader passes valid program headers and a name that ends
            // with a NUL. The last argument is the `Search` below.
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
        // SAFETY: `look` gets a pointer to `search`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        search.found
    }

    /// A handle for its symbols, and those of the libraries that it depends on.
    fn open(&self) -> Option<LibraryHandle> {
        let name = match self.name.is_empty() {
            true => ptr::null(),
            false => self.name.as_ptr(),
        };
        // SAFETY: the name ends with a NUL, or is null for the program. It is loaded
        // already, so no initializer runs.
        let handle = unsafe { libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        (!handle.is_null()).then_some(LibraryHandle(handle))
    }

    fn contains(&self, address: *const c_void) -> bool {
        (self.start..self.end).contains(&(address as usize))
    }

    /// The path, for error texts.
    fn path(&self) -> String {
        match self.name.is_empty() {
            true => "the program".to_owned(),
            false => self.name.to_string_lossy().into_owned(),
        }
    }
}

/// A list of the programs and libraries that are known to use the bound Lua. Items
/// are added and never freed, so it is read without a lock.
struct KnownCallers {
    image: Image,
    next: *mut KnownCallers,
}

static KNOWN_CALLERS: AtomicPtr<KnownCallers> = AtomicPtr::new(ptr::null_mut());

impl KnownCallers {
    #[inline]
    fn contains(address: *const c_void) -> bool {
        // Acquire: a thread that sees an item also sees the table that was filled
        // before the item was added.
        let mut item = KNOWN_CALLERS.load(Ordering::Acquire);
        // SAFETY: an item is neither changed nor freed.
        while let Some(verified) = unsafe { item.as_ref() } {
            if verified.image.contains(address) {
                return true;
            }
            item = verified.next;
        }
        false
    }

    /// Adds a program or library, or nothing if the caller was not found. The lock
    /// of `BOUND` is held.
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

/// The reason why the module does not work with the Lua that called it. The
/// value owns nothing, so a Lua error may jump over it.
pub struct BindError {
    text: Line,
    /// For reporting the error to that Lua, if one was found.
    functions: Option<ErrorFunctions>,
}

/// The functions that report an error to a script or to C code. They have the same
/// types in all Luas.
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

    /// Raises the text as an error of the caller's Lua. If that Lua was not found,
    /// prints the text and returns 0: no results.
    ///
    /// # Safety
    /// As for [`bind`]. No frame between this one and Lua owns anything.
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

    /// Pushes nil and the text, and returns 2. If the caller's Lua was not found,
    /// prints the text and returns 0.
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

    /// Prints the text, for a caller that expects no value.
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
        // SAFETY: Lua's functions of these names have these types in all versions,
        // except that some return a pointer, which is ignored.
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

/// Runs Lua's own check, which raises an error if numbers do not have the sizes
/// that the headers declare, or if the state was made by another Lua.
///
/// # Safety
/// As for [`enter`](super::enter).
pub unsafe fn check_version(state: *mut lua_State) {
    // SAFETY: the state is live, and no frame owns anything.
    #[cfg(feature = "lua52")]
    unsafe {
        sys::luaL_checkversion_(state, sys::LUA_VERSION_NUM.into())
    }
    // SAFETY: as above.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    unsafe {
        let sizes = size_of::<sys::lua_Integer>() * 16 + size_of::<sys::lua_Number>();
        sys::luaL_checkversion_(state, sys::LUA_VERSION_NUM.into(), sizes)
    }
    // Lua 5.1 and LuaJIT have no such check.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    let _ = state;
}
