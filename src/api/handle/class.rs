//! The Lua class of handles, `FLUX.handle`: fields, `close`, attributes and the log. Its
//! other methods are in the files of their subjects.

use std::ffi::CStr;

use super::{Handle, check};
use crate::api::{arguments, read_only};
use crate::backend;
use crate::lua::{
    Class, Error, FieldValue, Integer, Kind, Result, State, Text, Writer, lua_CFunction,
};
use crate::lua_functions;

/// A field of a handle.
#[derive(Clone, Copy)]
enum Field {
    Rank,
    Size,
    Arity,
}

const FIELDS: &[(&CStr, Field)] = &[
    (c"rank", Field::Rank),
    (c"size", Field::Size),
    (c"arity", Field::Arity),
];

/// `f.name`: a method or a field.
fn index(state: State<'_>) -> Result<Option<FieldValue>> {
    // A closed handle still has its methods: they raise an error that says so.
    if state.method(2) {
        return Ok(Some(FieldValue::OnTop));
    }
    let Some(field) = state.field(2, FIELDS) else {
        return match state.is_object::<Handle>(1) {
            true => Ok(None),
            false => Err(no_handle(state)),
        };
    };
    let backend = check(state)?.backend()?;
    Ok(Some(FieldValue::Integer(match field {
        Field::Rank => backend.rank()?.into(),
        Field::Size => backend.size()?.into(),
        Field::Arity => arity(&*backend)?,
    })))
}

/// The number of children of a broker. Brokers before 0.53 have an attribute for it.
/// Later ones have an attribute for the shape of the tree, which names the arity if the
/// tree is k-ary.
fn arity(backend: &dyn backend::Handle) -> Result<i64> {
    let parsed = |text: &str| text.parse().ok();
    let attribute = match backend.attr_get("tbon.arity") {
        Ok(text) => parsed(&text),
        Err(_) => backend
            .attr_get("tbon.topo")?
            .strip_prefix("kary:")
            .and_then(parsed),
    };
    attribute.ok_or_else(|| {
        backend::Error::with_detail(libc::ENOENT, "the broker's tree has no fixed arity").into()
    })
}

/// `f.name = value`: an error.
fn newindex(state: State<'_>) -> Result<()> {
    read_only::refuse_assignment::<Handle, _>(state, FIELDS)
}

/// `f:close()`. Closing a closed handle does nothing.
fn close(state: State<'_>) -> Result<()> {
    if !state.is_object::<Handle>(1) {
        return Err(no_handle(state));
    }
    if let Some(handle) = state.take_object::<Handle>(1) {
        handle.close();
    }
    Ok(())
}

/// `tostring(f)`
fn tostring(state: State<'_>) -> Result<Text> {
    match state.object::<Handle>(1) {
        Some(Some(handle)) => Ok(Text(format!("flux handle ({})", handle.uri()))),
        Some(None) => Ok(Text("flux handle (closed)".to_owned())),
        None => Err(no_handle(state)),
    }
}

/// The error for an argument 1 that is not a handle.
#[cold]
fn no_handle(state: State<'_>) -> Error {
    Error::expected(state, 1, Handle::info().label)
}

/// `f:getattr(name)`
fn getattr(state: State<'_>) -> Result<Text> {
    let handle = check(state)?;
    let name = arguments::text(state, 2)?;
    Ok(Text(handle.backend()?.attr_get(name)?))
}

/// `f:log(level, fmt, ...)`
fn log(state: State<'_>) -> Result<Integer> {
    let handle = check(state)?;
    let level = level(state)?;
    let text = arguments::formatted(state, 3)?;
    handle.backend()?.log(level, text)?;
    Ok(Integer(0))
}

/// The names of syslog's levels, by number.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The level in argument 2, which is a number or a name.
fn level(state: State<'_>) -> Result<i32> {
    let named = state
        .bytes(2)
        .and_then(|name| LEVELS.iter().position(|level| level.as_bytes() == name));
    match named {
        Some(level) => Ok(level as i32),
        None if state.kind(2) == Kind::String && state.to_number(2).is_none() => {
            let message = format!("a level is 0 to 7 or {}", LEVELS.join(", "));
            Err(Error::argument(2, message))
        }
        None => Ok(arguments::integer(state, 2, 0..=7)? as i32),
    }
}

lua_functions! {
    lua_close => close;
    lua_tostring => tostring;
    lua_index => index;
    lua_newindex => newindex;
    lua_getattr => getattr;
    lua_log => log;
}

const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"__index", Some(lua_index)),
    (c"__newindex", Some(lua_newindex)),
    (c"__tostring", Some(lua_tostring)),
    (c"__close", Some(lua_close)),
    (c"close", Some(lua_close)),
    (c"getattr", Some(lua_getattr)),
    (c"log", Some(lua_log)),
];

/// Registers the class, and leaves its metatable on top of the stack.
pub fn open(writer: &Writer<'_>) {
    super::open_registry_tables(writer);
    // SAFETY: the functions are entry points.
    unsafe { writer.new_class_with_fields::<Handle, Field>(METHODS, FIELDS) };
}
