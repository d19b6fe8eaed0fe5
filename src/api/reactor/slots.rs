//! The live watchers of a handle. Each has a slot, which holds its event source, and
//! two entries in the table that the handle's userdata carries: its userdata and its
//! options table. The garbage collector keeps a watcher's values through that table.

use std::cell::{Cell, RefCell};
use std::os::raw::c_int;

use crate::backend::reactor;
use crate::backend::slab::{Place, Slab};
use crate::lua::{Class, Kind, Result, State, Writer};

/// The index of the handle's own userdata in the table.
const HANDLE: c_int = 1;
/// The number of table entries for each slot: a watcher's userdata and its options
/// table. Both are `false` for a free slot, because replacing an existing value needs
/// no allocation.
const ENTRIES_PER_SLOT: c_int = 2;

fn userdata_index(place: Place) -> c_int {
    ENTRIES_PER_SLOT * (place.slot as c_int + 1)
}

fn options_index(place: Place) -> c_int {
    userdata_index(place) + 1
}

/// The back end's watcher. Dropping it ends the wait.
type Source = Box<dyn reactor::Watcher>;

/// The live watchers of a handle, by slot.
#[derive(Default)]
pub struct Watchers {
    /// The source of each watcher; none before the watcher has started.
    sources: RefCell<Slab<Option<Source>>>,
    /// How many slots the table has entries for.
    capacity: Cell<u32>,
}

impl Watchers {
    /// Adds a watcher without a source. `id` is a number that no other object of this
    /// Lua state has. Argument 1 is the handle, an object of class `H`.
    ///
    /// Fails only without memory.
    pub fn insert<H: Class>(&self, state: State<'_>, id: u64) -> Result<Place> {
        if self.sources.borrow().next_slot() >= self.capacity.get() {
            self.grow_table::<H>(state)?;
        }
        Ok(self.sources.borrow_mut().insert(id, None))
    }

    #[cold]
    fn grow_table<H: Class>(&self, state: State<'_>) -> Result<()> {
        let before = self.capacity.get();
        // The number of table entries stays just below a power of two.
        let after = (2 * before + 1).max(3);
        state.push_value(1);
        state.protect(1, |writer| {
            if writer.object_table::<H>(1) {
                writer.state().push_value(1);
                writer.raw_set_index(2, HANDLE);
                let first = ENTRIES_PER_SLOT * (before as c_int + 1);
                for index in first..ENTRIES_PER_SLOT * (after as c_int + 1) {
                    writer.boolean(false);
                    writer.raw_set_index(2, index);
                }
            }
            0
        })?;
        self.capacity.set(after);
        Ok(())
    }

    /// Whether the watcher has neither been removed nor ended by itself.
    pub fn is_alive(&self, place: Place) -> bool {
        self.sources.borrow().get(place).is_some()
    }

    /// Whether no watcher is alive.
    pub fn is_empty(&self) -> bool {
        self.sources.borrow().is_empty()
    }

    /// The places of all live watchers.
    pub fn places(&self) -> Vec<Place> {
        self.sources.borrow().places().collect()
    }

    /// Gives a watcher a new source and returns its previous one. If the watcher is
    /// not alive, returns the new source.
    pub fn set_source(&self, place: Place, source: Source) -> Option<Source> {
        match self.sources.borrow_mut().get_mut(place) {
            Some(current) => current.replace(source),
            None => Some(source),
        }
    }

    /// Removes a watcher and returns its source. None if it was not alive.
    ///
    /// The caller drops the source after this returns: the drop may free closures that
    /// use this handle.
    pub fn remove(&self, place: Place) -> Option<Option<Source>> {
        self.sources.borrow_mut().remove(place)
    }
}

// In the functions below, `table` is the index of the table that the handle's
// userdata carries, and `place` is the place of one of that handle's watchers.

/// Stores a watcher's userdata and its options table, which are at these absolute
/// indices. May raise an error.
pub fn store(writer: &Writer<'_>, table: c_int, place: Place, userdata: c_int, options: c_int) {
    writer.state().push_value(userdata);
    writer.raw_set_index(table, userdata_index(place));
    writer.state().push_value(options);
    writer.raw_set_index(table, options_index(place));
}

/// Replaces both values of a watcher by `false`. `set` is called with a table and an
/// index. It stores the value on top of the stack there and pops it.
pub fn clear(state: State<'_>, table: c_int, place: Place, set: impl Fn(c_int, c_int)) {
    for index in [userdata_index(place), options_index(place)] {
        state.push_boolean(false);
        set(table, index);
    }
}

/// Pushes the watcher's userdata, and returns the type of the value that was there.
pub fn push_userdata(state: State<'_>, table: c_int, place: Place) -> Kind {
    state.raw_get_index(table, userdata_index(place).into())
}

/// Pushes the watcher's options table, and returns the type of the value that was
/// there.
pub fn push_options(state: State<'_>, table: c_int, place: Place) -> Kind {
    state.raw_get_index(table, options_index(place).into())
}

/// Pushes the handle's userdata, and returns the type of the value that was there.
pub fn push_handle(state: State<'_>, table: c_int) -> Kind {
    state.raw_get_index(table, HANDLE.into())
}
