//! Typed userdata. A Rust value lives in a block of Lua's memory, can be found
//! only under its own class, and is dropped once, by the collector or earlier.
//! Other modules define the classes.

use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::external_memory;
use super::{
    Error, Kind, OnTop, Prepare, RegistryKey, Result, State, Writer, compat, lua_CFunction,
    lua_State, sys, upvalue_index,
};

/// The names of a class. The address of this static is the identity of the
/// class.
pub struct ClassInfo {
    /// The registry keeps the metatable under this key.
    pub key: RegistryKey,
    /// The C bindings' name for the metatable ("FLUX.handle").
    pub name: &'static CStr,
    /// The name in error texts ("flux handle").
    pub label: &'static str,
    tag: OnceLock<usize>,
}

/// A type whose values Lua holds. `Clone` is cheap (a counted reference): a
/// method works on a clone, so nothing that it calls can free the value that it
/// works on.
pub trait Class: Clone + 'static {
    /// Returns the class. Each type has a static of its own.
    fn info() -> &'static ClassInfo;

    /// The approximate number of bytes that the value occupies outside Lua's
    /// memory. It is reported to the collector, which sees only the small
    /// block.
    #[inline]
    fn external_memory(&self) -> usize {
        match std::mem::needs_drop::<Self>() {
            true => 64,
            false => 0,
        }
    }

    /// Called by the collector, in place of a plain drop.
    fn collected(self) {}
}

/// The content of a userdata.
#[repr(C)]
struct Block<T> {
    tag: Tag,
    /// None after the object was closed or collected.
    value: Option<T>,
}

/// A random word that identifies the class. Scripts may find ways to write into
/// a userdata, but they cannot guess this word.
///
/// A finalizer overwrites the tag, so no freed memory carries it. A class
/// without a destructor has no finalizer. The tag of its blocks is combined
/// with the address of their metatable, so it is valid only while the block has
/// the metatable that it was made with. The tag is a single word, which keeps
/// small blocks cheap to collect.
#[derive(Clone, Copy)]
struct Tag(usize);

impl Tag {
    /// This bit says whether the block has been given a table of its own. Lua
    /// 5.1 gives new userdata a table that others share.
    const HAS_TABLE: usize = 1;

    /// The tag of a block with this metatable.
    #[inline]
    fn of<T: Class>(metatable: *const c_void) -> Tag {
        match std::mem::needs_drop::<T>() {
            true => Tag(T::info().tag()),
            false => Tag((T::info().tag() ^ metatable.addr()) & !Tag::HAS_TABLE),
        }
    }

    /// The tag of a block that was collected.
    #[inline]
    fn collected<T: Class>() -> Tag {
        Tag(!T::info().tag() & !Tag::HAS_TABLE)
    }

    /// Whether the tags are equal, with a table or without.
    #[inline]
    fn is(self, other: Tag) -> bool {
        self.0 & !Tag::HAS_TABLE == other.0
    }
}

impl ClassInfo {
    /// Makes a class with these values of the fields.
    pub const fn new(name: &'static CStr, label: &'static str) -> ClassInfo {
        ClassInfo {
            key: RegistryKey::unique(),
            name,
            label,
            tag: OnceLock::new(),
        }
    }

    /// The class's random word.
    #[inline]
    fn tag(&self) -> usize {
        let make = || RandomState::new().hash_one(self.name) as usize & !Tag::HAS_TABLE;
        *self.tag.get_or_init(make)
    }
}

/// A userdata of class `T` that an entry point makes before its body runs, when
/// nothing is owned and Lua may raise its memory error. It has no value until
/// the body fills it. The call's first `ARGUMENTS` values stay below it; values
/// above them are dropped.
pub struct Preallocated<T, const ARGUMENTS: c_int>(PhantomData<T>);

impl<T: Class, const ARGUMENTS: c_int> Prepare for Preallocated<T, ARGUMENTS> {
    #[inline]
    unsafe fn prepare(raw: *mut lua_State) -> Self {
        // SAFETY: the state is live and no frame owns anything, by the contract
        // of `Prepare`; a call has slots for arguments that it was not given.
        let writer = unsafe {
            sys::lua_settop(raw, ARGUMENTS);
            Writer::new(raw)
        };
        writer.new_object_with::<T>(|| None);
        Preallocated(PhantomData)
    }
}

impl<T: Class, const ARGUMENTS: c_int> Preallocated<T, ARGUMENTS> {
    /// Gives the userdata its value, and returns it as the call's result.
    #[inline]
    pub fn fill(&self, state: State<'_>, value: T) -> Result<OnTop> {
        let index = ARGUMENTS + 1;
        // A debug hook can have replaced the userdata.
        let object = state.find_object::<T>(index)?;
        external_memory::add(value.external_memory());
        object.set(value);
        state.set_top(index);
        Ok(OnTop)
    }
}

