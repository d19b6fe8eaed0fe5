//! KVS keys: names joined by dots.

use std::borrow::Cow;

/// The root directory.
pub(in super::super) const ROOT: &str = ".";

/// A key as the KVS reads it: of dots in a row one remains, and none at either
/// end, unless it is the root.
pub(in super::super) fn normalize(key: &str) -> Cow<'_, str> {
    let is_normal = key.split('.').all(|name| !name.is_empty());
    if is_normal || key.is_empty() {
        return Cow::Borrowed(key);
    }
    let names: Vec<&str> = key.split('.').filter(|name| !name.is_empty()).collect();
    match names.is_empty() {
        true => Cow::Borrowed(ROOT),
        false => Cow::Owned(names.join(".")),
    }
}
