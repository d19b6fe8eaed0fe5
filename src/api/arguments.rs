//! Reads the arguments of a script's call. Lua's coercions hold: a numeric string is
//! accepted as a number, and a number as a string. Each check raises an error that names the
//! wrong argument.

use std::ops::RangeInclusive;
use std::os::raw::c_int;
use std::time::Duration;

use crate::backend::{NODEID_ANY, NODEID_UPSTREAM};
use crate::lua::{Error, Kind, Raised, RegistryKey, Result, StackError, State, Writer};

/// The registry key of `string.format`, as it was when the module was loaded.
static FORMAT: RegistryKey = RegistryKey::unique();

/// Stores `string.format` in the registry.
pub fn open(writer: &Writer<'_>) {
    writer.global(c"string");
    if writer.state().kind(-1) == Kind::Table {
        writer.field(-1, c"format");
        writer.set_registry(&FORMAT);
    }
    writer.state().pop(1);
}

/// A text in UTF-8, such as a name, a KVS key or a URI.
#[inline]
pub fn text<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    utf8(bytes(state, index)?).map_err(|why| Error::argument(index, why))
}

/// [`text`], or None for an argument that is absent or nil.
pub fn optional_text<'a>(state: State<'a>, index: c_int) -> Result<Option<&'a str>> {
    match state.kind(index) {
        Kind::None | Kind::Nil => Ok(None),
        _ => text(state, index).map(Some),
    }
}

/// The topic of a request. Unlike other texts it must be a string: a number at its place is
/// most likely a misplaced argument.
#[inline]
pub fn topic<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    let bytes = state
        .bytes(index)
        .ok_or_else(|| Error::expected(state, index, "string"))?;
    utf8(bytes).map_err(|why| Error::argument(index, why))
}

/// A string of any bytes.
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

/// A number without a fractional part, in the range, which the error names.
#[inline]
pub fn integer(state: State<'_>, index: c_int, range: RangeInclusive<i64>) -> Result<i64> {
    match state.to_integer(index) {
        Some(n) if range.contains(&n) => Ok(n),
        _ => Err(integer_expected(state, index, &range)),
    }
}

#[cold]
fn integer_expected(state: State<'_>, index: c_int, range: &RangeInclusive<i64>) -> Error {
    if state.to_number(index).is_none() {
        return Error::expected(state, index, "number");
    }
    let (low, high) = (range.start(), range.end());
    Error::argument(index, format!("an integer from {low} to {high} expected"))
}

/// Formats the arguments from `index` on with `string.format`: a format and its values. If
/// that fails, the call returns `nil, "string.format: …"`.
pub fn formatted<'a>(state: State<'a>, index: c_int) -> Result<&'a str> {
    let format = bytes(state, index)?;
    // Most formats have no conversions, and stand for themselves.
    let text = match format.contains(&b'%') {
        true => {
            push_formatted(state, index)?;
            state.bytes(-1).unwrap_or_default()
        }
        false => format,
    };
    utf8(text).map_err(|why| Error::argument(index, why))
}

/// Pushes the result of `string.format`, called with the arguments from `index` on.
pub fn push_formatted(state: State<'_>, index: c_int) -> Result<()> {
    let last = state.top();
    state.reserve(last - index + 2)?;
    if state.registry(&FORMAT) != Kind::Function {
        return Err(Error::raise(
            "string.format did not exist when the module was loaded",
        ));
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

/// Where a request goes, and how long its response may take.
pub struct Destination {
    /// A rank, [`NODEID_ANY`] or [`NODEID_UPSTREAM`].
    pub nodeid: u32,
    /// None to wait forever.
    pub timeout: Option<Duration>,
}

/// The destination at `index`: a nodeid, or `{ nodeid = n, timeout = seconds }`. Any broker
/// without a timeout if the argument is absent.
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
            None => {
                return Err(Error::argument(
                    index,
                    "the keys of the options must be strings",
                ));
            }
        }
        state.set_top(value - 1);
    }
    Ok(())
}

/// The nodeid at `position`. `index` is the argument that an error names. -1 and -2 are
/// accepted for the two special nodeids: C programs, and scripts modelled on them, use those.
fn nodeid(state: State<'_>, position: c_int, index: c_int) -> Result<u32> {
    match state.to_integer(position) {
        Some(-1) => Ok(NODEID_ANY),
        Some(-2) => Ok(NODEID_UPSTREAM),
        Some(n) => u32::try_from(n).map_err(|_| Error::argument(index, "nodeid out of range")),
        None => Err(Error::argument(index, "a nodeid is a number")),
    }
}

/// The timeout at `position`. None if it is too long for a [`Duration`].
fn seconds(state: State<'_>, position: c_int, index: c_int) -> Result<Option<Duration>> {
    match state.to_number(position) {
        Some(seconds) if seconds >= 0.0 => Ok(Duration::try_from_secs_f64(seconds).ok()),
        _ => Err(Error::argument(
            index,
            "a timeout is a number of seconds, 0 or more",
        )),
    }
}