/// A userdata of a class, for as long as it is on the stack.
pub struct Object<'a, T> {
    block: *mut Block<T>,
    call: PhantomData<&'a T>,
}

impl<T> Clone for Object<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Object<'_, T> {}

impl<'a, T: Class> Object<'a, T> {
    /// The object's value. None after it was closed.
    ///
    /// # Safety
    /// While the value is borrowed, nothing calls Lua, and nothing sets or takes
    /// the object's value.
    #[inline]
    pub unsafe fn borrow(self) -> Option<&'a T> {
        // SAFETY: the block is of this class, and on the stack; by the contract
        // nothing changes it.
        unsafe { (*self.block).value.as_ref() }
    }

    /// Pushes the table of Lua values that the object keeps alive. If it has
    /// none yet, pushes nothing and returns false.
    ///
    /// # Safety
    /// The object's userdata is at `index`.
    #[inline]
    pub unsafe fn push_table(self, state: State<'_>, index: c_int) -> bool {
        // SAFETY: the block is of this class, and on the stack.
        let tag = unsafe { (*self.block).tag };
        if tag.0 & Tag::HAS_TABLE == 0 {
            return false;
        }
        // SAFETY: a userdata is at `index`, and there is a free slot.
        let kind = unsafe { compat::getuservalue(state.raw(), index) };
        // The debug library can replace the table by any value.
        let is_table = kind == compat::TTABLE;
        if !is_table {
            state.pop(1);
        }
        is_table
    }

    /// Pops a table, which the object keeps alive from then on. Does not raise.
    ///
    /// # Safety
    /// The object's userdata is at the absolute `index`, and a table is on top.
    #[inline]
    pub unsafe fn keep_table(self, state: State<'_>, index: c_int) {
        // SAFETY: by the contract; the block is of this class, and on the stack.
        unsafe {
            compat::setuservalue(state.raw(), index);
            (*self.block).tag.0 |= Tag::HAS_TABLE;
        }
    }

    /// Replaces the object's value.
    #[inline]
    pub fn set(self, value: T) {
        // SAFETY: the block is of this class, and on the stack. Nobody borrows
        // the old value, by the contract of `borrow`.
        unsafe { (*self.block).value = Some(value) };
    }
}

