//! Typed userdata: a Rust value that lives in a Lua block, is found again only
//! under its own class, and is dropped once, by the collector or earlier.

use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::sync::OnceLock;

use super::external_memory;
use super::{
    Error, Kind, RegistryKey, Result, State, Writer, compat, lua_CFunction, upvalue_index,
};

/// What makes a class itself: the address identifies it.
pub struct ClassInfo {
    pub key: RegistryKey,
    /// As the C bindings called its metatable ("FLUX.handle").
    pub name: &'static CStr,
    /// As an error names the argument ("flux handle").
    pub label: &'static str,
    word: OnceLock<usize>,
}

/// A type whose values Lua holds. `Clone` is cheap (a counted reference): a
/// method works on a clone, so that nothing it calls can take the value from
/// under it.
pub trait Class: Clone + 'static {
    fn info() -> &'static ClassInfo;

    /// How many bytes the value has outside Lua, about: the collector, which
    /// would else take them for nothing, is told.
    #[inline]
    fn external_memory(&self) -> usize {
        match std::mem::needs_drop::<Self>() {
            true => 64,
            false => 0,
        }
    }

    /// What the collector does with the value of a userdata that it takes.
    fn collected(self) {}
}

/// What a userdata's block holds.
#[repr(C)]
struct Block<T> {
    seal: Seal,
    /// None once it was closed or collected.
    value: Option<T>,
}

/// What tells a class's blocks from all others: a word that nobody can guess,
/// as a script may have ways to write what it likes into a userdata. A finalizer
/// changes it, so that it is not left over in memory that was a block's; where
/// there is none, the word is of the metatable too that the block was born with,
/// and must still have. It is a word as garbage is the dearer the larger it is.
#[derive(Clone, Copy)]
struct Seal(usize);

impl Seal {
    /// The bit that says whether the block was given a table of its own. Lua
    /// 5.1's userdata are born with somebody else's.
    const HAS_TABLE: usize = 1;

    /// Of a block that has the metatable.
    #[inline]
    fn of<T: Class>(metatable: *const c_void) -> Seal {
        match std::mem::needs_drop::<T>() {
            true => Seal(T::info().word()),
            false => Seal((T::info().word() ^ metatable.addr()) & !Seal::HAS_TABLE),
        }
    }

    /// Of one that was collected.
    #[inline]
    fn collected<T: Class>() -> Seal {
        Seal(!T::info().word() & !Seal::HAS_TABLE)
    }

    /// Whether they are the same, with a table or without.
    #[inline]
    fn is(self, other: Seal) -> bool {
        self.0 & !Seal::HAS_TABLE == other.0
    }
}

impl ClassInfo {
    pub const fn new(name: &'static CStr, label: &'static str) -> ClassInfo {
        ClassInfo {
            key: RegistryKey::unique(),
            name,
            label,
            word: OnceLock::new(),
        }
    }

    /// One of its own, which nothing known leads to.
    #[inline]
    fn word(&self) -> usize {
        let make = || RandomState::new().hash_one(self.name) as usize & !Seal::HAS_TABLE;
        *self.word.get_or_init(make)
    }
}

/// A userdata that was just made.
pub struct NewObject<T>(*mut Block<T>);

impl<T: Class> NewObject<T> {
    /// Give the value to one that was made without.
    ///
    /// # Safety
    /// The stack holds the userdata.
    pub unsafe fn fill(&self, value: T) {
        external_memory::count(value.external_memory());
        // SAFETY: the block lives; a value that it has meanwhile goes, and
        // methods hold clones.
        unsafe { (*self.0).value = Some(value) };
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
    /// Its value; none once it was closed.
    ///
    /// # Safety
    /// Nothing calls Lua while it is borrowed: that might take the value away.
    #[inline]
    pub unsafe fn borrow(self) -> Option<&'a T> {
        // SAFETY: a block of this class, which the stack holds.
        unsafe { (*self.block).value.as_ref() }
    }

    /// Push the table of Lua values that it keeps alive, its userdata being at
    /// `index`; or nothing and return false where it has none yet.
    #[inline]
    pub fn push_table(self, state: State<'_>, index: c_int) -> bool {
        // SAFETY: a block of this class, which the stack holds.
        let seal = unsafe { (*self.block).seal };
        if seal.0 & Seal::HAS_TABLE == 0 {
            return false;
        }
        // SAFETY: a userdata is at `index`, and there is a free slot.
        let kind = unsafe { compat::getuservalue(state.raw(), index) };
        // The debug library can put anything in its place.
        let is_table = kind == compat::TTABLE;
        if !is_table {
            state.pop(1);
        }
        is_table
    }

    /// Have it keep the table on top, which goes, its userdata being at the
    /// absolute `index`. Does not raise.
    #[inline]
    pub fn keep_table(self, state: State<'_>, index: c_int) {
        // SAFETY: a userdata is at `index` and a table on top; the block is of
        // this class, and the stack holds it.
        unsafe {
            compat::setuservalue(state.raw(), index);
            (*self.block).seal.0 |= Seal::HAS_TABLE;
        }
    }

