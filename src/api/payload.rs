//! JSON payloads between the Lua stack and messages.

use std::fmt;
use std::os::raw::c_int;
use std::sync::Arc;

use crate::api::text::{MessageText, Part};
use crate::backend::{self, Message};
use crate::json::{self, Output};
use crate::lua::{Error, Kind, Push, Result, Scratch, State, Writer};

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
pub fn response<'s>(message: Arc<dyn Message>, scratch: &'s mut Scratch) -> Result<Response<'s>> {
    let errnum = message.errnum()?;
    if errnum != 0 {
        let text = message.payload().filter(|text| !text.is_empty());
        return Err(backend::Error::from_response(errnum, text).into());
    }
    let payload = MessageText::new(&message, Part::Payload, &mut scratch.all());
    Ok(Response(payload))
}

/// A response, pushed as a table.
pub struct Response<'s>(MessageText<'s>);

impl Push for Response<'_> {
    fn owns_nothing(&self) -> bool {
        self.0.owns_nothing()
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        push(writer, self.0.bytes())
    }
}
