//! The one error type of the back ends: an errno, and what the service said.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::ops::Deref;

/// An errno, with the human-readable text of whoever knew more, if anyone did.
/// One word, as each function that may fail hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Words>);

/// What an [`Error`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// A positive errno.
    pub errnum: i32,
    /// What the service, or the library, said about it.
    pub detail: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    #[cold]
    pub fn new(errnum: i32) -> Error {
        Error::said(errnum, None)
    }

    pub fn with_detail(errnum: i32, detail: impl Into<String>) -> Error {
        Error::said(errnum, Some(detail.into()))
    }

    /// With what was said about it, if anything was.
    #[cold]
    pub fn said(errnum: i32, detail: Option<String>) -> Error {
        Error(Box::new(Words { errnum, detail }))
    }

    /// What a service answered: an errno, and perhaps a text, which a peer wrote.
    #[cold]
    pub fn answered(errnum: i32, text: Option<&[u8]>) -> Error {
        let detail = text.map(|text| String::from_utf8_lossy(text).into_owned());
        Error::said(errnum, detail)
    }

    /// The errno that the last C call of this thread left.
    pub fn last_os_error() -> Error {
        Error::new(last_errno())
    }

    /// The errno's text, as `flux_strerror` gives it.
    pub fn text(&self) -> Cow<'static, str> {
        strerror(self.errnum)
    }
}

impl From<Error> for Words {
    fn from(error: Error) -> Words {
        *error.0
    }
}

impl Deref for Error {
    type Target = Words;

    fn deref(&self) -> &Words {
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

/// The errno that the last C call of this thread left; EINVAL where it left none.
pub fn last_errno() -> i32 {
    let errnum = std::io::Error::last_os_error().raw_os_error();
    errnum.filter(|&e| e != 0).unwrap_or(libc::EINVAL)
}

/// The text of an errno, in the C locale's words on every thread.
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
