//! Converts between Lua values and JSON text, directly between the Lua stack
//! and bytes, without an intermediate tree. This file holds the interface for
//! other modules and the script module `flux.json`; the submodules do the
//! conversion. Nothing here knows about Flux.

mod array_mark;
mod decode;
mod encode;
mod error;
mod number;
mod output;
mod text;
mod unescape;

use std::os::raw::c_int;

pub use array_mark::{mark_array, open, push_array_mark};
pub use decode::{Options, decode};
pub use encode::{array_len, encode, encode_object, number_name};
pub use error::{DecodeError, EncodeError, Reason};
pub use number::{float_text, integral};
pub use output::Output;

use crate::lua::{Error, Kind, OnTop, Push, Result, Scratch, State, Writer};
use crate::lua_functions;

/// The maximum nesting depth of tables and of JSON text. It also ends the
/// encoding of a table that contains itself.
pub use crate::MAX_JSON_DEPTH as MAX_DEPTH;

/// Push the table `flux.json`. Also creates the array mark. May raise for lack
/// of memory.
pub fn push_module(writer: &Writer<'_>) {
    open(writer);
    writer.table(0, 4);
    // SAFETY: `lua_functions!` made the function, so Lua may call it.
    unsafe { writer.function(Some(json_encode)) };
    writer.set_field(-2, c"encode");
    // SAFETY: `lua_functions!` made the function, so Lua may call it.
    unsafe { writer.function(Some(json_decode)) };
    writer.set_field(-2, c"decode");
    // SAFETY: `lua_functions!` made the function, so Lua may call it.
    unsafe { writer.function(Some(json_array)) };
    writer.set_field(-2, c"array");
    writer.light_userdata(std::ptr::null());
    writer.set_field(-2, c"NULL");
}

lua_functions! {
    json_encode(Scratch) => encode_value;
    json_decode => decode_text;
    json_array => array;
}

/// Script function `flux.json.encode(v)` → text.
#[inline]
fn encode_value<'s>(state: State<'_>, scratch: &'s mut Scratch) -> Result<Output<'s>> {
    let mut text = Output::new(scratch);
    match encode::encode_inline(state, 1, &mut text) {
        Ok(()) => Ok(text),
        Err(error) => Err(encode_error(state, error)),
    }
}

#[cold]
fn encode_error(state: State<'_>, error: EncodeError) -> Error {
    match state.kind(1) {
        Kind::None => Error::expected(state, 1, "value"),
        _ => error.raised(None),
    }
}

/// The result of `flux.json.decode`: decodes the text of argument 1 when it is
/// pushed.
struct Encoded<'t> {
    text: &'t [u8],
    /// Whether argument 2 is a table of options.
    has_options: bool,
}

impl Push for Encoded<'_> {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let options = Options {
            null: self.has_options.then(|| null_option(writer)).flatten(),
        };
        match decode(writer, self.text, options) {
            Ok(()) => 1,
            Err(error) => {
                writer.nil();
                writer.text(format_args!("{error}"));
                2
            }
        }
    }
}

/// Script function `flux.json.decode(text[, {null = value}])` → value, or
/// `nil, err`.
fn decode_text(state: State<'_>) -> Result<Encoded<'_>> {
    let Some(text) = state.to_bytes(1)? else {
        return Err(Error::expected(state, 1, "string"));
    };
    let has_options = state.top() > 1 && !state.is_none_or_nil(2);
    if has_options && state.kind(2) != Kind::Table {
        return Err(Error::expected(state, 2, "table"));
    }
    Ok(Encoded { text, has_options })
}

/// Push the field `null` of argument 2. Returns its stack index unless it is nil.
fn null_option(writer: &Writer<'_>) -> Option<c_int> {
    writer.bytes(b"null");
    match writer.state().raw_get(2) {
        Kind::Nil => None,
        _ => Some(writer.state().top()),
    }
}

/// Script function `flux.json.array([t])` → `t` or a new table, marked as an
/// array.
fn array(state: State<'_>) -> Result<OnTop> {
    if state.kind(1) == Kind::None {
        state.protect(0, |writer| {
            writer.table(0, 0);
            mark_array(writer, 1);
            1
        })?;
        return Ok(OnTop);
    }
    if state.kind(1) != Kind::Table {
        return Err(Error::expected(state, 1, "table"));
    }
    state.set_top(1);
    if array_mark::has_array_mark(state, 1) {
        return Ok(OnTop);
    }
    if state.push_metatable(1) {
        return Err(Error::argument(1, "the table has a metatable already"));
    }
    state.push_value(1);
    state.protect(1, |writer| {
        mark_array(writer, 1);
        1
    })?;
    Ok(OnTop)
}
