//! JSON payloads of messages: encoding a Lua table as a payload, and pushing a payload as
//! a table.

use std::fmt;
use std::os::raw::c_int;
use std::sync::Arc;

use crate::api::text::{MessageText, Part};
use crate::backend::{self, Message};
use crate::json::{self, Output};
use crate::lua::{Error, Kind, Push, Result, Scratch, State, Writer};

/// Encodes the table at `index` as the payload of a message, into `out`. None if the
/// argument is absent or nil.
///
/// A payload in Flux is a JSON object, so an array is EINVAL. Raises an error for a value
/// that JSON cannot represent.
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
            Err(error) => Err(encode_error(index, error)),
        },
        _ => Err(Error::expected(state, index, "table")),
    }
}

#[cold]
fn encode_error(index: c_int, error: json::EncodeError) -> Error {
    match error {
        json::EncodeError::NotAnObject => {
            let detail = "a payload is an object, and this table is an array";
            backend::Error::with_detail(libc::EINVAL, detail).into()
        }
        error => error.raised(Some(index)),
    }
}

/// Pushes a payload as a table, which is empty if there is no payload. If the payload is
/// not JSON, or neither an object nor an array, pushes
/// `nil, "Protocol error", EPROTO, detail`. Returns the number of values.
pub fn push(writer: &Writer<'_>, payload: Option<&[u8]>) -> c_int {
    let Some(text) = payload.filter(|text| !text.is_empty()) else {
        writer.table(0, 0);
        return 1;
    };
    match json::decode(writer, text, json::Options::default()) {
        Ok(()) if writer.state().kind(-1) == Kind::Table => 1,
        // A payload of null would become nil, and the script would not learn why.
        Ok(()) => push_protocol_error(writer, format_args!("the payload is not an object")),
        Err(error) => push_malformed(writer, error),
    }
}

/// Pushes the error for a payload that is not JSON: `nil, "Protocol error", EPROTO, detail`.
/// Returns the number of values.
pub fn push_malformed(writer: &Writer<'_>, error: json::DecodeError) -> c_int {
    push_protocol_error(writer, format_args!("the payload is not JSON: {error}"))
}

fn push_protocol_error(writer: &Writer<'_>, detail: fmt::Arguments<'_>) -> c_int {
    writer.nil();
    // A literal, because `strerror` returns a text that this frame would own.
    writer.bytes(b"Protocol error");
    writer.integer(libc::EPROTO.into());
    writer.text(detail);
    4
}

/// The results of an RPC that this message answers. Fails with the service's error if the
/// message is an error response.
pub fn response<'s>(message: Arc<dyn Message>, scratch: &'s mut Scratch) -> Result<Response<'s>> {
    let errnum = message.errnum()?;
    if errnum != 0 {
        let text = message.payload().filter(|text| !text.is_empty());
        return Err(backend::Error::from_response(errnum, text).into());
    }
    let payload = MessageText::new(&message, Part::Payload, &mut scratch.all());
    Ok(Response(payload))
}

/// A response. Pushes its payload as a table.
pub struct Response<'s>(MessageText<'s>);

impl Push for Response<'_> {
    fn owns_nothing(&self) -> bool {
        self.0.owns_nothing()
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        push(writer, self.0.bytes())
    }
}
