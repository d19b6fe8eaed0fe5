//! The half of Lua's API that cannot raise: reading values, moving them about,
//! and calling under protection.

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::ptr::NonNull;

use super::{Result, StackError, Writer, compat, lua_State, sys};

/// A `lua_State` during one call from Lua. Everything here leaves Lua free to
/// be called from frames that own things.
///
/// Values read from the stack are borrowed for `'a`, the call: the stack slot
/// that they were read from must stay in place meanwhile, which holds for
/// arguments as long as nothing replaces them.
#[derive(Clone, Copy)]
pub struct State<'a> {
    raw: *mut lua_State,
    call: PhantomData<&'a lua_State>,
}

/// A static that the module's values in the registry are found by: its address
/// is the key.
pub struct RegistryKey {
    // Statics without a size may share an address.
    _byte: u8,
}

impl RegistryKey {
    pub const fn unique() -> RegistryKey {
        RegistryKey { _byte: 0 }
    }

    pub(super) fn address(&'static self) -> *const c_void {
        std::ptr::from_ref(self).cast()
    }
}

/// A protected call ended with an error, whose value is on top of the stack.
#[derive(Debug)]
pub struct Raised;

/// A value's type: Lua's own tag of it, where it has one in all Luas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Kind {
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
    /// A type of a Lua extension (LuaJIT's cdata).
    Other,
}

impl Kind {
    #[inline(always)]
    fn of(tag: c_int) -> Kind {
        // Nearly always: what follows knows it from the branch.
        match tag {
            // SAFETY: each of them is a kind's.
            compat::TNONE..=compat::TTHREAD => unsafe { std::mem::transmute::<c_int, Kind>(tag) },
            _ => Kind::other(),
        }
    }

    #[cold]
    fn other() -> Kind {
        Kind::Other
    }

    /// As Lua's `type` names it.
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

impl<'a> State<'a> {
    /// # Safety
    /// `raw` is a live Lua state that this thread may use for all of `'a`, and
    /// the module is bound to its Lua.
    pub unsafe fn new(raw: *mut lua_State) -> State<'a> {
        State {
            raw,
            call: PhantomData,
        }
    }

    pub fn raw(self) -> *mut lua_State {
        self.raw
    }

    #[inline]
    pub fn top(self) -> c_int {
        // SAFETY: the state is live (`new`), as in every block of this impl
        // that says no more.
        unsafe { sys::lua_gettop(self.raw) }
    }

    /// A stack index that counts from the bottom.
    pub fn absolute(self, index: c_int) -> c_int {
        if index < 0 {
            self.top() + 1 + index
        } else {
            index
        }
    }

    /// Drop everything above `top`.
    #[inline]
    pub fn set_top(self, top: c_int) {
        debug_assert!(top <= self.top());
        // SAFETY: the stack only shrinks, and no to-be-closed slot is ours.
        unsafe { sys::lua_settop(self.raw, top) }
    }

    /// Drop the topmost `n` values.
    #[inline]
    pub fn pop(self, n: c_int) {
        debug_assert!(n <= self.top());
        // SAFETY: as for `set_top`.
        unsafe { sys::lua_settop(self.raw, -n - 1) }
    }

    #[inline]
    pub fn kind(self, index: c_int) -> Kind {
        // SAFETY: any acceptable index may be asked for; callers pass
        // positions of arguments or of what they pushed.
        Kind::of(unsafe { sys::lua_type(self.raw, index) })
    }

    /// Whether the argument is absent or nil.
    pub fn is_none_or_nil(self, index: c_int) -> bool {
        matches!(self.kind(index), Kind::None | Kind::Nil)
    }

    pub fn boolean(self, index: c_int) -> bool {
        // SAFETY: as in `kind`.
        unsafe { sys::lua_toboolean(self.raw, index) != 0 }
    }

