//! The error type of the back ends: an errno, and the service's text about it.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::ops::Deref;

/// An errno, with a text for people if the service or the library gave one. It
/// has the size of one pointer, because every function that may fail returns
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<ErrorParts>);

/// The parts of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorParts {
    /// A positive errno.
    pub errnum: i32,
    /// The text of the service or the library, if there was one.
    pub detail: Option<String>,
}

/// The result of a function of a back end.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An errno without a text.
    #[cold]
    pub fn new(errnum: i32) -> Error {
        Error::with_optional_detail(errnum, None)
    }

    /// An errno with a text.
    pub fn with_detail(errnum: i32, detail: impl Into<String>) -> Error {
        Error::with_optional_detail(errnum, Some(detail.into()))
    }

    /// An errno, with a text if there is one.
    #[cold]
    pub fn with_optional_detail(errnum: i32, detail: Option<String>) -> Error {
        Error(Box::new(ErrorParts { errnum, detail }))
    }

    /// The error in a response: its errno, and its text as a peer wrote it.
    #[cold]
    pub fn from_response(errnum: i32, text: Option<&[u8]>) -> Error {
        let detail = text.map(|text| String::from_utf8_lossy(text).into_owned());
        Error::with_optional_detail(errnum, detail)
    }

    /// The errno that this thread's last C call set.
    pub fn last_os_error() -> Error {
        Error::new(last_errno())
    }

    /// The errno's text, as `flux_strerror` gives it.
    pub fn text(&self) -> Cow<'static, str> {
        strerror(self.errnum)
    }
}

impl From<Error> for ErrorParts {
    fn from(error: Error) -> ErrorParts {
        *error.0
    }
}

impl Deref for Error {
    type Target = ErrorParts;

    fn deref(&self) -> &ErrorParts {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.text()),
            None => f.write_str(&self.text()),
        }
    }
}

impl std::error::Error for Error {}

/// The errno that this thread's last C call set, EINVAL if it set none.
pub fn last_errno() -> i32 {
    let errnum = std::io::Error::last_os_error().raw_os_error();
    errnum.filter(|&e| e != 0).unwrap_or(libc::EINVAL)
}

/// The text of an errno, in the C locale's words, on any thread.
pub fn strerror(errnum: i32) -> Cow<'static, str> {
    let mut buf = [0 as libc::c_char; 128];
    // SAFETY: the buffer is ours and its length is passed; XSI strerror_r
    // always leaves a terminated string in it for the lengths of errno texts.
    let rc = unsafe { libc::strerror_r(errnum, buf.as_mut_ptr(), buf.len()) };
    if rc != 0 {
        return Cow::Owned(format!("Unknown error {errnum}"));
    }
    // SAFETY: strerror_r terminated the buffer, which outlives the borrow.
    let text = unsafe { CStr::from_ptr(buf.as_ptr()) };
    Cow::Owned(text.to_string_lossy().into_owned())
}
