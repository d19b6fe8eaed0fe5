//! Typed userdata: a Rust value that lives in a Lua block, is found again only
//! under its own class, and is dropped once, by the collector or earlier.

use std::ffi::CStr;
use std::os::raw::{c_int, c_void};

use super::{Error, Key, Kind, Result, State, Writer, compat, lua_CFunction};

/// What makes a class itself: the address identifies it, in the registry and
/// in each block.
pub struct ClassInfo {
    pub key: Key,
    /// As the C bindings called its metatable ("FLUX.handle").
    pub name: &'static CStr,
    /// As an error names the argument ("flux handle").
    pub label: &'static str,
}

/// A type whose values Lua holds. `Clone` is cheap (a counted reference): a
/// method works on a clone, so that nothing it calls can take the value from
/// under it.
pub trait Class: Clone + 'static {
    fn info() -> &'static ClassInfo;

    /// What the collector does with the value of a userdata that it takes.
    fn collected(self) {}
}

/// What a userdata's block holds.
#[repr(C)]
struct Block<T> {
    class: *const ClassInfo,
    /// None once it was closed or collected.
    value: Option<T>,
    /// Whether it was given a table of its own. Lua 5.1's userdata are born
    /// with somebody else's.
    has_table: bool,
}

impl<'a> State<'a> {
    /// The block at `index`, if it is one of `T`'s: by its metatable, its
    /// size and its own word, as the debug library can forge the first.
    fn block<T: Class>(self, index: c_int) -> Option<*mut Block<T>> {
        if self.kind(index) != Kind::Userdata || self.raw_len(index) < size_of::<Block<T>>() {
            return None;
        }
        if !self.push_metatable(index) {
            return None;
        }
        self.registry(&T::info().key);
        let is_class = self.raw_equal(-1, -2);
        self.pop(2);
        if !is_class {
            return None;
        }
        let block: *mut Block<T> = self.userdata(index)?.as_ptr().cast();
        // SAFETY: the block is large enough, and aligned as Lua aligns all;
        // blocks that have our metatable were filled by `new_object`.
        let class = unsafe { (*block).class };
        std::ptr::eq(class, T::info()).then_some(block)
    }

    /// The object at `index`, whether it is still open or not.
    pub fn object<T: Class>(self, index: c_int) -> Option<Option<T>> {
        let block = self.block::<T>(index)?;
        // SAFETY: a block of this class, see `block`; the borrow ends here.
        Some(unsafe { (*block).value.clone() })
    }

    /// The object that an argument must be.
    pub fn check_object<T: Class>(self, index: c_int) -> Result<T> {
        match self.object(index) {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(Error::argument(
                index,
                format!("the {} is closed", T::info().label),
            )),
            None => Err(Error::expected(self, index, T::info().label)),
        }
    }

    /// Push the table of Lua values that the object keeps alive, or nothing
    /// and return false where it has none yet.
    pub fn object_table<T: Class>(self, index: c_int) -> bool {
        // SAFETY: a block of this class; the borrow ends here.
        let has_table = self
            .block::<T>(index)
            .is_some_and(|block| unsafe { (*block).has_table });
        if has_table {
            // SAFETY: a userdata is at `index`, and there is a free slot.
            unsafe { compat::getuservalue(self.raw(), index) };
        }
        has_table
    }

    /// Take the object out of its userdata, for its finalizer or its `close`.
    pub fn take_object<T: Class>(self, index: c_int) -> Option<T> {
        let block = self.block::<T>(index)?;
        // SAFETY: a block of this class; methods hold clones, never borrows.
        unsafe { (*block).value.take() }
    }
}

impl Writer<'_> {
    /// Push a userdata that takes the value; it stays with the caller if an
    /// allocation fails.
    pub fn new_object<T: Class>(&self, value: &mut Option<T>) {
        self.new_object_with(|| value.take());
    }

    /// Push a userdata with a value that is made once there is room for it.
    pub fn new_object_with<T: Class>(&self, make: impl FnOnce() -> Option<T>) {
        const {
            // Lua aligns blocks for pointers and numbers.
            assert!(align_of::<T>() <= align_of::<*const c_void>());
        }
        let block: *mut Block<T> = self.userdata(size_of::<Block<T>>()).cast();
        // SAFETY: the block is fresh and large enough; nothing here raises, so
        // that no finalizer ever sees it half made.
        unsafe {
            block.write(Block {
                class: T::info(),
                value: make(),
                has_table: false,
            });
        }
        self.state().registry(&T::info().key);
        self.set_metatable(-2);
    }

    /// Push the table of Lua values that the object at `index` keeps alive; a
    /// new one the first time. Nothing is pushed for another value.
    pub fn object_table<T: Class>(&self, index: c_int) -> bool {
        if self.state().object_table::<T>(index) {
            return true;
        }
        let Some(block) = self.state().block::<T>(index) else {
            return false;
        };
        self.table(0, 1);
        self.state().push_value(-1);
        // SAFETY: a userdata is at `index` and a table on top.
        unsafe { compat::setuservalue(self.raw(), index) };
        // SAFETY: a block of this class; the borrow ends here.
        unsafe { (*block).has_table = true };
        true
    }

    /// Make the class's metatable and leave it on the stack; `__name`, `__gc`
    /// where the value needs it, and the metamethods given are in it.
    pub fn new_class<T: Class>(&self, functions: &[(&CStr, lua_CFunction)]) {
        self.table(0, functions.len() + 3);
        let metatable = self.state().top();
        for (name, function) in functions {
            self.function(*function);
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
        self.state().push_value(metatable);
        self.set_registry(&T::info().key);
        // Where C code that knew the C bindings looks for it.
        self.state().push_value(metatable);
        self.set_field(compat::REGISTRYINDEX, T::info().name);
    }
}

unsafe extern "C-unwind" fn collect<T: Class>(raw: *mut super::lua_State) -> c_int {
    // SAFETY: Lua calls with a live state; the frame owns nothing.
    unsafe {
        super::finalize(raw, |state| {
            if let Some(value) = state.take_object::<T>(1) {
                value.collected();
            }
        })
    }
}
