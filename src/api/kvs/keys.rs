//! The KVS methods of the handle: reading single keys, and adding operations to the
//! pending transaction, which `f:kvs_commit()` commits.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::handle::Handle;
use crate::api::kvs::commit::commit;
use crate::api::kvs::dir::{NewDir, open_dir};
use crate::api::kvs::value::{self, Value};
use crate::api::wait::{Step, blocking};
use crate::api::{arguments, handle};
use crate::backend::{kvs_flags, treeobj};
use crate::lua::{Error, Kind, Push, Result, State, Writer, lua_CFunction};
use crate::lua_functions;

/// `f:kvs_put(key, value)`
fn kvs_put(state: State<'_>) -> Result<bool> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?;
    if state.kind(3) == Kind::None {
        return Err(Error::expected(state, 3, "value"));
    }
    value::put(state, &handle, key, 3)?;
    Ok(true)
}

/// `f:kvs_unlink(key)`
fn kvs_unlink(state: State<'_>) -> Result<bool> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?;
    handle.with_pending(|pending| pending.unlink(key))?;
    Ok(true)
}

/// `f:kvs_symlink(key, target)`
fn kvs_symlink(state: State<'_>) -> Result<bool> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?.to_owned();
    let target = arguments::text(state, 3)?;
    handle.with_pending(|pending| pending.symlink(&key, target))?;
    Ok(true)
}

/// `f:kvs_commit()`
fn kvs_commit(state: State<'_>) -> Result<Step<bool>> {
    commit(&handle::check(state)?)
}

/// `f:kvs_get(key)`
fn kvs_get(state: State<'_>) -> Result<Step<Value>> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?.to_owned();
    let future = handle.backend()?.lookup(None, 0, &key)?;
    Step::wait(future, move |_, future| match Value::of(future) {
        Ok(value) => Ok(Step::Done(value)),
        Err(error) => Err(handle.explain_read(&key, error)),
    })
}

/// The results of `f:kvs_type`: the name of the type, then the target, directory or
/// value.
enum TypedEntry {
    Symlink(String),
    Dir(NewDir),
    File(Value),
}

impl Push for TypedEntry {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match self {
            TypedEntry::Symlink(target) => {
                writer.bytes(b"symlink");
                writer.bytes(target.as_bytes());
                2
            }
            TypedEntry::Dir(dir) => {
                writer.bytes(b"dir");
                1 + dir.push(writer)
            }
            TypedEntry::File(value) => {
                writer.bytes(b"file");
                1 + value.push(writer)
            }
        }
    }
}

/// `f:kvs_type(key)`: does not follow a symlink.
fn kvs_type(state: State<'_>) -> Result<Step<TypedEntry>> {
    let handle = handle::check(state)?;
    let key = arguments::text(state, 2)?.to_owned();
    let backend = handle.backend()?;
    let link = backend.lookup(None, kvs_flags::READLINK, &key)?;
    Step::wait(link, move |_, link| match link.payload() {
        Ok(link) => {
            let (_, target) = treeobj::symlink_target(link.unwrap_or_default())?;
            Ok(Step::Done(TypedEntry::Symlink(target)))
        }
        // The key is not a symlink, or does not exist. The next lookup tells which.
        Err(_) => type_of_value_or_dir(handle, key),
    })
}

fn type_of_value_or_dir(handle: Handle, key: String) -> Result<Step<TypedEntry>> {
    let backend = handle.backend()?;
    let value = backend.lookup(None, 0, &key)?;
    Step::wait(value, move |_, value| match value.payload() {
        Ok(_) => Ok(Step::Done(TypedEntry::File(Value::of(value)?))),
        Err(error) if error.errnum == libc::EISDIR => {
            let dir = backend.lookup(None, kvs_flags::READDIR, &key)?;
            Step::wait(dir, |_, dir| {
                Ok(Step::Done(TypedEntry::Dir(NewDir::of(handle, key, &*dir)?)))
            })
        }
        Err(error) => Err(handle.explain_read(&key, error)),
    })
}

/// `f:kvsdir([fmt, ...])`
fn kvsdir(state: State<'_>) -> Result<Step<NewDir>> {
    let handle = handle::check(state)?;
    let key = match state.kind(2) {
        Kind::None | Kind::Nil => ".".to_owned(),
        _ => arguments::formatted(state, 2)?.to_owned(),
    };
    open_dir(handle, key)
}

lua_functions! {
    lua_kvs_put => kvs_put;
    lua_kvs_unlink => kvs_unlink;
    lua_kvs_symlink => kvs_symlink;
    lua_kvs_commit => blocking(kvs_commit);
    lua_kvs_get => blocking(kvs_get);
    lua_kvs_type => blocking(kvs_type);
    lua_kvsdir => blocking(kvsdir);
}

/// Methods of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"kvs_put", Some(lua_kvs_put)),
    (c"kvs_get", Some(lua_kvs_get)),
    (c"kvs_commit", Some(lua_kvs_commit)),
    (c"kvs_unlink", Some(lua_kvs_unlink)),
    (c"kvs_symlink", Some(lua_kvs_symlink)),
    (c"kvs_type", Some(lua_kvs_type)),
    (c"kvsdir", Some(lua_kvsdir)),
];
