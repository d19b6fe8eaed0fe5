//! Opens a connection, with errors that tell more than those of libflux.

use std::env;
use std::ffi::CString;

use super::connection::Connection;
use super::library;
use super::sys::{self, Api, flux_error_t, flux_t};
use super::text::{self, terminated_if_any};
use crate::backend::{Error, Result, last_errno};

/// Opens a connection, to the URI in `FLUX_URI` or Flux's own default if there is
/// no URI. Returns the URI too, if it is not the default.
pub fn open_connection(uri: Option<&str>) -> Result<(Connection, Option<String>)> {
    let api = library::api()?;
    // The URI is kept, so that another connection reaches this broker even if
    // the variable changes.
    let uri = uri.map(str::to_owned).or_else(|| env::var("FLUX_URI").ok());
    let c_uri = terminated_if_any(uri.as_deref())?;
    loop {
        match connect(api, &c_uri) {
            Ok(h) => {
                // SAFETY: the handle has just been opened, and is the caller's.
                let connection = unsafe { Connection::from_owned(api, h, false) };
                return Ok((connection, uri));
            }
            // A signal interrupted the handshake.
            Err(error) if error.errnum == libc::EINTR => {}
            Err(error) => return Err(explained(api, uri.as_deref(), error)),
        }
    }
}

/// Opens a handle. The error has libflux's text, if there is one.
fn connect(api: &'static Api, uri: &Option<CString>) -> Result<*mut flux_t> {
    let uri = text::pointer(uri);
    let Some(flux_open_ex) = api.flux_open_ex else {
        // SAFETY: the URI is null or terminated.
        let h = unsafe { (api.flux_open)(uri, 0) };
        return opened(h, None);
    };
    let mut error = flux_error_t { text: [0; 160] };
    // SAFETY: the URI is null or terminated, and the buffer is valid.
    let h = unsafe { flux_open_ex(uri, 0, &mut error) };
    opened(h, Some(&error))
}

/// The result of a call that opens a handle.
fn opened(h: *mut flux_t, error: Option<&flux_error_t>) -> Result<*mut flux_t> {
    if !h.is_null() {
        return Ok(h);
    }
    let errnum = last_errno();
    let detail = error.map(|error| {
        let bytes = error.text.iter().take_while(|&&c| c != 0);
        let bytes: Vec<u8> = bytes.map(|&c| c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    Err(Error::with_optional_detail(
        errnum,
        detail.filter(|text| !text.is_empty()),
    ))
}

/// The error with libflux's text, or with the URI if that only repeats the errno.
fn explained(api: &Api, uri: Option<&str>, error: Error) -> Error {
    let says_more = |text: &String| *text != error.text();
    if error.detail.as_ref().is_some_and(says_more) {
        return error;
    }
    let uri = uri.map_or_else(|| default_uri(api), |uri| Some(uri.to_owned()));
    let uri = uri.unwrap_or_else(|| "Flux's default URI".to_owned());
    let detail = match uri.strip_prefix("local://") {
        Some("") => format!("{uri} names no socket"),
        Some(path) if error.errnum == libc::ECONNREFUSED => {
            format!("no broker answers on socket {path}")
        }
        Some(path) => format!("cannot connect to broker socket {path}"),
        None => format!("cannot open {uri}"),
    };
    Error::with_detail(error.errnum, detail)
}

/// The URI that libflux opens by default.
fn default_uri(api: &Api) -> Option<String> {
    let builtin_get = api.flux_conf_builtin_get?;
    // SAFETY: the name is terminated. The call returns null, or a string that is
    // valid for ever.
    let rundir = unsafe { text::copied(builtin_get(c"rundir".as_ptr(), sys::FLUX_CONF_AUTO)) };
    Some(format!("local://{}/local", rundir?))
}
