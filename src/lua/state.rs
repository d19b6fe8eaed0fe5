//! The half of Lua's API that cannot raise: reading and moving values, and
//! calling in protected mode. `writer` has the functions that can raise.

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::ptr::NonNull;

use super::{Error, Raised, Result, StackError, Writer, compat, lua_State, sys};

/// A `lua_State` during one call from Lua. Code that owns something may call
/// all its methods, because none raises.
///
/// Values that are read from the stack are borrowed for `'a`, the call. They
/// are valid while they stay in their slots (see the rules of the stack at the
/// head of [`lua`](super)).
#[derive(Clone, Copy)]
pub struct State<'a> {
    raw: *mut lua_State,
    call: PhantomData<&'a lua_State>,
}

/// A key of the module's own in the registry: the address of a static.
pub struct RegistryKey {
    // Statics without a size may share an address.
    _byte: u8,
}

impl RegistryKey {
    /// A key that no other static has.
    pub const fn unique() -> RegistryKey {
        RegistryKey { _byte: 0 }
    }

    pub(super) fn address(&'static self) -> *const c_void {
        std::ptr::from_ref(self).cast()
    }
}

/// The type of a value. The numbers are Lua's tags, which are the same in all
/// versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs, reason = "the variants are Lua's types")]
pub enum Kind {
    /// There is no value at the index.
    None = compat::TNONE,
    Nil = compat::TNIL,
    Boolean = compat::TBOOLEAN,
    LightUserdata = compat::TLIGHTUSERDATA,
    Number = compat::TNUMBER,
    String = compat::TSTRING,
    Table = compat::TTABLE,
    Function = compat::TFUNCTION,
    Userdata = compat::TUSERDATA,
    Thread = compat::TTHREAD,
    /// A type that only one Lua has (LuaJIT's cdata).
    Other,
}

impl Kind {
    #[inline(always)]
    fn of(tag: c_int) -> Kind {
        // Fast path: the optimizer sees that the tag is the variant's number.
        match tag {
            // SAFETY: each number in this range is a variant's.
            compat::TNONE..=compat::TTHREAD => unsafe { std::mem::transmute::<c_int, Kind>(tag) },
            _ => Kind::other(),
        }
    }

    #[cold]
    fn other() -> Kind {
        Kind::Other
    }

    /// The name that Lua's function `type` returns.
    pub fn name(self) -> &'static str {
        match self {
            Kind::None => "no value",
            Kind::Nil => "nil",
            Kind::Boolean => "boolean",
            Kind::LightUserdata | Kind::Userdata => "userdata",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Thread => "thread",
            Kind::Other => "cdata",
        }
    }
}

/// SAFETY comments below that say "by the rules of the stack" rely on those rules,
/// which are part of the contract of [`State::new`], and on the state being live.
impl Error {
    /// The argument at `index` has the wrong type: "string expected, got nil".
    pub fn expected(state: State<'_>, index: c_int, what: &str) -> Error {
        let got = match state.kind(index) {
            Kind::None => "no value",
            kind => kind.name(),
        };
        Error::argument(index, format!("{what} expected, got {got}"))
    }
}

