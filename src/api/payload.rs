//! JSON payloads between the Lua stack and messages.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::os::raw::c_int;
use std::sync::Arc;

use crate::backend::{self, Message};
use crate::json;
use crate::lua::{self, Either, Error, Kind, Push, Result, Room, State, Writer};

/// JSON text, in memory that the thread keeps for the next one.
pub struct Encoded(Vec<u8>);

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A longer text's memory is not kept.
const MAX_KEPT: usize = 1 << 20;

impl Encoded {
    fn new() -> Encoded {
        // On a thread that is ending there is none.
        Encoded(BUFFER.try_with(Cell::take).unwrap_or_default())
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Encoded {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.0);
        if text.capacity() <= MAX_KEPT {
            text.clear();
            let _ = BUFFER.try_with(|buffer| buffer.set(text));
        }
    }
}

/// The JSON text of the table at `index`, for a request or an event; none when
/// it is absent or nil. A Flux payload is an object: an array is EINVAL.
#[inline]
pub fn read(state: State<'_>, index: c_int) -> Result<Option<Encoded>> {
    match state.kind(index) {
        Kind::None | Kind::Nil => Ok(None),
        Kind::Table => encode(state, index).map(Some),
        _ => Err(Error::expected(state, index, "table")),
    }
}

/// The same of a table that must be there.
#[inline]
pub fn read_object(state: State<'_>, index: c_int) -> Result<Encoded> {
    match state.kind(index) {
        Kind::Table => encode(state, index),
        _ => Err(Error::expected(state, index, "table")),
    }
}

fn encode(state: State<'_>, index: c_int) -> Result<Encoded> {
    let mut text = Encoded::new();
    match json::encode_object(state, index, &mut text.0) {
        Ok(()) => Ok(text),
        Err(json::EncodeError::NotAnObject) => Err(backend::Error::with_detail(
            libc::EINVAL,
            "a payload is an object, and this table is an array",
        )
        .into()),
        Err(error) => Err(error.raised(Some(index))),
    }
}

/// Push a payload's table: `{}` where there is none. Malformed, or no object
/// and no array, it is `nil, "Protocol error", EPROTO, why`.
pub fn push(writer: &Writer<'_>, payload: Option<&[u8]>) -> c_int {
    let Some(text) = payload.filter(|text| !text.is_empty()) else {
        writer.table(0, 0);
        return 1;
    };
    match json::decode(writer, text, json::Options::default()) {
        Ok(()) if writer.state().kind(-1) == Kind::Table => 1,
        // Above all null, of which a script would learn nothing.
        Ok(()) => push_protocol_error(writer, format_args!("the payload is not an object")),
        Err(error) => push_malformed(writer, error),
    }
}

pub fn push_malformed(writer: &Writer<'_>, error: json::DecodeError) -> c_int {
    push_protocol_error(writer, format_args!("the payload is not JSON: {error}"))
}

fn push_protocol_error(writer: &Writer<'_>, why: fmt::Arguments<'_>) -> c_int {
    writer.nil();
    // The errno's text, on the stack: nothing may be owned here.
    writer.bytes(b"Protocol error");
    writer.integer(libc::EPROTO.into());
    writer.text(why);
    4
}

/// The response to an RPC, or the service's error.
pub fn response<'r>(
    message: Arc<dyn Message>,
    room: &'r mut Room,
) -> Result<Either<Response<'r>, LongResponse>> {
    let text = message.payload();
    let errnum = message.errnum()?;
    if errnum != 0 {
        let text = text.filter(|text| !text.is_empty());
        return Err(backend::Error::answered(errnum, text).into());
    }
    Ok(match text.map(|text| lua::copy(&mut room.all(), text)) {
        None => Either::Plain(Response(None)),
        Some(Some(text)) => Either::Plain(Response(Some(text))),
        Some(None) => Either::Owned(LongResponse(message)),
    })
}

/// A response's text, pushed as a table.
pub struct Response<'t>(Option<&'t [u8]>);

impl Push for Response<'_> {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        push(writer, self.0)
    }
}

/// The same of a text that is pushed from where it is in the message.
pub struct LongResponse(Arc<dyn Message>);

impl Push for LongResponse {
    fn looks_at_arguments(&self) -> bool {
        false
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        push(writer, self.0.payload())
    }
}
