//! A KVS directory, class `CMB.kvsdir`. Scripts read and assign its keys like the fields
//! of a table.

use std::any::Any;
use std::cell::Cell;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use crate::api::arguments;
use crate::api::handle::Handle;
use crate::api::kvs::commit;
use crate::api::kvs::value::{self, Value};
use crate::api::wait::{Step, blocking};
use crate::backend::{Future, kvs_flags, treeobj};
use crate::lua::{
    self, Cause, Class, ClassInfo, Error, Kind, Push, Result, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// A directory: its key, and the names that it had when it was looked up. Values are
/// looked up when they are read.
#[derive(Clone)]
pub struct Dir(Rc<Inner>);

struct Inner {
    handle: Handle,
    key: String,
    names: Rc<[String]>,
    /// The directory of C code that this one stands for. It lives as long as this one.
    _external: Option<Box<dyn Any>>,
}

impl Class for Dir {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"CMB.kvsdir", "kvsdir");
        &INFO
    }

    fn external_memory(&self) -> usize {
        let names = self.0.names.iter();
        let each = names.map(|name| size_of::<String>() + name.len());
        each.sum::<usize>() + size_of::<Inner>()
    }
}

impl Dir {
    /// The handle that the directory was looked up with.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// The directory's key.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The full key of a name, or of a dotted path, below this directory.
    pub fn key_at(&self, name: &str) -> String {
        match self.key() {
            "." => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }
}

/// A new directory, to be returned as userdata.
pub struct NewDir {
    dir: Option<Dir>,
    /// Whether the userdata keeps its handle's userdata, which is on top of the stack.
    keeps_handle: bool,
}

impl NewDir {
    /// The directory at `key`, from a fulfilled lookup with `READDIR`. Fails with the
    /// lookup's error.
    pub fn of(handle: Handle, key: String, lookup: &dyn Future) -> Result<NewDir> {
        let entries = treeobj::dir_entries(lookup.payload()?.unwrap_or_default())?;
        let names = entries.into_iter().map(|(name, _)| name).collect();
        let dir = Inner {
            handle,
            key,
            names,
            _external: None,
        };
        Ok(NewDir {
            dir: Some(Dir(Rc::new(dir))),
            keeps_handle: false,
        })
    }

    /// A directory of C code, which `external` owns. The handle's userdata is on top of
    /// the stack.
    pub fn external(
        handle: Handle,
        key: String,
        names: Vec<String>,
        external: Box<dyn Any>,
    ) -> NewDir {
        let dir = Inner {
            handle,
            key,
            names: names.into(),
            _external: Some(external),
        };
        NewDir {
            dir: Some(Dir(Rc::new(dir))),
            keeps_handle: true,
        }
    }
}

/// The index of the handle's userdata in the table that a directory of C code keeps. As
/// long as that userdata exists, pushing the same `flux_t` again finds it, with the
/// pending transaction that the directory's assignments are in.
const HANDLE: c_int = 1;

impl Push for NewDir {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let handle = writer.state().top();
        writer.new_object(&mut self.dir);
        if self.keeps_handle && writer.object_table::<Dir>(handle + 1) {
            writer.state().push_value(handle);
            writer.raw_set_index(-2, HANDLE);
            writer.state().pop(1);
        }
        1
    }
}

/// Looks up the directory at `key`.
pub fn open_dir(handle: Handle, key: String) -> Result<Step<NewDir>> {
    let dir = handle.backend()?.lookup(None, kvs_flags::READDIR, &key)?;
    Step::wait(dir, move |_, dir| match dir.payload() {
        Ok(_) => Ok(Step::Done(NewDir::of(handle, key, &*dir)?)),
        Err(error) => Err(handle.explain_read(&key, error)),
    })
}

/// The result of indexing a directory.
enum Indexed {
    Value(Value),
    Dir(NewDir),
    /// The value on top of the stack, which is a method.
    OnTop,
}

impl Push for Indexed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match self {
            Indexed::Value(value) => value.push(writer),
            Indexed::Dir(dir) => dir.push(writer),
            Indexed::OnTop => 1,
        }
    }
}

/// `dir.name`, `dir["a.b"]`: the key in the KVS if it exists, else the method.
fn index(state: State<'_>) -> Result<Step<Indexed>> {
    let dir: Dir = state.check_object(1)?;
    if !matches!(state.kind(2), Kind::String | Kind::Number) {
        return Err(Error::raise("kvsdir: invalid index"));
    }
    let key = dir.key_at(arguments::text(state, 2)?);
    let value = match dir.handle().backend()?.lookup(None, 0, &key) {
        Ok(value) => value,
        // If the broker is gone, the method that is called next reports it.
        Err(_) if push_method(state) => return Ok(Step::Done(Indexed::OnTop)),
        Err(error) => return Err(error.into()),
    };
    Step::wait(value, move |state, value| match value.payload() {
        Ok(_) => Ok(Step::Done(Indexed::Value(Value::of(value)?))),
        Err(error) if error.errnum == libc::EISDIR => {
            Ok(open_dir(dir.handle().clone(), key)?.map(Indexed::Dir))
        }
        Err(_) if push_method(state) => Ok(Step::Done(Indexed::OnTop)),
        Err(error) => Err(dir.handle().explain_read(&key, error)),
    })
}