impl<'a> State<'a> {
    /// Finds the object of class `T` at `index`. None for any other value, and
    /// for an object that was collected.
    pub fn find<T: Class>(self, index: c_int) -> Option<Object<'a, T>> {
        let (block, tag) = self.tagged::<T>(index)?;
        let metatable = match std::mem::needs_drop::<T>() {
            true => std::ptr::null(),
            false => self.metatable(index)?,
        };
        tag.is(Tag::of::<T>(metatable)).then_some(Object {
            block,
            call: PhantomData,
        })
    }

    /// The userdata at `index`, and the word at the place of a block's tag.
    /// None if the value is not a userdata, or is smaller than a block.
    #[inline(always)]
    fn tagged<T: Class>(self, index: c_int) -> Option<(*mut Block<T>, Tag)> {
        let block: *mut Block<T> = self.userdata(index)?.as_ptr().cast();
        // SAFETY: the value is a userdata. A light one has length 0.
        if unsafe { self.raw_len(index) } < size_of::<Block<T>>() {
            return None;
        }
        // SAFETY: this is a full userdata, large enough, and aligned as Lua
        // aligns all of them. Any bytes make a tag.
        let tag = unsafe { (&raw const (*block).tag).read() };
        Some((block, tag))
    }

    /// The address of the metatable.
    fn metatable(self, index: c_int) -> Option<*const c_void> {
        if !self.push_metatable(index) {
            return None;
        }
        let metatable = self.identity(-1);
        self.pop(1);
        Some(metatable)
    }

    /// Whether the value at `index` is an object of `T` that was collected. A
    /// script's finalizer can keep such an object alive.
    fn was_collected<T: Class>(self, index: c_int) -> bool {
        self.tagged::<T>(index)
            .is_some_and(|(_, tag)| tag.is(Tag::collected::<T>()))
    }

    /// Pushes the value that the class's metatable has under the key at `key`.
    /// If there is none, pushes nothing and returns false. Call this and
    /// [`State::field`] only in the `__index` of a class that was made with
    /// fields.
    #[inline]
    pub fn method(self, key: c_int) -> bool {
        let is_there = self.upvalue_at(METATABLE, key) != Kind::Nil;
        if !is_there {
            self.pop(1);
        }
        is_there
    }

    /// Finds the field that the key at `key` names. `fields` must be the fields
    /// that the class was made with.
    #[inline]
    pub fn field<F: Copy>(self, key: c_int, fields: &[(&CStr, F)]) -> Option<F> {
        let position = match self.upvalue_at(FIELDS, key) {
            Kind::Number => self.integer(-1).and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        self.pop(1);
        fields.get(position?).map(|&(_, field)| field)
    }

    /// Pushes the value that a table in an upvalue has under the key at `key`.
    #[inline(always)]
    fn upvalue_at(self, upvalue: c_int, key: c_int) -> Kind {
        self.push_value(key);
        // The debug library can replace the table by any value. Then the result
        // is nil.
        self.raw_get(upvalue_index(upvalue))
    }

    /// Whether an object of this class is at `index`. It may be closed.
    pub fn is_object<T: Class>(self, index: c_int) -> bool {
        self.find::<T>(index).is_some() || self.was_collected::<T>(index)
    }

    /// Returns the object that an argument must be, without a clone of its
    /// value. Fails if the argument is another value, or was collected.
    #[inline]
    pub fn find_object<T: Class>(self, index: c_int) -> Result<Object<'a, T>> {
        self.find(index).ok_or_else(|| self.no_object::<T>(index))
    }

    #[cold]
    fn no_object<T: Class>(self, index: c_int) -> Error {
        match self.was_collected::<T>(index) {
            true => closed::<T>(index),
            false => Error::expected(self, index, T::info().label),
        }
    }

    /// Clones the object at `index`. Returns None if the value is not an object
    /// of this class, and `Some(None)` if the object is closed.
    #[inline]
    pub fn object<T: Class>(self, index: c_int) -> Option<Option<T>> {
        match self.find::<T>(index) {
            // SAFETY: the value is cloned at once, and `clone` calls no Lua.
            Some(object) => Some(unsafe { object.borrow() }.cloned()),
            None => self.was_collected::<T>(index).then_some(None),
        }
    }

    /// Clones the object that an argument must be. Fails if it is another
    /// value, or closed.
    pub fn check_object<T: Class>(self, index: c_int) -> Result<T> {
        let object = self.find_object::<T>(index)?;
        // SAFETY: the value is cloned at once, and `clone` calls no Lua.
        let value = unsafe { object.borrow() }.cloned();
        value.ok_or_else(|| closed::<T>(index))
    }

    /// Pushes the table of Lua values that the object keeps alive. If it has
    /// none yet, pushes nothing and returns false.
    #[inline]
    pub fn object_table<T: Class>(self, index: c_int) -> bool {
        let object = self.find::<T>(index);
        // SAFETY: the object was found at this index.
        object.is_some_and(|object| unsafe { object.push_table(self, index) })
    }

    /// Takes the object out of its userdata, for its finalizer.
    fn collect_object<T: Class>(self, index: c_int) -> Option<T> {
        let block = self.find::<T>(index)?.block;
        // SAFETY: the block is of this class, and on the stack. Nobody borrows
        // the value, by the contract of `Object::borrow`.
        unsafe {
            (*block).tag = Tag::collected::<T>();
            (*block).value.take()
        }
    }

    /// Takes the object out of its userdata, for its `close`.
    pub fn take_object<T: Class>(self, index: c_int) -> Option<T> {
        let block = self.find::<T>(index)?.block;
        // SAFETY: as in `collect_object`.
        unsafe { (*block).value.take() }
    }
}

/// The error that the argument at `index` is a closed object.
#[cold]
pub fn closed<T: Class>(index: c_int) -> Error {
    Error::argument(index, format!("the {} is closed", T::info().label))
}

