//! The value in a watcher's userdata, class `FLUX.watcher`: a reference to a slot of
//! its handle. The methods of the class are in `class`.

use std::os::raw::c_int;

use crate::api::reactor::slots;
use crate::backend::slab::Place;
use crate::lua::{self, Class, ClassInfo, Kind, Object, Result, State};

/// A kind of watcher, such as timers.
pub struct WatcherKind {
    /// The name of its constructor, which `tostring` shows.
    pub name: &'static str,
    /// Whether a negative number that the handler returns stops the reactor with an
    /// error.
    pub negative_result_stops: bool,
    /// Whether `w:remove()` returns true. If not, it returns nothing.
    pub remove_returns_true: bool,
}

/// The value in a watcher's userdata. It owns nothing, so that the userdata needs no
/// finalizer: scripts make and drop watchers by the thousand, and finalizers would
/// delay freeing them.
#[derive(Clone, Copy)]
pub struct WatcherRef {
    /// The watcher's slot in its handle.
    pub place: Place,
    /// The kind of the watcher.
    pub kind: &'static WatcherKind,
    /// Which table the userdata carries: the handle's table while the watcher is alive
    /// (false), the watcher's own options table after it has ended (true).
    pub has_ended: bool,
}

impl Class for WatcherRef {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"FLUX.watcher", "flux watcher");
        &INFO
    }
}

impl WatcherRef {
    /// Marks the watcher as ended: its userdata, at `index`, now carries its options
    /// table in place of the handle's table, which is at `table`.
    ///
    /// # Safety
    /// `object` was found at `index`, and is still there.
    pub unsafe fn end(
        mut self,
        state: State<'_>,
        object: Object<'_, WatcherRef>,
        index: c_int,
        table: c_int,
    ) {
        if slots::push_options(state, table, self.place) == Kind::Table {
            self.has_ended = true;
            object.set(self);
            // SAFETY: the object is at `index` by the contract, and a table is on top.
            unsafe { object.keep_table(state, index) };
        }
    }
}

/// The value of a watcher's userdata, which is argument 1.
pub fn value(object: Object<'_, WatcherRef>) -> Result<WatcherRef> {
    // SAFETY: the value is copied at once, and Lua is not called before that.
    let value = unsafe { object.borrow() }.copied();
    value.ok_or_else(|| lua::closed::<WatcherRef>(1))
}

/// Removes a watcher's values from its handle's table, which is at `table`, so that
/// the collector may free them. Its userdata keeps the options table. Does not raise.
pub fn release(state: State<'_>, table: c_int, place: Place) {
    let index = state.top() + 1;
    slots::push_userdata(state, table, place);
    if let Some(object) = state.find::<WatcherRef>(index)
        && let Ok(reference) = value(object)
    {
        // SAFETY: the object was found at `index`.
        unsafe { reference.end(state, object, index, table) };
        slots::clear(state, table, place, |table, index| {
            state.raw_replace_index(table, index);
        });
    }
    state.set_top(index - 1);
}
