//! KVS tree objects (Flux RFC 11) as far as a client reads them: the names in
//! a directory, the target of a symbolic link.

use super::object::Object;
use super::{Error, Result};

/// What a name in a KVS directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Value,
    Dir,
    Symlink,
}

/// The names of a directory object with their kinds, sorted by name.
pub fn dir_entries(treeobj: &[u8]) -> Result<Vec<(String, EntryKind)>> {
    let object = parse(treeobj, "dir")?;
    let Some(data) = object.object("data") else {
        return Err(malformed("a directory without data"));
    };
    data.fields()
        .map(|(name, entry)| Ok((name.to_owned(), kind(entry)?)))
        .collect()
}

/// The target of a symlink object, and its namespace where the link names one.
pub fn symlink_target(treeobj: &[u8]) -> Result<(Option<String>, String)> {
    let data = parse(treeobj, "symlink")?.object("data");
    let text = |name: &str| data.as_ref().and_then(|data| data.text(name));
    match text("target") {
        Some(target) => Ok((text("namespace"), target)),
        None => Err(malformed("a symlink without target")),
    }
}

fn kind(entry: &str) -> Result<EntryKind> {
    let kind = Object::parse(entry.as_bytes()).and_then(|entry| entry.text("type"));
    match kind.as_deref() {
        Some("dir" | "dirref") => Ok(EntryKind::Dir),
        Some("val" | "valref") => Ok(EntryKind::Value),
        Some("symlink") => Ok(EntryKind::Symlink),
        _ => Err(malformed("an entry of unknown type")),
    }
}

fn parse<'t>(treeobj: &'t [u8], kind: &str) -> Result<Object<'t>> {
    let object = Object::parse(treeobj).ok_or_else(|| malformed("not a JSON object"))?;
    if object.text("type").as_deref() == Some(kind) {
        Ok(object)
    } else {
        Err(malformed(&format!("not a {kind}")))
    }
}

fn malformed(what: &str) -> Error {
    Error::with_detail(libc::EPROTO, format!("malformed KVS tree object: {what}"))
}
