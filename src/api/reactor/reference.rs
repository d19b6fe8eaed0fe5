//! The userdata of a reactor object, class `FLUX.watcher`: which slot of its
//! handle it stands for. Its methods are in `watcher`.

use std::os::raw::c_int;

use crate::api::reactor::slots;
use crate::backend::slab::Place;
use crate::lua::{self, Class, ClassInfo, Kind, Object, Result, State};

/// What the kinds of watchers differ in beside what they wait for.
pub struct Traits {
    pub kind: &'static str,
    /// Whether a handler's negative number stops the reactor.
    pub is_checked: bool,
    /// Whether `remove` returns true, or nothing.
    pub removed: bool,
}

/// What the script holds of it: a userdata that owns nothing, and so needs no
/// finalizer. What is made and dropped by the thousand would else pile up.
#[derive(Clone, Copy)]
pub struct Reference {
    pub place: Place,
    pub traits: &'static Traits,
    /// Whether the table that the userdata carries is the one that the watcher
    /// was made of. While it is alive it is its handle's.
    pub has_ended: bool,
}

impl Class for Reference {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.watcher", "flux watcher");
        &INFO
    }
}

/// The table at `table`, its handle's, keeps the watcher no more, which keeps
/// the table that it was made of.
pub fn let_go(state: State<'_>, table: c_int, place: Place) {
    let index = state.top() + 1;
    slots::push_object(state, table, place);
    if let Some(object) = state.find::<Reference>(index)
        && let Ok(reference) = value(object)
    {
        reference.has_ended(state, object, index, table);
        slots::forget(state, table, place, |table, index| {
            state.raw_replace_index(table, index);
        });
    }
    state.set_top(index - 1);
}

impl Reference {
    /// Have the userdata at `index` keep the table that the watcher was made of,
    /// in place of the handle's table, which is at `table`.
    pub fn has_ended(
        mut self,
        state: State<'_>,
        object: Object<'_, Reference>,
        index: c_int,
        table: c_int,
    ) {
        if slots::push_fields(state, table, self.place) == Kind::Table {
            self.has_ended = true;
            object.set(self);
            // SAFETY: the caller found the object at `index`; a table is on top.
            unsafe { object.keep_table(state, index) };
        }
    }
}

/// The value of the object at 1.
pub fn value(object: Object<'_, Reference>) -> Result<Reference> {
    // SAFETY: it is copied at once.
    let value = unsafe { object.borrow() }.copied();
    value.ok_or_else(|| lua::closed::<Reference>(1))
}