impl Writer<'_> {
    /// Pushes a userdata that takes the value. If an allocation fails, the value
    /// stays with the caller.
    pub fn new_object<T: Class>(&self, value: &mut Option<T>) {
        self.new_object_with(|| value.take());
    }

    /// Pushes a userdata with the value that `make` returns. `make` is called
    /// after all allocations.
    pub fn new_object_with<T: Class>(&self, make: impl FnOnce() -> Option<T>) {
        self.new_object_of(compat::REGISTRYINDEX, make);
    }

    /// The same, for a function that has the class's metatable in an upvalue.
    /// This is faster than looking it up in the registry.
    pub fn new_object_of<T: Class>(&self, upvalue: c_int, make: impl FnOnce() -> Option<T>) {
        const {
            // Lua aligns blocks for pointers and numbers.
            assert!(align_of::<T>() <= align_of::<*const c_void>());
        }
        external_memory::report(self);
        let block: *mut Block<T> = self.userdata(size_of::<Block<T>>()).cast();
        let state = self.state();
        // The debug library can replace either table by any value.
        match upvalue != compat::REGISTRYINDEX && state.kind(upvalue) == Kind::Table {
            true => state.push_value(upvalue),
            false => state.push_class_table(&T::info().key),
        }
        let tag = Tag::of::<T>(state.identity(-1));
        let value = make();
        external_memory::add(value.as_ref().map_or(0, T::external_memory));
        // SAFETY: the block is new and large enough. Nothing has raised since it
        // was made, and it gets its metatable last: no finalizer sees it before
        // it is complete. A table or nil is on top.
        unsafe {
            block.write(Block { tag, value });
            self.set_metatable_unchecked(-2);
        }
    }

    /// Pushes the table of Lua values that the object at `index` keeps alive.
    /// Makes the table if the object has none. Pushes nothing and returns false
    /// for a value of another class. `index` is absolute.
    #[inline]
    pub fn object_table<T: Class>(&self, index: c_int) -> bool {
        let state = self.state();
        if state.object_table::<T>(index) {
            return true;
        }
        self.table(0, 1);
        state.push_value(-1);
        match state.find::<T>(index) {
            Some(object) => {
                // SAFETY: the object was found at this index; a table is on top.
                unsafe { object.keep_table(state, index) };
                true
            }
            None => {
                state.pop(2);
                false
            }
        }
    }

    /// Makes the class's metatable and leaves it on the stack. It gets the given
    /// functions, `__name`, and `__gc` if the value has a destructor.
    ///
    /// # Safety
    /// For each function, as for [`Writer::function`].
    pub unsafe fn new_class<T: Class>(&self, functions: &[(&CStr, lua_CFunction)]) {
        // SAFETY: by the contract.
        unsafe { self.new_class_with_fields::<T, ()>(functions, &[]) };
    }

    /// The same for a class whose objects have fields. The given `__index` finds
    /// fields and functions with [`State::field`] and [`State::method`].
    ///
    /// # Safety
    /// For each function, as for [`Writer::function`].
    pub unsafe fn new_class_with_fields<T: Class, F>(
        &self,
        functions: &[(&CStr, lua_CFunction)],
        fields: &[(&CStr, F)],
    ) {
        let state = self.state();
        // If an earlier attempt failed for lack of memory, the registry has its
        // metatable. It is used again, as objects can have it already.
        if state.registry(&T::info().key) != Kind::Table {
            state.pop(1);
            self.table(0, functions.len() + 3);
            state.push_value(-1);
            self.set_registry(&T::info().key);
        }
        let metatable = state.top();
        for &(name, function) in functions {
            match name == c"__index" {
                // SAFETY: by the contract.
                true => unsafe { self.index_closure(function, metatable, fields) },
                // SAFETY: by the contract.
                false => unsafe { self.function(function) },
            }
            self.set_field(metatable, name);
        }
        // Lua frees a userdata without a finalizer, and all that it refers to,
        // in the first collection that finds it unreachable; with a finalizer,
        // in the second.
        if std::mem::needs_drop::<T>() {
            // SAFETY: this is a finalizer for `T`'s blocks.
            unsafe { self.function(Some(collect::<T>)) };
            self.set_field(metatable, c"__gc");
        }
        self.bytes(T::info().name.to_bytes());
        self.set_field(metatable, c"__name");
        // C code written for the C bindings looks for the metatable here.
        state.push_value(metatable);
        self.set_field(compat::REGISTRYINDEX, T::info().name);
    }

    /// Pushes a class's `__index` with its upvalues.
    ///
    /// # Safety
    /// As for [`Writer::function`].
    unsafe fn index_closure<F>(
        &self,
        function: lua_CFunction,
        metatable: c_int,
        fields: &[(&CStr, F)],
    ) {
        self.state().push_value(metatable);
        self.table(0, fields.len());
        for (position, (name, _)) in fields.iter().enumerate() {
            self.integer(position as i64);
            self.set_field(-2, name);
        }
        // SAFETY: by the contract.
        unsafe { self.closure(function, 2) };
    }
}

impl State<'_> {
    /// Pushes the metatable that the registry has under `key`, or nil.
    #[inline]
    fn push_class_table(self, key: &'static RegistryKey) {
        if self.registry(key) != Kind::Table {
            self.pop(1);
            self.push_nil();
        }
    }
}

/// The upvalue of a class's `__index` that is the metatable, with the methods.
const METATABLE: c_int = 1;
/// The upvalue of a class's `__index` that maps the names of fields to their
/// positions.
const FIELDS: c_int = 2;

/// Runs when the collector takes an object. A panic ends here, because a
/// finalizer has no caller to report it to.
unsafe extern "C-unwind" fn collect<T: Class>(raw: *mut lua_State) -> c_int {
    // SAFETY: Lua calls with a live state.
    let state = unsafe { State::new(raw) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if let Some(value) = state.collect_object::<T>(1) {
            value.collected();
        }
    }));
    0
}