impl<'a> State<'a> {
    /// Wraps a state for the duration of a call.
    ///
    /// # Safety
    /// `raw` is a live state of the Lua that the module is bound to, and this
    /// thread may use it for all of `'a`. The code that gets the value keeps
    /// the rules of the stack (see the head of [`lua`](super)).
    pub unsafe fn new(raw: *mut lua_State) -> State<'a> {
        State {
            raw,
            call: PhantomData,
        }
    }

    /// The pointer that Lua's API takes.
    pub fn raw(self) -> *mut lua_State {
        self.raw
    }

    /// The index of the topmost value; 0 if there is none.
    #[inline]
    pub fn top(self) -> c_int {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_gettop(self.raw) }
    }

    /// The index counted from the bottom of the stack. Pseudo-indices are not
    /// allowed.
    pub fn absolute(self, index: c_int) -> c_int {
        if index < 0 {
            self.top() + 1 + index
        } else {
            index
        }
    }

    /// Drops all values above `top`.
    #[inline]
    pub fn set_top(self, top: c_int) {
        debug_assert!(0 <= top && top <= self.top());
        // SAFETY: by the rules of the stack. The module has no to-be-closed
        // slots, so nothing is called.
        unsafe { sys::lua_settop(self.raw, top) }
    }

    /// Drops the topmost `n` values.
    #[inline]
    pub fn pop(self, n: c_int) {
        debug_assert!(0 <= n && n <= self.top());
        // SAFETY: as in `set_top`.
        unsafe { sys::lua_settop(self.raw, -n - 1) }
    }

    /// The type of the value at `index`.
    #[inline]
    pub fn kind(self, index: c_int) -> Kind {
        // SAFETY: by the rules of the stack.
        Kind::of(unsafe { sys::lua_type(self.raw, index) })
    }

    /// Whether an argument is absent or nil.
    pub fn is_none_or_nil(self, index: c_int) -> bool {
        matches!(self.kind(index), Kind::None | Kind::Nil)
    }

    /// Whether Lua takes the value for true: it is neither false nor nil.
    pub fn boolean(self, index: c_int) -> bool {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_toboolean(self.raw, index) != 0 }
    }

    /// The bytes of a string. None for other values, including numbers, which
    /// [`State::to_bytes`] converts.
    #[inline]
    pub fn bytes(self, index: c_int) -> Option<&'a [u8]> {
        match self.kind(index) {
            // SAFETY: a string is at `index`.
            Kind::String => Some(unsafe { self.string(index) }),
            _ => None,
        }
    }

    /// The bytes of a string, without a check that it is one.
    ///
    /// # Safety
    /// A string is at `index`.
    #[inline(always)]
    pub unsafe fn string(self, index: c_int) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: the value is a string, so Lua neither converts nor allocates
        // anything. The bytes live while the string is in its slot, by the
        // rules of the stack.
        unsafe {
            let text = sys::lua_tolstring(self.raw, index, &mut len);
            std::slice::from_raw_parts(text.cast(), len)
        }
    }

    /// The value of a number of either subtype. None for other values.
    #[inline]
    pub fn number(self, index: c_int) -> Option<f64> {
        if self.kind(index) != Kind::Number {
            return None;
        }
        // SAFETY: the value is a number.
        Some(unsafe { compat::tonumber(self.raw, index) })
    }

    /// The value of a number of either subtype, if it is integral and fits.
    #[inline(always)]
    pub fn integer(self, index: c_int) -> Option<i64> {
        if self.kind(index) != Kind::Number {
            return None;
        }
        // SAFETY: the value is a number.
        unsafe { compat::exact_integer(self.raw, index) }
    }

    // The three functions below follow Lua's coercions: they read each
    // value that Lua's own functions take for a string or a number.

    /// The bytes of a string, or of a number's text. The text replaces the
    /// number on the stack, so this must not be used on a key that
    /// [`State::next`] pushed: the traversal would not find that key again. The
    /// only error is a lack of memory.
    #[inline]
    pub fn to_bytes(self, index: c_int) -> Result<Option<&'a [u8]>> {
        match self.kind(index) {
            // SAFETY: a string is at `index`.
            Kind::String => Ok(Some(unsafe { self.string(index) })),
            Kind::Number => self.number_to_bytes(index),
            _ => Ok(None),
        }
    }

    /// Lua's own conversion works in place and may raise, so this converts a
    /// copy in a protected call.
    #[cold]
    fn number_to_bytes(self, index: c_int) -> Result<Option<&'a [u8]>> {
        let index = self.absolute(index);
        self.push_value(index);
        self.protect(1, |writer| {
            writer.number_to_string(1);
            1
        })?;
        self.replace(index);
        // A debug hook can have replaced the copy by any value.
        Ok(self.bytes(index))
    }

    /// The value of a number, or of a string that Lua reads as one. The stack
    /// is not changed.
    #[inline]
    pub fn to_number(self, index: c_int) -> Option<f64> {
        match self.kind(index) {
            Kind::Number => {}
            Kind::String if self.is_numeric(index) => {}
            _ => return None,
        }
        // SAFETY: the value is a number, or converts to one.
        Some(unsafe { compat::tonumber(self.raw, index) })
    }

    /// The same for integers: None if the number is not integral or does not
    /// fit.
    #[inline]
    pub fn to_integer(self, index: c_int) -> Option<i64> {
        match self.kind(index) {
            Kind::Number => {}
            Kind::String if self.is_numeric(index) => {}
            _ => return None,
        }
        // SAFETY: the value is a number, or converts to one.
        unsafe { compat::exact_integer(self.raw, index) }
    }

    /// Whether Lua reads the string at `index` as a number.
    #[cold]
    fn is_numeric(self, index: c_int) -> bool {
        // SAFETY: by the rules of the stack. Nothing is allocated.
        unsafe { sys::lua_isnumber(self.raw, index) != 0 }
    }

    /// Whether the value at `index` is a number of Lua 5.3's integer subtype.
    #[inline]
    pub fn has_integer_subtype(self, index: c_int) -> bool {
        // SAFETY: by the rules of the stack.
        unsafe { compat::isinteger(self.raw, index) }
    }

    /// The pointer of a light userdata, or the address of a full userdata's
    /// block. None for other values, and for a light userdata that is null.
    #[inline]
    pub fn userdata(self, index: c_int) -> Option<NonNull<c_void>> {
        // SAFETY: by the rules of the stack.
        NonNull::new(unsafe { sys::lua_touserdata(self.raw, index) })
    }

    /// The length of a table (a border), or of a string or full userdata in
    /// bytes, without metamethods.
    ///
    /// # Safety
    /// The value is not a number: Lua 5.1 and LuaJIT would convert it, and
    /// raise if memory is short.
    #[inline]
    pub unsafe fn raw_len(self, index: c_int) -> usize {
        // SAFETY: by the rules of the stack and the contract.
        unsafe { compat::rawlen(self.raw, index) }
    }

    /// The address that identifies a table, function, thread or userdata. Null
    /// for other values.
    #[inline]
    pub fn identity(self, index: c_int) -> *const c_void {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_topointer(self.raw, index) }
    }

    /// Makes sure that there are `n` free slots. A call from Lua begins with 20
    /// of them, so only loops and recursion need this.
    pub fn reserve(self, n: c_int) -> std::result::Result<(), StackError> {
        // SAFETY: by the rules of the stack. `compat::checkstack` never raises.
        unsafe { compat::checkstack(self.raw, n) }
    }

    /// Pushes nil.
    pub fn push_nil(self) {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_pushnil(self.raw) }
    }

    /// Pushes a copy of the value at `index`.
    pub fn push_value(self, index: c_int) {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_pushvalue(self.raw, index) }
    }

    /// Pushes a boolean.
    pub fn push_boolean(self, value: bool) {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_pushboolean(self.raw, value.into()) }
    }

    /// Pushes an integer. A Lua without integers gets the nearest number.
    pub fn push_integer(self, n: i64) {
        // SAFETY: by the rules of the stack.
        unsafe { compat::pushinteger(self.raw, n) }
    }

    /// Pops a value, and replaces the value at the absolute `index` by it.
    #[inline]
    pub fn replace(self, index: c_int) {
        debug_assert!(0 < index && index < self.top());
        // SAFETY: by the rules of the stack.
        unsafe {
            compat::insert(self.raw, index);
            compat::remove(self.raw, index + 1);
        }
    }

    /// Pushes `table[n]`, without metamethods. Pushes nil if the value at
    /// `table` is not a table.
    #[inline]
    pub fn raw_get_index(self, table: c_int, n: i64) -> Kind {
        match self.kind(table) {
            // SAFETY: a table is at `table`.
            Kind::Table => unsafe { self.raw_get_index_unchecked(table, n) },
            _ => {
                self.push_nil();
                Kind::Nil
            }
        }
    }

    /// The same without a check that there is a table.
    ///
    /// # Safety
    /// A table is at `table`.
    #[inline]
    pub unsafe fn raw_get_index_unchecked(self, table: c_int, n: i64) -> Kind {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: by the rules of the stack and the contract.
        Kind::of(unsafe { compat::rawgeti(self.raw, table, n) })
    }

    /// Replaces the key on top by `table[key]`, without metamethods. Replaces
    /// it by nil if the value at `table` is not a table.
    #[inline]
    pub fn raw_get(self, table: c_int) -> Kind {
        match self.kind(table) {
            // SAFETY: a table is at `table`.
            Kind::Table => unsafe { self.raw_get_unchecked(table) },
            _ => {
                self.pop(1);
                self.push_nil();
                Kind::Nil
            }
        }
    }

    /// The same without a check that there is a table.
    ///
    /// # Safety
    /// A table is at `table`.
    #[inline]
    pub unsafe fn raw_get_unchecked(self, table: c_int) -> Kind {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: by the rules of the stack and the contract. Reading never
        // raises, whatever the key.
        Kind::of(unsafe { compat::rawget(self.raw, table) })
    }

    /// Sets `table[n]` to nil, without metamethods. An item that exists is
    /// changed without an allocation, so this does not raise. Does nothing if
    /// the value at `table` is not a table.
    #[inline]
    pub fn raw_clear_index(self, table: c_int, n: i64) {
        let table = self.absolute(table);
        let is_there = self.raw_get_index(table, n) != Kind::Nil;
        self.pop(1);
        if is_there {
            self.push_integer(n);
            self.push_nil();
            // SAFETY: the value is a table, and the key is in it.
            unsafe { sys::lua_rawset(self.raw, table) }
        }
    }

    /// Pops a value into `table[n]`, without metamethods, if that item exists.
    /// Otherwise the value is only popped. An item that exists is changed
    /// without an allocation, so this does not raise. `table` is absolute.
    #[inline]
    pub fn raw_replace_index(self, table: c_int, n: c_int) {
        let is_there = self.raw_get_index(table, n.into()) != Kind::Nil;
        self.pop(1);
        if !is_there {
            return self.pop(1);
        }
        // SAFETY: the value is a table, and the key is in it.
        unsafe { compat::rawseti(self.raw, table, n) }
    }

    /// Pushes the value that the module keeps in the registry under `key`.
    #[inline]
    pub fn registry(self, key: &'static RegistryKey) -> Kind {
        // SAFETY: by the rules of the stack. The registry is a table.
        Kind::of(unsafe { compat::rawgetp(self.raw, compat::REGISTRYINDEX, key.address()) })
    }

    /// Replaces the key on top by the table's next key and its value. At the
    /// end of the table it pops the key and returns false.
    ///
    /// # Safety
    /// A table is at `table`. The key is nil, or was pushed by this function
    /// for that table, and no field was added to the table since: Lua raises
    /// for a key that it does not find.
    #[inline]
    pub unsafe fn next(self, table: c_int) -> bool {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: by the rules of the stack and the contract.
        unsafe { sys::lua_next(self.raw, table) != 0 }
    }

    /// Pushes the value's metatable. If it has none, pushes nothing and returns
    /// false.
    #[inline]
    pub fn push_metatable(self, index: c_int) -> bool {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_getmetatable(self.raw, index) != 0 }
    }

    /// Whether the two values are equal, without metamethods.
    pub fn raw_equal(self, a: c_int, b: c_int) -> bool {
        // SAFETY: by the rules of the stack.
        unsafe { sys::lua_rawequal(self.raw, a, b) != 0 }
    }

    /// Calls the function below the topmost `args` values, in protected mode.
    /// Its results, or the value of an error, replace the function and its
    /// arguments.
    #[inline]
    pub fn call(self, args: c_int, results: c_int) -> std::result::Result<(), Raised> {
        debug_assert!(self.top() > args);
        // SAFETY: by the rules of the stack. Any value may be in the function's
        // place, and pcall itself does not raise.
        match unsafe { compat::pcall(self.raw, args, results, 0) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Runs `body`, which may raise, in a protected call. It gets a stack frame
    /// of its own that begins with the topmost `args` values, and returns how
    /// many results it has pushed. The results replace those values. An error's
    /// value replaces them too, and then the method returns
    /// [`super::Cause::RaiseTop`]. A lack of memory for the call is such an
    /// error.
    ///
    /// `body` should borrow all values that it needs. An error leaves `body`
    /// without running destructors, so neither `body` nor a function that it
    /// calls may own anything while it uses the [`Writer`].
    pub fn protect<F>(self, args: c_int, mut body: F) -> Result<c_int>
    where
        F: FnMut(&Writer<'_>) -> c_int,
    {
        const {
            assert!(!std::mem::needs_drop::<F>(), "the body must borrow");
        }
        let base = self.top() - args;
        self.run(args, compat::MULTRET, 0, &mut body)?;
        Ok(self.top() - base)
    }

    /// The same for a body without arguments and with one result. An error's
    /// value is passed to the message handler at the absolute index `handler`.
    pub fn protect_handled<F>(self, handler: c_int, mut body: F) -> std::result::Result<(), Raised>
    where
        F: FnMut(&Writer<'_>) -> c_int,
    {
        const {
            assert!(!std::mem::needs_drop::<F>(), "the body must borrow");
        }
        self.run(0, 1, handler, &mut body)
    }

    fn run(
        self,
        args: c_int,
        results: c_int,
        handler: c_int,
        body: &mut dyn FnMut(&Writer<'_>) -> c_int,
    ) -> std::result::Result<(), Raised> {
        if !self.push_run_body() {
            // SAFETY: by the rules of the stack: the error goes below the
            // arguments.
            unsafe { compat::insert(self.raw, -(args + 1)) };
            self.pop(args);
            return Err(Raised);
        }
        if args > 0 {
            // SAFETY: by the rules of the stack: the function goes below its
            // arguments.
            unsafe { compat::insert(self.raw, -(args + 1)) };
        }
        // SAFETY: only the lifetime is erased. `run_body` takes the pointer out
        // of `BODY` during the call below, while the body is alive.
        let body: Body = unsafe { std::mem::transmute(NonNull::from(body)) };
        let outer = BODY.replace(Some(body));
        // SAFETY: the function and its arguments are on the stack; pcall itself
        // does not raise.
        let status = unsafe { compat::pcall(self.raw, args, results, handler) };
        BODY.set(outer);
        match status {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Pushes the C function that runs a body. Returns true.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    fn push_run_body(self) -> bool {
        // SAFETY: by the rules of the stack. These Luas allocate nothing, so
        // this does not raise.
        unsafe { compat::pushcfunction(self.raw, Some(run_body)) };
        true
    }

    /// Pushes the C function that runs a body. If there is no memory for it,
    /// pushes that error and returns false. Making the function allocates, so
    /// it is made once and kept. `lua_cpcall` makes it without needing a
    /// function on the stack.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn push_run_body(self) -> bool {
        if self.registry(&RUN_BODY) == Kind::Function {
            return true;
        }
        self.pop(1);
        // SAFETY: by the rules of the stack. lua_cpcall does not raise; it
        // pushes the value of an error.
        let status =
            unsafe { sys::lua_cpcall(self.raw, Some(keep_run_body), std::ptr::null_mut()) };
        status == 0 && self.registry(&RUN_BODY) == Kind::Function
    }
}

/// The registry keeps `run_body` under this key.
#[cfg(any(feature = "lua51", feature = "luajit"))]
static RUN_BODY: RegistryKey = RegistryKey::unique();

#[cfg(any(feature = "lua51", feature = "luajit"))]
unsafe extern "C-unwind" fn keep_run_body(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    // SAFETY: this is made for Lua to call.
    unsafe { writer.function(Some(run_body)) };
    writer.set_registry(&RUN_BODY);
    0
}

type Body = NonNull<dyn FnMut(&Writer<'_>) -> c_int>;

thread_local! {
    /// The body that the next call of `run_body` runs. It is not passed as a
    /// Lua value, because scripts could forge one, or making one would
    /// allocate.
    static BODY: Cell<Option<Body>> = const { Cell::new(None) };
}

/// Runs one body, in the protected call that [`State::run`] makes.
unsafe extern "C-unwind" fn run_body(raw: *mut lua_State) -> c_int {
    let Some(mut body) = BODY.take() else {
        // A script took this function out of the registry and called it.
        return 0;
    };
    // SAFETY: Lua calls with a live state; this frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    // SAFETY: `State::run` waits for this call, and passed the pointer to it
    // alone.
    (unsafe { body.as_mut() })(&writer)
}
