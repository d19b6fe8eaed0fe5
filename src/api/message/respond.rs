//! Responding to a message: `msg:respond` and `msg:respond_error`. A request is answered
//! over its handle, a message of C code by a callback of that code.

use std::ffi::{CStr, CString};
use std::os::raw::c_int;
use std::rc::Rc;

use super::responder::{NoResponse, Responder};
use super::{Message, Origin, type_name};
use crate::api::{arguments, payload};
use crate::backend::{self, msgtype};
use crate::json::Output;
use crate::lua::{Integer, Push, Result, Scratch, State, Writer, lua_CFunction};
use crate::lua_functions;

/// The results of `msg:respond` and `msg:respond_error`.
enum Responded {
    /// The handle has sent the response.
    Sent,
    /// C code sends the response when the results are pushed.
    ByCode(Rc<dyn Responder>, ExternalResponse),
}

/// A response that C code sends.
enum ExternalResponse {
    /// A response with this payload, which is JSON text.
    Payload(CString),
    /// An error response with this errno and text.
    Error(c_int, Option<CString>),
}

impl Push for Responded {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        let Responded::ByCode(responder, response) = self else {
            return Integer(0).push(writer);
        };
        let top = writer.state().top();
        let pushed = match response {
            ExternalResponse::Payload(payload) => responder.respond(writer, payload),
            ExternalResponse::Error(errnum, text) => {
                responder.respond_error(writer, *errnum, text.as_deref())
            }
        };
        pushed.unwrap_or_else(|why| {
            writer.state().set_top(top);
            response.push_failure(writer, why)
        })
    }
}

impl ExternalResponse {
    /// Pushes `nil, text, ENOSYS, detail`.
    fn push_failure(&self, writer: &Writer<'_>, why: NoResponse) -> c_int {
        let (text, detail) = match (self, why) {
            (ExternalResponse::Payload(_), NoResponse::NoCallback) => (NOT_RESPONDED, NO_CALLBACK),
            (ExternalResponse::Payload(_), NoResponse::Failed) => (NOT_RESPONDED, CALLBACK_FAILED),
            (ExternalResponse::Error(..), NoResponse::NoCallback) => {
                (NO_ERROR_CALLBACK, NO_ERROR_CALLBACK)
            }
            (ExternalResponse::Error(..), NoResponse::Failed) => {
                (ERROR_CALLBACK_FAILED, ERROR_CALLBACK_FAILED)
            }
        };
        writer.nil();
        writer.bytes(text.as_bytes());
        writer.integer(libc::ENOSYS.into());
        writer.bytes(detail.as_bytes());
        4
    }
}

/// The text of the C bindings for every failure of `msg:respond` on a message of C code.
const NOT_RESPONDED: &str = "zmsg_info_respond: Not implemented";
const NO_CALLBACK: &str = "the C code that made this message registered no response callback \
                           (zmsg_info_register_resp_cb)";
const CALLBACK_FAILED: &str =
    "the response callback of the C code that made this message returned -1";
const NO_ERROR_CALLBACK: &str = "the C code that made this message registered no callback for \
                                 error responses (zmsg_info_register_resp_error_cb)";
const ERROR_CALLBACK_FAILED: &str =
    "the callback for error responses of the C code that made this message returned -1";

/// `msg:respond(table)`
fn respond(state: State<'_>) -> Result<Responded> {
    let message: Message = state.check_object(1)?;
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    let handle = match &message.origin {
        Origin::Handle(handle) => {
            check_request(&message)?;
            handle
        }
        Origin::External(external) => {
            // The callback always gets a payload: its interface is older than responses
            // without one.
            let payload = payload::read(state, 2, &mut text)?.unwrap_or(b"{}");
            let response = ExternalResponse::Payload(terminated(payload)?);
            return Ok(Responded::ByCode(external.responder.clone(), response));
        }
    };
    let payload = payload::read(state, 2, &mut text)?;
    let backend = handle.backend()?;
    backend.respond(&*message.message, payload)?;
    Ok(Responded::Sent)
}

/// `msg:respond_error(errnum[, text])`
fn respond_error(state: State<'_>) -> Result<Responded> {
    let message: Message = state.check_object(1)?;
    if let Origin::Handle(_) = &message.origin {
        check_request(&message)?;
    }
    let errnum = arguments::integer(state, 2, 1..=i32::MAX.into())? as i32;
    let text = arguments::optional_text(state, 3)?;
    match &message.origin {
        Origin::Handle(handle) => {
            let backend = handle.backend()?;
            backend.respond_error(&*message.message, errnum, text)?;
            Ok(Responded::Sent)
        }
        Origin::External(external) => {
            let text = text.map(|text| terminated(text.as_bytes())).transpose()?;
            let response = ExternalResponse::Error(errnum, text);
            Ok(Responded::ByCode(external.responder.clone(), response))
        }
    }
}

/// Copies a text for C code. EINVAL if it contains a NUL.
fn terminated(text: &[u8]) -> Result<CString> {
    CString::new(text).map_err(|_| backend::Error::new(libc::EINVAL).into())
}

/// EINVAL if the message is not a request.
fn check_request(message: &Message) -> Result<()> {
    match message.msgtype() {
        msgtype::REQUEST => Ok(()),
        other => Err(backend::Error::with_detail(
            libc::EINVAL,
            format!(
                "only a request can be responded to, and this is a {}",
                type_name(other)
            ),
        )
        .into()),
    }
}

lua_functions! {
    lua_respond => respond;
    lua_respond_error => respond_error;
}

/// Methods of messages.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"respond", Some(lua_respond)),
    (c"respond_error", Some(lua_respond_error)),
];