    /// A string's bytes. A number is not a string here: see [`State::to_bytes`].
    #[inline]
    pub fn bytes(self, index: c_int) -> Option<&'a [u8]> {
        match self.kind(index) {
            // SAFETY: that is what is there.
            Kind::String => Some(unsafe { self.string(index) }),
            _ => None,
        }
    }

    /// The same, of what is known to be one.
    ///
    /// # Safety
    /// A string is at `index`.
    #[inline(always)]
    pub unsafe fn string(self, index: c_int) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: a string is not converted, so nothing is allocated; its bytes
        // stay while the slot holds it, which is what `'a` stands for.
        unsafe {
            let text = sys::lua_tolstring(self.raw, index, &mut len);
            std::slice::from_raw_parts(text.cast(), len)
        }
    }

    /// A number, of whatever subtype.
    #[inline]
    pub fn number(self, index: c_int) -> Option<f64> {
        if self.kind(index) != Kind::Number {
            return None;
        }
        // SAFETY: the value is a number.
        Some(unsafe { compat::tonumber(self.raw, index) })
    }

    /// A number that is an integer exactly, of whatever subtype.
    #[inline(always)]
    pub fn integer(self, index: c_int) -> Option<i64> {
        if self.kind(index) != Kind::Number {
            return None;
        }
        // SAFETY: the value is a number.
        unsafe { compat::exact_integer(self.raw, index) }
    }

    // The next three functions follow Lua's coercions: they accept what Lua's own
    // functions accept as a string or a number.

    /// The bytes of a string, or of a number's text, which then takes the
    /// number's place on the stack. Not for a key that [`State::next`] pushed:
    /// the walk would lose its place. Fails only without memory.
    #[inline]
    pub fn to_bytes(self, index: c_int) -> Result<Option<&'a [u8]>> {
        match self.kind(index) {
            // SAFETY: a string is there.
            Kind::String => Ok(Some(unsafe { self.string(index) })),
            Kind::Number => self.number_to_bytes(index),
            _ => Ok(None),
        }
    }

    /// Lua's conversion allocates, and so may raise: it is protected.
    #[cold]
    fn number_to_bytes(self, index: c_int) -> Result<Option<&'a [u8]>> {
        let index = self.absolute(index);
        self.push_value(index);
        self.protect(1, |writer| {
            writer.number_to_string(1);
            1
        })?;
        self.replace(index);
        // A hook can put anything in its place.
        Ok(self.bytes(index))
    }

    /// A number, or a string that Lua reads as one. The value stays as it is.
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

    /// A number that is an integer exactly, or a string that Lua reads as one.
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
        // SAFETY: as in `kind`; nothing is allocated.
        unsafe { sys::lua_isnumber(self.raw, index) != 0 }
    }

    /// Whether the number at `index` has the integer subtype of Lua 5.3.
    #[inline]
    pub fn has_integer_subtype(self, index: c_int) -> bool {
        // SAFETY: as in `kind`.
        unsafe { compat::isinteger(self.raw, index) }
    }

    /// The address of a light or full userdata's block.
    #[inline]
    pub fn userdata(self, index: c_int) -> Option<NonNull<c_void>> {
        // SAFETY: as in `kind`.
        NonNull::new(unsafe { sys::lua_touserdata(self.raw, index) })
    }

    /// A table's border, a string's or userdata's length in bytes; no metamethods.
    #[inline]
    pub fn raw_len(self, index: c_int) -> usize {
        // SAFETY: as in `kind`.
        unsafe { compat::rawlen(self.raw, index) }
    }

    /// The address that identifies a table, function, thread or userdata.
    #[inline]
    pub fn identity(self, index: c_int) -> *const c_void {
        // SAFETY: as in `kind`.
        unsafe { sys::lua_topointer(self.raw, index) }
    }

    /// Scratch for `n` more values than the call may push anyway.
    pub fn reserve(self, n: c_int) -> std::result::Result<(), StackError> {
        // SAFETY: never raises, see there.
        unsafe { compat::checkstack(self.raw, n) }
    }

    // What pushes one value below needs a free slot: entry points have at
    // least `LUA_MINSTACK` of them, loops and recursion `reserve`.

    pub fn push_nil(self) {
        // SAFETY: there is a free slot.
        unsafe { sys::lua_pushnil(self.raw) }
    }

    pub fn push_value(self, index: c_int) {
        // SAFETY: there is a free slot.
        unsafe { sys::lua_pushvalue(self.raw, index) }
    }

    pub fn push_boolean(self, value: bool) {
        // SAFETY: there is a free slot.
        unsafe { sys::lua_pushboolean(self.raw, value.into()) }
    }

    pub fn push_integer(self, n: i64) {
        // SAFETY: there is a free slot.
        unsafe { compat::pushinteger(self.raw, n) }
    }

    /// Put the value on top, which goes, in the place of the one at the absolute
    /// `index`.
    #[inline]
    pub fn replace(self, index: c_int) {
        debug_assert!(0 < index && index < self.top());
        // SAFETY: the slot is below the top.
        unsafe {
            compat::insert(self.raw, index);
            compat::remove(self.raw, index + 1);
        }
    }

    /// Push `table[n]`, without metamethods.
    #[inline]
    pub fn raw_get_index(self, table: c_int, n: i64) -> Kind {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: the value is a table and there is a free slot.
        Kind::of(unsafe { compat::rawgeti(self.raw, table, n) })
    }

    /// Replace the key on top by `table[key]`, without metamethods.
    #[inline]
    pub fn raw_get(self, table: c_int) -> Kind {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: the value is a table, and reading one raises for no key.
        Kind::of(unsafe { compat::rawget(self.raw, table) })
    }

    /// Take `table[n]` away, without metamethods. What is there already is
    /// changed without an allocation, so this does not raise.
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

    /// Put the value on top, which goes, in the place of `table[n]`, without
    /// metamethods. What is there already is changed without an allocation, so
    /// this does not raise; where nothing is there it stays so.
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

    /// Push what the module keeps in the registry under `key`.
    #[inline]
    pub fn registry(self, key: &'static RegistryKey) -> Kind {
        // SAFETY: the registry is a table and there is a free slot.
        Kind::of(unsafe { compat::rawgetp(self.raw, compat::REGISTRYINDEX, key.address()) })
    }

    /// Replace the key on top by the table's next key and value; at the end
    /// remove it and return false. The table must not be assigned to meanwhile.
    #[inline]
    pub fn next(self, table: c_int) -> bool {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: the value is a table, and lua_next raises only for a key
        // that is not in it: the key came from here, or is nil.
        unsafe { sys::lua_next(self.raw, table) != 0 }
    }

    /// Push the value's metatable, or nothing and return false.
    #[inline]
    pub fn push_metatable(self, index: c_int) -> bool {
        // SAFETY: there is a free slot.
        unsafe { sys::lua_getmetatable(self.raw, index) != 0 }
    }

    pub fn raw_equal(self, a: c_int, b: c_int) -> bool {
        // SAFETY: as in `kind`.
        unsafe { sys::lua_rawequal(self.raw, a, b) != 0 }
    }

    /// Call the function below the topmost `args` values: its results take
    /// their place, or what it raised does.
    #[inline]
    pub fn call(self, args: c_int, results: c_int) -> std::result::Result<(), Raised> {
        debug_assert!(self.top() > args);
        // SAFETY: a function and its arguments are on the stack; pcall itself
        // does not raise.
        match unsafe { compat::pcall(self.raw, args, results, 0) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Run `body`, which may raise, under a protected call, in a stack frame
    /// of its own that starts with the topmost `args` values. What it leaves
    /// as results takes their place; so does what it raises, or a lack of
    /// memory before it began, and [`super::Cause::RaiseTop`] is returned.
    ///
    /// `body` borrows what it needs: a jump out of it runs no destructor of
    /// its own, so neither it nor what it calls may own anything that has one.
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

    /// The same, with one result; the function at `handler` is called with
    /// what is raised.
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
        job: &mut dyn FnMut(&Writer<'_>) -> c_int,
    ) -> std::result::Result<(), Raised> {
        if !self.push_protected() {
            // SAFETY: the error goes below the arguments, which go.
            unsafe { compat::insert(self.raw, -(args + 1)) };
            self.pop(args);
            return Err(Raised);
        }
        if args > 0 {
            // SAFETY: there is a free slot, and the function goes below its arguments.
            unsafe { compat::insert(self.raw, -(args + 1)) };
        }
        // SAFETY: only the lifetime is erased: the pointer is taken out again
        // before the call below returns, while the job is alive.
        let job: Job = unsafe { std::mem::transmute(NonNull::from(job)) };
        let outer = JOB.replace(Some(job));
        // SAFETY: the function and its arguments are on the stack; pcall itself
        // does not raise.
        let status = unsafe { compat::pcall(self.raw, args, results, handler) };
        JOB.set(outer);
        match status {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Push the C function that runs a job.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    fn push_protected(self) -> bool {
        // SAFETY: there is a free slot, and in these Luas nothing is allocated.
        unsafe { compat::pushcfunction(self.raw, Some(run_job)) };
        true
    }

    /// Push the C function that runs a job, or the error that there is no
    /// memory for it. Making it allocates, so it is made once, under Lua 5.1's
    /// own way to protect a C function.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn push_protected(self) -> bool {
        if self.registry(&RUN_JOB) == Kind::Function {
            return true;
        }
        self.pop(1);
        // SAFETY: lua_cpcall does not raise; on an error it pushes the value.
        let status = unsafe { sys::lua_cpcall(self.raw, Some(keep_run_job), std::ptr::null_mut()) };
        status == 0 && self.registry(&RUN_JOB) == Kind::Function
    }
}

/// Under which the registry keeps `run_job`.
#[cfg(any(feature = "lua51", feature = "luajit"))]
static RUN_JOB: RegistryKey = RegistryKey::unique();

#[cfg(any(feature = "lua51", feature = "luajit"))]
unsafe extern "C-unwind" fn keep_run_job(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    writer.function(Some(run_job));
    writer.set_registry(&RUN_JOB);
    0
}

type Job = NonNull<dyn FnMut(&Writer<'_>) -> c_int>;

thread_local! {
    /// What the next call of `run_job` runs. A Lua value could hold the
    /// pointer only by allocating, or where scripts can forge it.
    static JOB: Cell<Option<Job>> = const { Cell::new(None) };
}

/// Runs one job, in the protected call that [`State::protect`] makes.
unsafe extern "C-unwind" fn run_job(raw: *mut lua_State) -> c_int {
    let Some(mut job) = JOB.take() else {
        // Only a script that dug it out of the registry gets here.
        return 0;
    };
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    let writer = unsafe { Writer::new(raw) };
    // SAFETY: `protect` waits for this call to end, and gave the pointer to it alone.
    (unsafe { job.as_mut() })(&writer)
}
