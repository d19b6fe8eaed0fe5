//! KVS keys: names joined by dots.

use std::borrow::Cow;

/// The root directory.
pub(in super::super) const ROOT: &str = ".";

/// A key as the KVS reads it: of dots in a row one remains, and none at either
/// end, unless it is the root.
pub(in super::super) fn normalize(key: &str) -> Cow<'_, str> {
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
