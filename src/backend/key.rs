//! KVS keys: names joined by dots.

use std::borrow::Cow;

use crate::backend::{Error, Result};

/// The key of the root directory.
pub const ROOT: &str = ".";

/// Normalizes a key as the KVS does: removes the dots at both ends (unless the
/// key is the root), and replaces several dots in a row by one.
pub fn normalize(key: &str) -> Cow<'_, str> {
    let mut names = key.as_bytes().split(|&c| c == b'.');
    if names.all(|name| !name.is_empty()) || key.is_empty() {
        return Cow::Borrowed(key);
    }
    let mut normal = String::with_capacity(key.len());
    for c in key.chars() {
        if c != '.' || !(normal.is_empty() || normal.ends_with('.')) {
            normal.push(c);
        }
    }
    if normal.ends_with('.') {
        normal.pop();
    }
    match normal.is_empty() {
        true => Cow::Borrowed(ROOT),
        false => Cow::Owned(normal),
    }
}

/// Fails with EINVAL and the reason for a key that no KVS can hold.
pub fn check(key: &str) -> Result<()> {
    let reason = if key.is_empty() {
        "the key is empty"
    } else if key.contains('\0') {
        "the key holds a NUL"
    } else {
        return Ok(());
    };
    Err(Error::with_detail(libc::EINVAL, reason))
}
