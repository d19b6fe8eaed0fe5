//! KVS tree objects (Flux RFC 11), as far as a client reads them: the names in
//! a directory, and the target of a symbolic link.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{self, Members};
use super::{Error, Result};

/// The kind of object that a name in a KVS directory refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A value.
    Value,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
}

#[derive(Deserialize)]
struct TreeObject<'t> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    data: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Link {
    namespace: Option<String>,
    target: String,
}

/// The names of a directory object with their kinds, sorted by name.
pub fn dir_entries(treeobj: &[u8]) -> Result<Vec<(String, EntryKind)>> {
    let names = data(treeobj, "dir")?.and_then(object::members);
    let names: Members = names.ok_or_else(|| malformed("a directory without data"))?;
    let entries = names.into_iter();
    entries
        .map(|(name, entry)| Ok((name, entry_kind(entry)?)))
        .collect()
}

/// The target of a symlink object, and its namespace if the link names one.
pub fn symlink_target(treeobj: &[u8]) -> Result<(Option<String>, String)> {
    let link: Option<Link> = data(treeobj, "symlink")?.and_then(object::read);
    let link = link.ok_or_else(|| malformed("a symlink without target"))?;
    Ok((link.namespace, link.target))
}

fn entry_kind(entry: &RawValue) -> Result<EntryKind> {
    let entry: Option<TreeObject> = object::read(entry.get().as_bytes());
    let kind = entry.and_then(|entry| entry.kind);
    match kind.as_deref() {
        Some("dir" | "dirref") => Ok(EntryKind::Dir),
        Some("val" | "valref") => Ok(EntryKind::Value),
        Some("symlink") => Ok(EntryKind::Symlink),
        _ => Err(malformed("an entry of unknown type")),
    }
}

/// The data of an object that must be of this kind.
fn data<'t>(treeobj: &'t [u8], kind: &str) -> Result<Option<&'t [u8]>> {
    let object: Option<TreeObject<'t>> = object::read(treeobj);
    let object = object.ok_or_else(|| malformed("not a JSON object"))?;
    match object.kind.as_deref() == Some(kind) {
        true => Ok(object.data.map(|data| data.get().as_bytes())),
        false => Err(malformed(&format!("not a {kind}"))),
    }
}

fn malformed(what: &str) -> Error {
    Error::with_detail(libc::EPROTO, format!("malformed KVS tree object: {what}"))
}
