//! Blocking until the KVS changes: `kvs.watch` and `kvs.watch_dir`. They use the
//! broker's watch streams.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::arguments;
use crate::api::kvs::dir::Dir;
use crate::api::kvs::value::{Value, push_stored};
use crate::api::wait::{Step, blocking};
use crate::backend::{Future, kvs_flags};
use crate::lua::{Integer, Kind, Result, State, lua_CFunction};
use crate::lua_functions;

/// Flags of a watch. `WATCH_FULL` also reports changes that come through a parent
/// directory or a symlink.
const WATCH: i32 = kvs_flags::WATCH | kvs_flags::WATCH_FULL;

/// `kvs.watch(dir, name[, last])`: waits until the value differs from `last`, and
/// returns it. Without `last`, waits until there is a value.
fn watch(state: State<'_>) -> Result<Step<Value>> {
    let dir: Dir = state.check_object(1)?;
    let key = dir.key_at(arguments::text(state, 2)?);
    let backend = dir.handle().backend()?;
    if state.is_none_or_nil(3) {
        return until_created(dir, key);
    }
    until_differs(dir, backend.lookup(None, WATCH, &key)?, key)
}

/// Waits until the key exists. A watch with `WAITCREATE` ends with ENOENT at the first
/// commit after which the key still does not exist, so this begins another one.
fn until_created(dir: Dir, key: String) -> Result<Step<Value>> {
    let flags = WATCH | kvs_flags::WAITCREATE;
    let first = dir.handle().backend()?.lookup(None, flags, &key)?;
    Step::wait(first, move |_, first| match first.payload() {
        Err(error) if error.errnum == libc::ENOENT => until_created(dir, key),
        Err(error) => Err(dir.handle().explain_read(&key, error)),
        Ok(_) => Ok(Step::Done(Value::of(first)?)),
    })
}

/// Waits until a change differs from the value in argument 3.
fn until_differs(dir: Dir, changes: Box<dyn Future>, key: String) -> Result<Step<Value>> {
    Step::wait(changes, |state, mut changes| {
        let stored = match changes.payload() {
            Ok(stored) => stored.unwrap_or_default(),
            Err(error) => return Err(dir.handle().explain_read(&key, error)),
        };
        if is_last_value(state, stored)? {
            changes.reset();
            return until_differs(dir, changes, key);
        }
        Ok(Step::Done(Value::of(changes)?))
    })
}

/// Whether a stored value equals argument 3.
fn is_last_value(state: State<'_>, stored: &[u8]) -> Result<bool> {
    let top = state.top();
    state.protect(0, |writer| {
        push_stored(writer, stored);
        1
    })?;
    let same = same_value(state, 3, top + 1);
    state.set_top(top);
    same
}

/// Whether two values are equal. Tables are compared by their contents.
fn same_value(state: State<'_>, a: c_int, b: c_int) -> Result<bool> {
    if state.kind(a) != Kind::Table || state.kind(b) != Kind::Table {
        return Ok(state.raw_equal(a, b));
    }
    let top = state.top();
    state.reserve(8)?;
    let count = fields_in_common(state, a, b)?;
    let same = count.is_some_and(|count| count == field_count(state, b));
    state.set_top(top);
    Ok(same)
}

/// The number of fields of table `a`. None unless table `b` has the same value for each
/// of them.
fn fields_in_common(state: State<'_>, a: c_int, b: c_int) -> Result<Option<usize>> {
    let key = state.top() + 1;
    let mut count = 0;
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(a) } {
        state.push_value(key);
        state.raw_get(b);
        if !same_value(state, key + 1, key + 2)? {
            return Ok(None);
        }
        state.set_top(key);
        count += 1;
    }
    Ok(Some(count))
}

fn field_count(state: State<'_>, table: c_int) -> usize {
    let mut count = 0;
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(table) } {
        state.pop(1);
        count += 1;
    }
    count
}

/// `dir:watch_dir()`: waits until something below the directory changes.
fn watch_dir(state: State<'_>) -> Result<Step<Integer>> {
    let dir: Dir = state.check_object(1)?;
    let flags = WATCH | kvs_flags::READDIR;
    let changes = dir.handle().backend()?.lookup(None, flags, dir.key())?;
    Step::wait(changes, move |_, mut changes| {
        if let Err(error) = changes.payload() {
            return Err(dir.handle().explain_read(dir.key(), error));
        }
        changes.reset();
        Step::wait(changes, |_, changes| {
            changes.payload()?;
            Ok(Step::Done(Integer(0)))
        })
    })
}

lua_functions! {
    lua_watch => blocking(watch);
    lua_watch_dir => blocking(watch_dir);
}

/// Methods of KVS directories, which are also functions of module `kvs`.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"watch", Some(lua_watch)),
    (c"watch_dir", Some(lua_watch_dir)),
];
