//! JSON payloads between the Lua stack and messages.

use std::fmt;
use std::os::raw::c_int;
use std::sync::Arc;

use crate::backend::{self, Message};
use crate::json::{self, Output};
use crate::lua::{self, Either, Error, Kind, Push, Result, Scratch, State, Writer};

/// The JSON text of the table at `index`, for a request or an event, written to
/// `out`; none when it is absent or nil. A Flux payload is an object: an array
/// is EINVAL.
#[inline]
pub fn read<'o>(
    state: State<'_>,
    index: c_int,
    out: &'o mut Output<'_>,
) -> Result<Option<&'o [u8]>> {
    match state.kind(index) {
        Kind::None | Kind::Nil => Ok(None),
        Kind::Table => match json::encode_object(state, index, out) {
            Ok(()) => Ok(Some(out)),
            Err(error) => Err(refused(index, error)),
        },
        _ => Err(Error::expected(state, index, "table")),
    }
}

#[cold]
fn refused(index: c_int, error: json::EncodeError) -> Error {
    match error {
        json::EncodeError::NotAnObject => {
            let detail = "a payload is an object, and this table is an array";
            backend::Error::with_detail(libc::EINVAL, detail).into()
        }
        error => error.raised(Some(index)),
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
    scratch: &'r mut Scratch,
) -> Result<Either<Response<'r>, LongResponse>> {
    let text = message.payload();
    let errnum = message.errnum()?;
    if errnum != 0 {
        let text = text.filter(|text| !text.is_empty());
        return Err(backend::Error::from_response(errnum, text).into());
    }
    Ok(match text.map(|text| lua::copy(&mut scratch.all(), text)) {
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
