//! The reactor objects of a handle that are alive: what each waits for, and its
//! Lua values, which are in the table that the handle's userdata carries.

use std::cell::{Cell, RefCell};
use std::os::raw::c_int;

use crate::backend::reactor;
use crate::backend::slab::{Place, Slab};
use crate::lua::{Class, Kind, Result, State, Writer};

/// Where the table has the handle's own userdata. What else is in it are two
/// values for each slot: a watcher's userdata, and the table that it was made
/// of. A free slot has `false` there: what is there already is replaced without
/// an allocation.
const HANDLE: c_int = 1;
const PER_SLOT: c_int = 2;

fn object_index(place: Place) -> c_int {
    PER_SLOT * (place.slot as c_int + 1)
}

fn fields_index(place: Place) -> c_int {
    object_index(place) + 1
}

type Source = Box<dyn reactor::Watcher>;

#[derive(Default)]
pub struct Watchers {
    /// What each waits for: nothing before it starts.
    alive: RefCell<Slab<Option<Source>>>,
    /// How many slots the table has.
    room: Cell<u32>,
}

impl Watchers {
    /// Add a slot for a watcher of the handle, of class `H`, that is argument 1.
    pub fn begin<H: Class>(&self, state: State<'_>, id: u64) -> Result<Place> {
        if self.alive.borrow().next_slot() >= self.room.get() {
            self.make_room::<H>(state)?;
        }
        Ok(self.alive.borrow_mut().insert(id, None))
    }

    #[cold]
    fn make_room<H: Class>(&self, state: State<'_>) -> Result<()> {
        let before = self.room.get();
        // So that the table's items are just under a power of two.
        let after = (2 * before + 1).max(3);
        state.push_value(1);
        state.protect(1, |writer| {
            if writer.object_table::<H>(1) {
                writer.state().push_value(1);
                writer.raw_set_index(2, HANDLE);
                let first = PER_SLOT * (before as c_int + 1);
                for index in first..PER_SLOT * (after as c_int + 1) {
                    writer.boolean(false);
                    writer.raw_set_index(2, index);
                }
            }
            0
        })?;
        self.room.set(after);
        Ok(())
    }

    pub fn is_alive(&self, place: Place) -> bool {
        self.alive.borrow().get(place).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.alive.borrow().is_empty()
    }

    pub fn places(&self) -> Vec<Place> {
        self.alive.borrow().places().collect()
    }

    /// What it waits for from now on, in place of what is returned.
    pub fn wait_for(&self, place: Place, source: Source) -> Option<Source> {
        match self.alive.borrow_mut().get_mut(place) {
            Some(waited) => waited.replace(source),
            None => Some(source),
        }
    }

    /// It waits no more. What it waited for is returned, none if it had ended.
    pub fn end(&self, place: Place) -> Option<Option<Source>> {
        self.alive.borrow_mut().remove(place)
    }
}

// The handle's table is at `table`, and a watcher of that handle at `place`.

/// Keep the userdata and the table it was made of, at absolute indices.
pub fn keep(writer: &Writer<'_>, table: c_int, place: Place, object: c_int, fields: c_int) {
    writer.state().push_value(object);
    writer.raw_set_index(table, object_index(place));
    writer.state().push_value(fields);
    writer.raw_set_index(table, fields_index(place));
}

/// Keep neither any more: `set` puts the value on top in the table at an index.
pub fn forget(state: State<'_>, table: c_int, place: Place, set: impl Fn(c_int, c_int)) {
    for index in [object_index(place), fields_index(place)] {
        state.push_boolean(false);
        set(table, index);
    }
}

/// Push its userdata.
pub fn push_object(state: State<'_>, table: c_int, place: Place) -> Kind {
    state.raw_get_index(table, object_index(place).into())
}

/// Push the table that it was made of.
pub fn push_fields(state: State<'_>, table: c_int, place: Place) -> Kind {
    state.raw_get_index(table, fields_index(place).into())
}

/// Push the handle's userdata.
pub fn push_handle(state: State<'_>, table: c_int) -> Kind {
    state.raw_get_index(table, HANDLE.into())
}
