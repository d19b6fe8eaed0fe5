//! Lua ↔ JSON, straight between the Lua stack and bytes, with no tree between:
//! what other modules call, and `flux.json` as scripts see it. Knows nothing
//! of Flux.

mod decode;
mod encode;
mod error;
mod number;
mod text;
mod unescape;

use std::cell::{Cell, UnsafeCell};
use std::os::raw::c_int;
use std::ptr::NonNull;

pub use decode::{Options, decode};
pub use encode::{array_len, encode, encode_object, number_name};
pub use error::{DecodeError, EncodeError, Reason};
pub use number::{float_text, integral};

use crate::lua::{Error, Key, Kind, OnTop, Push, Result, State, Writer};
use crate::lua_functions;

/// So many tables within one another, and no more: a table that holds itself
/// ends here.
pub const MAX_DEPTH: u32 = 1000;

/// Under which the registry keeps the metatable that makes an empty table an
/// array.
static ARRAY_MARK: Key = Key::unique();

/// Make the array mark, once per Lua state.
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

/// Push the metatable that marks arrays; a nil, and false, before [`open`].
pub fn push_array_mark(state: State<'_>) -> bool {
    state.registry(&ARRAY_MARK) == Kind::Table
}

/// Mark the table at the absolute index `table` as an array, which it is while
/// it is empty. Does not raise.
pub fn mark_array(writer: &Writer<'_>, table: c_int) {
    push_array_mark(writer.state());
    writer.set_metatable(table);
}

/// Needs two free slots.
fn has_array_mark(state: State<'_>, table: c_int) -> bool {
    if !state.push_metatable(table) {
        return false;
    }
    let is_mark = push_array_mark(state) && state.raw_equal(-1, -2);
    state.pop(2);
    is_mark
}

/// Push the table `flux.json`. Opens what it needs.
pub fn push_module(writer: &Writer<'_>) {
    open(writer);
    writer.table(0, 4);
    writer.function(Some(json_encode));
    writer.set_field(-2, c"encode");
    writer.function(Some(json_decode));
    writer.set_field(-2, c"decode");
    writer.function(Some(json_array));
    writer.set_field(-2, c"array");
    writer.light_userdata(std::ptr::null());
    writer.set_field(-2, c"NULL");
}

lua_functions! {
    json_encode => encode_value;
    json_decode => decode_text;
    json_array => array;
}

/// Where `flux.json.encode` writes, kept from call to call.
struct Kept {
    text: UnsafeCell<Vec<u8>>,
    /// Whether that is being written or pushed. Some Luas collect garbage
    /// first, and a finalizer may encode. An error while pushing leaves it
    /// set, for good.
    is_in_use: Cell<bool>,
}

thread_local! {
    static KEPT: Kept = const {
        Kept {
            text: UnsafeCell::new(Vec::new()),
            is_in_use: Cell::new(false),
        }
    };
}

/// A longer text's memory is not kept.
const MAX_KEPT: usize = 1 << 20;

/// A text that owns nothing, so that pushing it takes no protected call.
enum Written {
    /// The one that this thread wrote last.
    Kept(NonNull<Kept>),
    OnTop,
}

impl Push for Written {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        if let Written::Kept(kept) = self {
            // SAFETY: it is this thread's, which runs.
            let kept = unsafe { kept.as_ref() };
            // SAFETY: it is in use since it was written, and so nobody wrote
            // there since, nor does while it is being pushed.
            writer.bytes(unsafe { &*kept.text.get() });
            kept.is_in_use.set(false);
        }
        1
    }
}

/// `flux.json.encode(v)` → text.
fn encode_value(state: State<'_>) -> Result<Written> {
    // On a thread that is ending there is none.
    if let Ok(Some(written)) = KEPT.try_with(|kept| write_kept(state, kept)) {
        return written;
    }
    let mut text = Vec::new();
    encode(state, 1, &mut text).map_err(|error| refused(state, error))?;
    state.protect(0, |writer| {
        writer.bytes(&text);
        1
    })?;
    Ok(Written::OnTop)
}

#[cold]
fn refused(state: State<'_>, error: EncodeError) -> Error {
    match state.kind(1) {
        Kind::None => Error::expected(state, 1, "value"),
        _ => error.raised(None),
    }
}

/// None while the text is in use.
fn write_kept(state: State<'_>, kept: &Kept) -> Option<Result<Written>> {
    if kept.is_in_use.replace(true) {
        return None;
    }
    // SAFETY: nobody else uses it.
    let text = unsafe { &mut *kept.text.get() };
    text.clear();
    if text.capacity() > MAX_KEPT {
        text.shrink_to(MAX_KEPT);
    }
    if let Err(error) = encode(state, 1, text) {
        kept.is_in_use.set(false);
        return Some(Err(refused(state, error)));
    }
    Some(Ok(Written::Kept(NonNull::from(kept))))
}

/// A text, borrowed from argument 1, to be decoded as the options that are
/// argument 2 say, if there are any.
struct Encoded<'t> {
    text: &'t [u8],
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

/// `flux.json.decode(text[, {null = value}])` → value, or `nil, err`.
fn decode_text(state: State<'_>) -> Result<Encoded<'_>> {
    let Some(text) = state.bytes(1) else {
        return Err(Error::expected(state, 1, "string"));
    };
    let has_options = state.top() > 1 && !state.is_none_or_nil(2);
    if has_options && state.kind(2) != Kind::Table {
        return Err(Error::expected(state, 2, "table"));
    }
    Ok(Encoded { text, has_options })
}

/// Push the field `null` of the options at 2, and say where it is if it is there.
fn null_option(writer: &Writer<'_>) -> Option<c_int> {
    writer.bytes(b"null");
    match writer.state().raw_get(2) {
        Kind::Nil => None,
        _ => Some(writer.state().top()),
    }
}

/// `flux.json.array([t])` → the same table, an array even while it is empty.
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
    if has_array_mark(state, 1) {
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
