//! How C code responds to the messages that it made. `capi` implements the trait.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::lua::Writer;

/// Responds to a message that C code made. Each method pushes the results of the script's
/// call, and returns how many there are. Both may raise an error.
pub trait Responder {
    /// Sends a response. `payload` is JSON text.
    fn respond(&self, writer: &Writer<'_>, payload: &CStr) -> ResponderResult;
    /// Sends an error response, with an error text if there is one.
    fn respond_error(
        &self,
        writer: &Writer<'_>,
        errnum: c_int,
        text: Option<&CStr>,
    ) -> ResponderResult;
}

/// The number of results that a [`Responder`] pushed.
pub type ResponderResult = std::result::Result<c_int, NoResponse>;

/// Why a [`Responder`] did not respond.
pub enum NoResponse {
    /// C code registered no callback for this kind of response.
    NoCallback,
    /// The callback failed.
    Failed,
}
