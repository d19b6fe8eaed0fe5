//! `flux.new`: opens a handle on the back end that the URI names.

use std::ffi::CStr;
use std::rc::Rc;

use super::{Handle, NewHandle};
use crate::api::arguments;
use crate::api::quote::quoted;
use crate::backend::{self, ErrorParts};
use crate::lua::{self, Error, Result, State, lua_CFunction};
use crate::lua_functions;

/// `flux.new([uri])`
fn new(state: State<'_>) -> Result<NewHandle> {
    let given = arguments::optional_text(state, 1)?;
    let environment = std::env::var("FLUX_URI").ok();
    let uri = given.or(environment.as_deref());
    let backend = open_backend(uri).map_err(|error| {
        let error = match uri {
            Some(uri) => with_uri(error, uri, given.is_some()),
            None => error,
        };
        // Unlike other calls, the text includes the detail: it says which socket was
        // tried and what the user can do.
        let text = error.to_string();
        let ErrorParts { errnum, detail } = error.into();
        Error::from(lua::Failure {
            text,
            code: Some(errnum),
            detail,
        })
    })?;
    let uri = uri.unwrap_or("default").to_owned();
    Ok(NewHandle(Some(Handle::new(state, uri, false, backend)?)))
}

fn open_backend(uri: Option<&str>) -> backend::Result<Rc<dyn backend::Handle>> {
    match uri {
        Some(uri) if uri.starts_with("embed://") || uri.starts_with("loop://") => {
            Ok(Rc::from(backend::embedded::open(uri)?))
        }
        uri => Ok(Rc::new(backend::libflux::open(uri)?)),
    }
}

/// The error of opening a URI, with a detail that shows the URI. The URI is an argument
/// of the script (`is_argument`), or comes from the environment.
fn with_uri(error: backend::Error, uri: &str, is_argument: bool) -> backend::Error {
    let shown = match is_argument {
        true => quoted(uri),
        false => format!("FLUX_URI={}", quoted(uri)),
    };
    let shows_uri = |detail: &str| {
        let shows_unquoted = uri.contains("://") && detail.contains(uri);
        shows_unquoted || detail.contains(&quoted(uri))
    };
    let detail = match &error.detail {
        Some(detail) if shows_uri(detail) => return error,
        Some(detail) => format!("{detail} (opening {shown})"),
        None => format!("cannot open {shown}"),
    };
    backend::Error::with_detail(error.errnum, detail)
}

lua_functions! { lua_new => new; }

/// Functions of module `flux`.
pub const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"new", Some(lua_new))];
