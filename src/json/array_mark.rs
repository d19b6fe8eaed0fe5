//! The array mark: a metatable that makes an empty table encode as `[]` instead of
//! `{}`.

use std::os::raw::c_int;

use crate::lua::{Kind, RegistryKey, State, Writer};

/// The registry key of the array mark: the metatable that makes an empty table
/// encode as `[]`.
static ARRAY_MARK: RegistryKey = RegistryKey::unique();

/// Create the array mark, once per Lua state. May raise for lack of memory.
pub fn open(writer: &Writer<'_>) {
    let is_open = push_array_mark(writer.state());
    writer.state().pop(1);
    if is_open {
        return;
    }
    writer.table(0, 1);
    writer.bytes(b"flux.json.array");
    writer.set_field(-2, c"__name");
    writer.set_registry(&ARRAY_MARK);
}

/// Push the array mark and return true. Before [`open`], push nil and return
/// false. Needs one free stack slot.
pub fn push_array_mark(state: State<'_>) -> bool {
    state.registry(&ARRAY_MARK) == Kind::Table
}

/// Mark the table at the absolute index `table`, so that it encodes as an array
/// while it is empty. Does not raise. Needs one free stack slot.
pub fn mark_array(writer: &Writer<'_>, table: c_int) {
    push_array_mark(writer.state());
    writer.set_metatable(table);
}

/// Whether the table at `table` has the array mark. Needs two free stack slots.
pub fn has_array_mark(state: State<'_>, table: c_int) -> bool {
    if !state.push_metatable(table) {
        return false;
    }
    let is_mark = push_array_mark(state) && state.raw_equal(-1, -2);
    state.pop(2);
    is_mark
}
