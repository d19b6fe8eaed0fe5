//! JSON payloads between the Lua stack and messages.

use std::os::raw::c_int;

use crate::backend::{self, Future};
use crate::json::{self, Scratch};
use crate::lua::{Error, Push, Result, State, Writer};

/// The JSON text of the table at `index`, for a request or an event; none when
/// it is absent or nil. A Flux payload is an object: an array is EINVAL.
pub fn read(state: State<'_>, index: c_int) -> Result<Option<Vec<u8>>> {
    if state.is_none_or_nil(index) {
        return Ok(None);
    }
    read_object(state, index).map(Some)
}

/// The same of a table that must be there.
pub fn read_object(state: State<'_>, index: c_int) -> Result<Vec<u8>> {
    if state.kind(index) != crate::lua::Kind::Table {
        return Err(Error::expected(state, index, "table"));
    }
    let mut text = Vec::with_capacity(128);
    match json::encode_object(state, index, &mut text) {
        Ok(()) => Ok(text),
        Err(json::EncodeError::NotAnObject) => Err(backend::Error::with_detail(
            libc::EINVAL,
            "a payload is an object, and this table is an array",
        )
        .into()),
        Err(error) => Err(error.raised(Some(index))),
    }
}

/// Push a payload's table: `{}` where there is none. Malformed, it is
/// `nil, "Protocol error", EPROTO, why`.
pub fn push(writer: &Writer<'_>, payload: Option<&[u8]>, scratch: &mut Scratch) -> c_int {
    let Some(text) = payload.filter(|text| !text.is_empty()) else {
        writer.table(0, 0);
        return 1;
    };
    match json::decode(writer, text, json::Options::default(), scratch) {
        Ok(()) => 1,
        Err(error) => push_malformed(writer, error),
    }
}

pub fn push_malformed(writer: &Writer<'_>, error: json::DecodeError) -> c_int {
    writer.nil();
    // The errno's text, on the stack: nothing may be owned here.
    writer.bytes(b"Protocol error");
    writer.integer(libc::EPROTO.into());
    writer.text(format_args!("the payload is not JSON: {error}"));
    4
}

/// An RPC's response, fulfilled, to be pushed as a table.
pub struct Response {
    future: Box<dyn Future>,
    scratch: Scratch,
}

impl Response {
    /// The service's error, if it answered with one.
    pub fn of(future: Box<dyn Future>) -> Result<Response> {
        future.payload()?;
        Ok(Response {
            future,
            scratch: Scratch::default(),
        })
    }
}

impl Push for Response {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let payload = self.future.payload().ok().flatten();
        push(writer, payload, &mut self.scratch)
    }
}
