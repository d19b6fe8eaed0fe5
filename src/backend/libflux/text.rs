//! Text and bytes on their way to C and back: who terminates, who cuts the
//! terminator off, and how lengths travel. Knows no Flux object.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::backend::{Error, Result};

/// A copy with the NUL that C expects. EINVAL for text that holds one itself;
/// EMSGSIZE for more than versions before 0.70 can count.
pub fn terminated(text: impl Into<Vec<u8>>) -> Result<CString> {
    let text =
        CString::new(text).map_err(|_| Error::with_detail(libc::EINVAL, "the text holds a NUL"))?;
    fits_an_int(text.as_bytes_with_nul().len())?;
    Ok(text)
}

/// As [`terminated`], of what may be absent.
pub fn terminated_if_any(text: Option<impl Into<Vec<u8>>>) -> Result<Option<CString>> {
    text.map(terminated).transpose()
}

/// C's pointer to what may be absent: null, or one that lives as `text` does.
pub fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Before 0.70 libflux took lengths as `int`.
pub fn fits_an_int(length: usize) -> Result<()> {
    match c_int::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(libc::EMSGSIZE)),
    }
}

/// Where C writes a pointer to bytes of its own, and their length.
pub struct Bytes {
    pub data: *const c_void,
    /// Zeroed first: before 0.70 libflux wrote an `int` here, whose bytes then
    /// read the same (on the little-endian machines that Flux runs on).
    pub length: usize,
}

impl Bytes {
    pub fn new() -> Bytes {
        Bytes {
            data: ptr::null(),
            length: 0,
        }
    }

    /// `None` where C left the pointer null.
    ///
    /// # Safety
    ///
    /// C has filled this in, and what it points to lives unchanged for `'a`.
    pub unsafe fn get<'a>(&self) -> Option<&'a [u8]> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: non-null, and as long as C said; it lives by the contract.
        Some(unsafe { std::slice::from_raw_parts(self.data.cast(), self.length) })
    }
}

/// A payload without the NUL with which Flux carries strings.
pub fn without_terminator(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\0").unwrap_or(payload)
}

/// A copy of C's text, or `None` for a null pointer.
///
/// # Safety
///
/// `text` is null, or points to a NUL-terminated string that is valid now.
pub unsafe fn copied(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: non-null, so terminated and valid by the contract.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}
