//! Opening a handle, and saying what went wrong where libflux says little.

use std::env;
use std::ffi::CString;

use super::connection::Connection;
use super::handle::FluxHandle;
use super::library;
use super::sys::{self, Api, flux_error_t, flux_t};
use super::text::{self, terminated_if_any};
use crate::backend::{Error, Result, last_errno};

/// Open a handle as `flux_open` does: without a URI, the one in `FLUX_URI`,
/// else Flux's own default. The error says what could not be reached; where
/// libflux-core is not installed, how to do without it.
pub fn open(uri: Option<&str>) -> Result<FluxHandle> {
    let api = library::api()?;
    // Kept, so that `reopen` leads to this broker whatever becomes of the variable.
    let uri = uri.map(str::to_owned).or_else(|| env::var("FLUX_URI").ok());
    let c_uri = terminated_if_any(uri.as_deref())?;
    loop {
        match connect(api, &c_uri) {
            Ok(h) => {
                // SAFETY: a handle that has just been opened, and is ours.
                let connection = unsafe { Connection::from_owned(api, h, false) };
                return Ok(FluxHandle::new(connection, uri));
            }
            // A signal met the handshake.
            Err(error) if error.errnum == libc::EINTR => {}
            Err(error) => return Err(explained(api, uri.as_deref(), error)),
        }
    }
}

impl FluxHandle {
    /// A handle on a `flux_t` that C code opened. Its reactor and dispatcher
    /// stay that code's.
    ///
    /// # Safety
    ///
    /// `h` is a valid `flux_t`, used on this thread only. A reference is taken.
    pub unsafe fn from_raw(h: *mut flux_t) -> Result<FluxHandle> {
        let api = library::api()?;
        // SAFETY: valid by the contract; the reference taken is the connection's.
        let connection = unsafe { Connection::from_owned(api, (api.flux_incref)(h), true) };
        Ok(FluxHandle::new(connection, None))
    }
}

fn connect(api: &'static Api, uri: &Option<CString>) -> Result<*mut flux_t> {
    let uri = text::pointer(uri);
    let Some(flux_open_ex) = api.flux_open_ex else {
        // SAFETY: null or a terminated string.
        let h = unsafe { (api.flux_open)(uri, 0) };
        return opened(h, None);
    };
    let mut error = flux_error_t { text: [0; 160] };
    // SAFETY: null or a terminated string, and a place for the error's text.
    let h = unsafe { flux_open_ex(uri, 0, &mut error) };
    opened(h, Some(&error))
}

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

/// libflux's text, unless it only repeats the errno; then what was to be opened.
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

fn default_uri(api: &Api) -> Option<String> {
    let builtin_get = api.flux_conf_builtin_get?;
    // SAFETY: a terminated name; gives null, or a string that lives on.
    let rundir = unsafe { text::copied(builtin_get(c"rundir".as_ptr(), sys::FLUX_CONF_AUTO)) };
    Some(format!("local://{}/local", rundir?))
}