/// Pushes the method that argument 2 names. Returns false if there is none.
fn push_method(state: State<'_>) -> bool {
    // The class's table also has the metamethods, which are not methods.
    let is_name = state.bytes(2).is_some_and(|name| !name.starts_with(b"__"));
    is_name && state.method(2) && state.kind(-1) == Kind::Function
}

/// `dir.name = value`: adds the assignment to the handle's pending transaction.
fn newindex(state: State<'_>) -> Result<()> {
    let dir: Dir = state.check_object(1)?;
    if !matches!(state.kind(2), Kind::String | Kind::Number) {
        return Err(Error::raise("kvsdir: invalid index"));
    }
    let name = arguments::text(state, 2)?;
    let put = value::put(state, dir.handle(), &dir.key_at(name), 3);
    // An assignment has no results, so every failure is raised.
    put.map_err(|error| match error.cause() {
        Cause::Failure(failure) => {
            let mut text = format!("kvsdir: cannot put {name:?}: {}", failure.text);
            if let Some(detail) = failure.detail {
                text.push_str(&format!(": {detail}"));
            }
            Error::raise(text)
        }
        Cause::Argument { message, .. } => {
            Error::raise(format!("kvsdir: cannot put {name:?}: {message}"))
        }
        cause => cause.into(),
    })
}

/// `pairs(dir)`, in Lua 5.2 and later: an error that names `kvs.keys`.
fn pairs(state: State<'_>) -> Result<()> {
    let _: Dir = state.check_object(1)?;
    Err(Error::raise(
        "a kvsdir is no table: write `for name in kvs.keys(dir) do`, and dir[name] for the value",
    ))
}

/// `tostring(dir)`: its key.
fn tostring(state: State<'_>) -> Result<Text> {
    let dir: Dir = state.check_object(1)?;
    Ok(Text(dir.key().to_owned()))
}

/// `dir:commit()`, `kvs.commit(dir)`
fn commit(state: State<'_>) -> Result<Step<bool>> {
    let dir: Dir = state.check_object(1)?;
    commit::commit(dir.handle())
}

/// `dir:unlink(name)`
fn unlink(state: State<'_>) -> Result<bool> {
    let dir: Dir = state.check_object(1)?;
    let key = dir.key_at(arguments::text(state, 2)?);
    dir.handle().with_pending(|pending| pending.unlink(&key))?;
    Ok(true)
}

/// The state of an iterator over the names of a directory.
#[derive(Clone)]
struct Iteration(Rc<IterationState>);

struct IterationState {
    names: Rc<[String]>,
    /// The position of the next name.
    next: Cell<usize>,
}

impl Class for Iteration {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"CMB.kvsitr", "kvsdir iterator");
        &INFO
    }
}

/// An iterator, to be returned as a closure.
struct NewIterator(Option<Iteration>);

impl Push for NewIterator {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        // SAFETY: this is an entry point.
        unsafe { writer.closure(Some(lua_next), 1) };
        1
    }
}

/// `dir:keys()`, `kvs.keys(dir)`: an iterator over the names.
fn keys(state: State<'_>) -> Result<NewIterator> {
    let dir: Dir = state.check_object(1)?;
    let iteration = IterationState {
        names: dir.0.names.clone(),
        next: Cell::new(0),
    };
    Ok(NewIterator(Some(Iteration(Rc::new(iteration)))))
}

/// A name, to be pushed from the list that it is in.
struct Name {
    names: Rc<[String]>,
    position: usize,
}

impl Push for Name {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self.names[self.position].as_bytes());
        1
    }
}

/// One step of an iterator: the next name, nil after the last.
fn next(state: State<'_>) -> Result<Option<Name>> {
    let Some(Some(Iteration(iteration))) = state.object(lua::upvalue_index(1)) else {
        return Ok(None);
    };
    let position = iteration.next.get();
    if position == iteration.names.len() {
        return Ok(None);
    }
    iteration.next.set(position + 1);
    Ok(Some(Name {
        names: iteration.names.clone(),
        position,
    }))
}

lua_functions! {
    lua_newindex => newindex;
    lua_pairs => pairs;
    lua_tostring => tostring;
    lua_unlink => unlink;
    lua_keys => keys;
    lua_next => next;
    lua_index => blocking(index);
    lua_commit => blocking(commit);
}

const METAMETHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__pairs", Some(lua_pairs)),
    (c"__tostring", Some(lua_tostring)),
];

/// The methods, which are also functions of module `kvs`.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"commit", Some(lua_commit)),
    (c"unlink", Some(lua_unlink)),
    (c"keys", Some(lua_keys)),
];

/// Registers the class, and leaves its metatable on top of the stack.
pub fn open(writer: &Writer<'_>) {
    // SAFETY: there are no functions.
    unsafe { writer.new_class::<Iteration>(&[]) };
    writer.state().pop(1);
    // SAFETY: the functions are entry points.
    unsafe { writer.new_class::<Dir>(METAMETHODS) };
}
