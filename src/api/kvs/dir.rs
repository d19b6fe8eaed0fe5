//! A KVS directory, class `CMB.kvsdir`: indexed like a table.

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

/// A directory as it was when it was looked up: its key, and the names in it.
/// What is read through it is what the KVS holds by then.
#[derive(Clone)]
pub struct Dir(Rc<Inner>);

struct Inner {
    handle: Handle,
    key: String,
    names: Rc<[String]>,
    /// C code's own directory that this is of, alive as long.
    _code: Option<Box<dyn Any>>,
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
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// The full key of a name, or of a path, below this directory.
    pub fn key_at(&self, name: &str) -> String {
        match self.key() {
            "." => name.to_owned(),
            key => format!("{key}.{name}"),
        }
    }
}

/// A directory to be pushed as userdata.
pub struct NewDir {
    dir: Option<Dir>,
    /// Whether its handle's userdata, which it keeps, is on top of the stack.
    keeps_handle: bool,
}

impl NewDir {
    /// Of a lookup of `key` with READDIR; its error, if it failed.
    pub fn of(handle: Handle, key: String, lookup: &dyn Future) -> Result<NewDir> {
        let entries = treeobj::dir_entries(lookup.payload()?.unwrap_or_default())?;
        let names = entries.into_iter().map(|(name, _)| name).collect();
        let dir = Inner {
            handle,
            key,
            names,
            _code: None,
        };
        Ok(NewDir {
            dir: Some(Dir(Rc::new(dir))),
            keeps_handle: false,
        })
    }

    /// Of a directory of C code's, whose handle's userdata is on top of the stack.
    pub fn external(handle: Handle, key: String, names: Vec<String>, code: Box<dyn Any>) -> NewDir {
        let dir = Inner {
            handle,
            key,
            names: names.into(),
            _code: Some(code),
        };
        NewDir {
            dir: Some(Dir(Rc::new(dir))),
            keeps_handle: true,
        }
    }
}

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

/// Where a directory's own table keeps the userdata of C code's handle, so
/// that pushing the handle finds the one on which the directory's puts are.
const HANDLE: c_int = 1;

/// Look up a directory.
pub fn open_dir(handle: Handle, key: String) -> Result<Step<NewDir>> {
    let dir = handle.backend()?.lookup(None, kvs_flags::READDIR, &key)?;
    Step::wait(dir, move |_, dir| match dir.payload() {
        Ok(_) => Ok(Step::Done(NewDir::of(handle, key, &*dir)?)),
        Err(error) => Err(handle.explain_read(&key, error)),
    })
}

/// What indexing finds.
enum Indexed {
    Value(Value),
    Dir(NewDir),
    /// A method, which the stack holds.
    Top,
}

impl Push for Indexed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match self {
            Indexed::Value(value) => value.push(writer),
            Indexed::Dir(dir) => dir.push(writer),
            Indexed::Top => 1,
        }
    }
}

/// `dir.name`, `dir["a.b"]`: the KVS first, then the methods.
fn index(state: State<'_>) -> Result<Step<Indexed>> {
    let dir: Dir = state.check_object(1)?;
    if !matches!(state.kind(2), Kind::String | Kind::Number) {
        return Err(Error::raise("kvsdir: invalid index"));
    }
    let key = dir.key_at(arguments::text(state, 2)?);
    let value = match dir.handle().backend()?.lookup(None, 0, &key) {
        Ok(value) => value,
        // A broker that is gone is the method's to tell.
        Err(_) if method(state) => return Ok(Step::Done(Indexed::Top)),
        Err(error) => return Err(error.into()),
    };
    Step::wait(value, move |state, value| match value.payload() {
        Ok(_) => Ok(Step::Done(Indexed::Value(Value::of(value)?))),
        Err(error) if error.errnum == libc::EISDIR => {
            Ok(open_dir(dir.handle().clone(), key)?.map(Indexed::Dir))
        }
        Err(_) if method(state) => Ok(Step::Done(Indexed::Top)),
        Err(error) => Err(dir.handle().explain_read(&key, error)),
    })
}

/// Push the method named by argument 2, if there is one of that name.
fn method(state: State<'_>) -> bool {
    // Names of metamethods are no names of methods.
    let is_name = state.bytes(2).is_some_and(|name| !name.starts_with(b"__"));
    is_name && state.method(2) && state.kind(-1) == Kind::Function
}

/// `dir.name = value`: on the handle's pending transaction.
fn newindex(state: State<'_>) -> Result<()> {
    let dir: Dir = state.check_object(1)?;
    if !matches!(state.kind(2), Kind::String | Kind::Number) {
        return Err(Error::raise("kvsdir: invalid index"));
    }
    let name = arguments::text(state, 2)?;
    let put = value::put(state, dir.handle(), &dir.key_at(name), 3);
    // An assignment returns nothing, so that what fails must be raised.
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

/// `pairs(dir)`, in Lua 5.2 and later.
fn pairs(state: State<'_>) -> Result<()> {
    let _: Dir = state.check_object(1)?;
    Err(Error::raise(
        "a kvsdir is no table: write `for name in kvs.keys(dir) do`, and dir[name] for the value",
    ))
}

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

/// The names of a directory, and how many were given out.
#[derive(Clone)]
struct Names(Rc<(Rc<[String]>, Cell<usize>)>);

impl Class for Names {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"CMB.kvsitr", "kvsdir iterator");
        &INFO
    }
}

/// An iterator to be pushed as a closure.
struct Iterator(Option<Names>);

impl Push for Iterator {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        writer.closure(Some(lua_next), 1);
        1
    }
}

/// `dir:keys()`, `kvs.keys(dir)`: an iterator over the names.
fn keys(state: State<'_>) -> Result<Iterator> {
    let dir: Dir = state.check_object(1)?;
    let names = dir.0.names.clone();
    Ok(Iterator(Some(Names(Rc::new((names, Cell::new(0)))))))
}

/// One name, borrowed from its directory.
struct Name(Names, usize);

impl Push for Name {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self.0.0.0[self.1].as_bytes());
        1
    }
}

fn next(state: State<'_>) -> Result<Option<Name>> {
    let Some(Some(names)) = state.object::<Names>(lua::upvalue_index(1)) else {
        return Ok(None);
    };
    let at = names.0.1.get();
    if at == names.0.0.len() {
        return Ok(None);
    }
    names.0.1.set(at + 1);
    Ok(Some(Name(names, at)))
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

/// The methods, which module `kvs` has as functions.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"commit", Some(lua_commit)),
    (c"unlink", Some(lua_unlink)),
    (c"keys", Some(lua_keys)),
];

/// Make the class, and leave its metatable on top of the stack.
pub fn open(writer: &Writer<'_>) {
    writer.new_class::<Names>(&[]);
    writer.state().pop(1);
    writer.new_class::<Dir>(METAMETHODS);
}
