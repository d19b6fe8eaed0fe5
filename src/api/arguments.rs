//! Reading a script's arguments, with Lua's coercions: a numeric string is a
//! number, and a number is a string. Each check names the argument that is wrong.

use std::ops::RangeInclusive;
use std::os::raw::c_int;
use std::time::Duration;

use crate::backend::{NODEID_ANY, NODEID_UPSTREAM};
use crate::lua::{Error, Kind, Raised, RegistryKey, Result, StackError, State, Writer};

/// `string.format` as it was when the module was loaded.
static FORMAT: RegistryKey = RegistryKey::unique();

pub fn open(writer: &Writer<'_>) {
    writer.global(c"string");
    if writer.state().kind(-1) == Kind::Table {
        writer.field(-1, c"format");
        writer.set_registry(&FORMAT);
    }
    writer.state().pop(1);
}

/// Text in UTF-8: a name, a KVS key, a URI.
#[inline]
pub fn text<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    utf8(bytes(state, index)?).map_err(|why| Error::argument(index, why))
}

/// The same of an argument that may be absent or nil.
pub fn optional_text<'a>(state: State<'a>, index: c_int) -> Result<Option<&'a str>> {
    match state.kind(index) {
        Kind::None | Kind::Nil => Ok(None),
        _ => text(state, index).map(Some),
    }
}

/// The topic of a request. Unlike all other text it must be a string: a number in
/// its place is most likely another argument.
#[inline]
pub fn topic<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    let bytes = state
        .bytes(index)
        .ok_or_else(|| Error::expected(state, index, "string"))?;
    utf8(bytes).map_err(|why| Error::argument(index, why))
}

/// Any bytes.
#[inline]
pub fn bytes<'a>(state: State<'a>, index: c_int) -> Result<&'a [u8]> {
    state
        .to_bytes(index)?
        .ok_or_else(|| Error::expected(state, index, "string"))
}

#[inline]
fn utf8(bytes: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|e| format!("text is not UTF-8 at byte {}", e.valid_up_to() + 1))
}

/// A whole number within a range, named so in the error.
#[inline]
pub fn integer(state: State<'_>, index: c_int, range: RangeInclusive<i64>) -> Result<i64> {
    match state.to_integer(index) {
        Some(n) if range.contains(&n) => Ok(n),
        _ => Err(no_integer(state, index, &range)),
    }
}

#[cold]
fn no_integer(state: State<'_>, index: c_int, range: &RangeInclusive<i64>) -> Error {
    if state.to_number(index).is_none() {
        return Error::expected(state, index, "number");
    }
    let (low, high) = (range.start(), range.end());
    Error::argument(index, format!("an integer from {low} to {high} expected"))
}

/// The text that the format at `index` and the arguments after it make. A format
/// that does not fit its arguments is `nil, "string.format: …"`.
pub fn formatted<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    let format = bytes(state, index)?;
    // Most are plain text, which is what comes of it.
    let made = match format.contains(&b'%') {
        true => {
            push_formatted(state, index)?;
            state.bytes(-1).unwrap_or_default()
        }
        false => format,
    };
    utf8(made).map_err(|why| Error::argument(index, why))
}

/// Push what `string.format` makes of the values from `index` on.
pub fn push_formatted(state: State<'_>, index: c_int) -> Result<()> {
    let last = state.top();
    state.reserve(last - index + 2)?;
    if state.registry(&FORMAT) != Kind::Function {
        return Err(Error::raise("string.format is not there"));
    }
    for argument in index..=last {
        state.push_value(argument);
    }
    if let Err(Raised) = state.call(last - index + 1, 1) {
        let why = state.bytes(-1).unwrap_or_default();
        if why == StackError::Memory.text().as_bytes() {
            return Err(StackError::Memory.into());
        }
        let why = String::from_utf8_lossy(why);
        return Err(Error::failure(format!("string.format: {why}")));
    }
    Ok(())
}

/// Where a request goes, and how long its answer may take.
pub struct Destination {
    pub nodeid: u32,
    pub timeout: Option<Duration>,
}

/// Nothing, a nodeid, or `{ nodeid = n, timeout = seconds }`.
pub fn destination(state: State<'_>, index: c_int) -> Result<Destination> {
    let mut destination = Destination {
        nodeid: NODEID_ANY,
        timeout: None,
    };
    match state.kind(index) {
        Kind::None | Kind::Nil => {}
        Kind::Number => destination.nodeid = nodeid(state, index, index)?,
        Kind::Table => options(state, index, &mut destination)?,
        Kind::String if state.to_number(index).is_some() => {
            destination.nodeid = nodeid(state, index, index)?;
        }
        _ => return Err(Error::expected(state, index, "number or table")),
    }
    Ok(destination)
}

fn options(state: State<'_>, index: c_int, destination: &mut Destination) -> Result<()> {
    state.push_nil();
    // SAFETY: a table is at this index; the key is nil, or came from there.
    while unsafe { state.next(index) } {
        let value = state.top();
        match state.bytes(value - 1) {
            Some(b"nodeid") => destination.nodeid = nodeid(state, value, index)?,
            Some(b"timeout") => destination.timeout = seconds(state, value, index)?,
            Some(name) => {
                let name = String::from_utf8_lossy(name);
                return Err(Error::argument(index, format!("no such option: {name}")));
            }
            None => return Err(Error::argument(index, "options have names")),
        }
        state.set_top(value - 1);
    }
    Ok(())
}

/// The nodeid at `position`; `index` is the argument to name. C programs, and
/// scripts written after them, say -1 and -2 for the two special ones.
fn nodeid(state: State<'_>, position: c_int, index: c_int) -> Result<u32> {
    match state.to_integer(position) {
        Some(-1) => Ok(NODEID_ANY),
        Some(-2) => Ok(NODEID_UPSTREAM),
        Some(n) => u32::try_from(n).map_err(|_| Error::argument(index, "nodeid out of range")),
        None => Err(Error::argument(index, "a nodeid is a number")),
    }
}

/// One that is longer than any clock shows is none.
fn seconds(state: State<'_>, position: c_int, index: c_int) -> Result<Option<Duration>> {
    match state.to_number(position) {
        Some(seconds) if seconds >= 0.0 => Ok(Duration::try_from_secs_f64(seconds).ok()),
        _ => Err(Error::argument(
            index,
            "a timeout is a number of seconds, 0 or more",
        )),
    }
}
