//! Converts text and bytes between C and Rust: terminators and lengths. Nothing
//! here depends on a Flux object.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use crate::backend::{Error, Result};

/// Copies a text and adds the NUL that C expects. Fails with EINVAL if the text
/// itself contains a NUL, and with EMSGSIZE if it is longer than versions
/// before 0.70 can count.
pub fn terminated(text: impl Into<Vec<u8>>) -> Result<CString> {
    let text =
        CString::new(text).map_err(|_| Error::with_detail(libc::EINVAL, "the text holds a NUL"))?;
    fits_an_int(text.as_bytes_with_nul().len())?;
    Ok(text)
}

/// Like [`terminated`], for a text that may be absent.
pub fn terminated_if_any(text: Option<impl Into<Vec<u8>>>) -> Result<Option<CString>> {
    text.map(terminated).transpose()
}

/// C's pointer to a text that may be absent: null, or valid as long as `text` is.
pub fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Fails with EMSGSIZE if a length does not fit an `int`, because libflux
/// before 0.70 takes an `int`.
pub fn fits_an_int(length: usize) -> Result<()> {
    match c_int::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(libc::EMSGSIZE)),
    }
}

/// A place where C writes a pointer to its own bytes, and their length.
pub struct Bytes {
    /// The pointer.
    pub data: *const c_void,
    /// The length. Zero at first, because libflux before 0.70 writes an `int`
    /// here, which then reads the same (Flux runs on little-endian machines).
    pub length: usize,
}

impl Bytes {
    /// A place without bytes.
    pub fn new() -> Bytes {
        Bytes {
            data: ptr::null(),
            length: 0,
        }
    }

    /// The bytes. None if the pointer is null.
    ///
    /// # Safety
    ///
    /// Only C has written to this, and the bytes stay valid and unchanged for
    /// `'a`.
    pub unsafe fn get<'a>(&self) -> Option<&'a [u8]> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: C wrote a pointer and the length of its bytes, which are valid
        // for `'a` by the contract.
        Some(unsafe { std::slice::from_raw_parts(self.data.cast(), self.length) })
    }
}

/// A payload without the NUL that Flux appends to strings.
pub fn without_terminator(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\0").unwrap_or(payload)
}

/// Copies C's text. None for a null pointer.
///
/// # Safety
///
/// `text` is null, or points to a NUL-terminated string that is valid now.
pub unsafe fn copied(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, so valid and terminated by the contract.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}