    /// Give it another value, while the one it has is not borrowed.
    pub fn set(self, value: T)
    where
        T: Copy,
    {
        // SAFETY: a block of this class, which the stack holds; what was there
        // has no destructor.
        unsafe { (*self.block).value = Some(value) };
    }
}

impl<'a> State<'a> {
    /// The object at `index`, if it is one of `T`'s.
    pub fn find<T: Class>(self, index: c_int) -> Option<Object<'a, T>> {
        let (block, seal) = self.sealed::<T>(index)?;
        let metatable = match std::mem::needs_drop::<T>() {
            true => std::ptr::null(),
            false => self.metatable(index)?,
        };
        seal.is(Seal::of::<T>(metatable)).then_some(Object {
            block,
            call: PhantomData,
        })
    }

    /// The userdata at `index`, if it is as large as a block, and what it has
    /// where a block has its seal.
    #[inline(always)]
    fn sealed<T: Class>(self, index: c_int) -> Option<(*mut Block<T>, Seal)> {
        let block: *mut Block<T> = self.userdata(index)?.as_ptr().cast();
        // A light userdata has no length.
        if self.raw_len(index) < size_of::<Block<T>>() {
            return None;
        }
        // SAFETY: a full userdata, large enough, and aligned as Lua aligns all;
        // any bytes make a seal.
        let seal = unsafe { (&raw const (*block).seal).read() };
        Some((block, seal))
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

    /// Whether an object of `T` at `index` was collected, and then kept by a
    /// finalizer's doing.
    fn was_collected<T: Class>(self, index: c_int) -> bool {
        self.sealed::<T>(index)
            .is_some_and(|(_, seal)| seal.is(Seal::collected::<T>()))
    }

    /// Push what the class's metatable has under the key at `key`, or nothing
    /// and return false. Only for a class's `__index`, and so is [`State::field`].
    #[inline]
    pub fn method(self, key: c_int) -> bool {
        let is_there = self.upvalue_at(METATABLE, key) != Kind::Nil;
        if !is_there {
            self.pop(1);
        }
        is_there
    }

    /// The field that the key at `key` names, of those that the class was made
    /// with.
    #[inline]
    pub fn field<F: Copy>(self, key: c_int, fields: &[(&CStr, F)]) -> Option<F> {
        let position = match self.upvalue_at(FIELDS, key) {
            Kind::Number => self.integer(-1).and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        self.pop(1);
        fields.get(position?).map(|&(_, field)| field)
    }

    /// Push what the table that is an upvalue has under the key at `key`.
    #[inline(always)]
    fn upvalue_at(self, upvalue: c_int, key: c_int) -> Kind {
        self.push_value(key);
        let table = upvalue_index(upvalue);
        // The debug library can put anything in its place.
        match self.kind(table) {
            Kind::Table => self.raw_get(table),
            _ => {
                self.pop(1);
                self.push_nil();
                Kind::Nil
            }
        }
    }

    /// Whether an object of this class is at `index`, open or not.
    pub fn is_object<T: Class>(self, index: c_int) -> bool {
        self.find::<T>(index).is_some() || self.was_collected::<T>(index)
    }

    /// The object that an argument must be, without a claim of one's own to it.
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

    /// The object at `index`, whether it is still open or not.
    #[inline]
    pub fn object<T: Class>(self, index: c_int) -> Option<Option<T>> {
        match self.find::<T>(index) {
            // SAFETY: a clone is made without Lua.
            Some(object) => Some(unsafe { object.borrow() }.cloned()),
            None => self.was_collected::<T>(index).then_some(None),
        }
    }

    /// The object that an argument must be.
    pub fn check_object<T: Class>(self, index: c_int) -> Result<T> {
        let object = self.find_object::<T>(index)?;
        // SAFETY: a clone is made without Lua.
        let value = unsafe { object.borrow() }.cloned();
        value.ok_or_else(|| closed::<T>(index))
    }

    /// Push the table of Lua values that the object keeps alive, or nothing
    /// and return false where it has none yet.
    #[inline]
    pub fn object_table<T: Class>(self, index: c_int) -> bool {
        let object = self.find::<T>(index);
        object.is_some_and(|object| object.push_table(self, index))
    }

    /// Take the object out of its userdata, for its finalizer.
    fn collect_object<T: Class>(self, index: c_int) -> Option<T> {
        let block = self.find::<T>(index)?.block;
        // SAFETY: a block of this class; methods hold clones, and borrow only
        // what they copy at once.
        unsafe {
            (*block).seal = Seal::collected::<T>();
            (*block).value.take()
        }
    }

    /// Take the object out of its userdata, for its `close`.
    pub fn take_object<T: Class>(self, index: c_int) -> Option<T> {
        let block = self.find::<T>(index)?.block;
        // SAFETY: as above.
        unsafe { (*block).value.take() }
    }
}

#[cold]
pub fn closed<T: Class>(index: c_int) -> Error {
    Error::argument(index, format!("the {} is closed", T::info().label))
}

impl Writer<'_> {
    /// Push a userdata that takes the value; it stays with the caller if an
    /// allocation fails.
    pub fn new_object<T: Class>(&self, value: &mut Option<T>) {
        self.new_object_with(|| value.take());
    }

    /// Push a userdata with a value that is made once there is room for it.
    pub fn new_object_with<T: Class>(&self, make: impl FnOnce() -> Option<T>) -> NewObject<T> {
        self.new_object_of(compat::REGISTRYINDEX, make)
    }

    /// The same, where an upvalue of the running function has the class's
    /// metatable, which saves looking for it.
    pub fn new_object_of<T: Class>(
        &self,
        upvalue: c_int,
        make: impl FnOnce() -> Option<T>,
    ) -> NewObject<T> {
        const {
            // Lua aligns blocks for pointers and numbers.
            assert!(align_of::<T>() <= align_of::<*const c_void>());
        }
        external_memory::tell(self);
        let block: *mut Block<T> = self.userdata(size_of::<Block<T>>()).cast();
        let state = self.state();
        // The debug library can put anything in the upvalue's place.
        match upvalue != compat::REGISTRYINDEX && state.kind(upvalue) == Kind::Table {
            true => state.push_value(upvalue),
            false => _ = state.registry(&T::info().key),
        }
        let seal = Seal::of::<T>(self.state().identity(-1));
        // SAFETY: the block is fresh and large enough; nothing here raises, so
        // that no finalizer ever sees it half made.
        unsafe {
            let value = make();
            external_memory::count(value.as_ref().map_or(0, T::external_memory));
            block.write(Block { seal, value });
        }
        self.set_metatable(-2);
        NewObject(block)
    }

    /// Push the table of Lua values that the object at `index` keeps alive; a
    /// new one the first time. Nothing is pushed for another value.
    #[inline]
    pub fn object_table<T: Class>(&self, index: c_int) -> bool {
        if self.state().object_table::<T>(index) {
            return true;
        }
        self.table(0, 1);
        self.state().push_value(-1);
        let is_object = self.set_object_table::<T>(index);
        if !is_object {
            self.state().pop(1);
        }
        is_object
    }

    /// Have the object at the absolute `index` keep the table on top, which
    /// goes; false for another value.
    pub fn set_object_table<T: Class>(&self, index: c_int) -> bool {
        let object = self.state().find::<T>(index);
        match object {
            Some(object) => object.keep_table(self.state(), index),
            None => self.state().pop(1),
        }
        object.is_some()
    }

    /// Make the class's metatable and leave it on the stack; `__name`, `__gc`
    /// where the value needs it, and the functions given are in it.
    pub fn new_class<T: Class>(&self, functions: &[(&CStr, lua_CFunction)]) {
        self.new_class_with_fields::<T, ()>(functions, &[]);
    }

    /// The same of a class whose objects have fields. Its `__index` finds them,
    /// and the functions, with [`State::field`] and [`State::method`].
    pub fn new_class_with_fields<T: Class, F>(
        &self,
        functions: &[(&CStr, lua_CFunction)],
        fields: &[(&CStr, F)],
    ) {
        // Where memory ran short it is there, and so may objects be that have it.
        if self.state().registry(&T::info().key) != Kind::Table {
            self.state().pop(1);
            self.table(0, functions.len() + 3);
            self.state().push_value(-1);
            self.set_registry(&T::info().key);
        }
        let metatable = self.state().top();
        for &(name, function) in functions {
            match name == c"__index" {
                true => self.index_closure(function, metatable, fields),
                false => self.function(function),
            }
            self.set_field(metatable, name);
        }
        // Without a finalizer a userdata, and all that hangs on it, is taken
        // in the collection that finds it, not in the next.
        if std::mem::needs_drop::<T>() {
            self.function(Some(collect::<T>));
            self.set_field(metatable, c"__gc");
        }
        self.bytes(T::info().name.to_bytes());
        self.set_field(metatable, c"__name");
        // Where C code that knew the C bindings looks for it.
        self.state().push_value(metatable);
        self.set_field(compat::REGISTRYINDEX, T::info().name);
    }

    fn index_closure<F>(&self, function: lua_CFunction, metatable: c_int, fields: &[(&CStr, F)]) {
        self.state().push_value(metatable);
        self.table(0, fields.len());
        for (position, (name, _)) in fields.iter().enumerate() {
            self.integer(position as i64);
            self.set_field(-2, name);
        }
        self.closure(function, 2);
    }
}

/// The upvalues of a class's `__index`: the metatable, where its methods are,
/// and its fields' positions by name.
const METATABLE: c_int = 1;
const FIELDS: c_int = 2;

unsafe extern "C-unwind" fn collect<T: Class>(raw: *mut super::lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    unsafe {
        super::finalize(raw, |state| {
            if let Some(value) = state.collect_object::<T>(1) {
                value.collected();
            }
        })
    }
}
