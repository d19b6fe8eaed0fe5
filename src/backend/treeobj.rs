//! KVS tree objects (Flux RFC 11) as far as a client reads them: the names in
//! a directory, the target of a symbolic link.

use serde_json::Value;

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
    let Some(Value::Object(data)) = object.get("data") else {
        return Err(malformed("a directory without data"));
    };
    let mut entries = data
        .iter()
        .map(|(name, entry)| Ok((name.clone(), kind(entry)?)))
        .collect::<Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// The target of a symlink object, and its namespace where the link names one.
pub fn symlink_target(treeobj: &[u8]) -> Result<(Option<String>, String)> {
    let object = parse(treeobj, "symlink")?;
    let data = &object["data"];
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    match text("target") {
        Some(target) => Ok((text("namespace"), target)),
        None => Err(malformed("a symlink without target")),
    }
}

fn kind(entry: &Value) -> Result<EntryKind> {
    match entry.get("type").and_then(Value::as_str) {
        Some("dir" | "dirref") => Ok(EntryKind::Dir),
        Some("val" | "valref") => Ok(EntryKind::Value),
        Some("symlink") => Ok(EntryKind::Symlink),
        _ => Err(malformed("an entry of unknown type")),
    }
}

fn parse(treeobj: &[u8], kind: &str) -> Result<Value> {
    let object: Value =
        serde_json::from_slice(treeobj).map_err(|e| malformed(&format!("not JSON: {e}")))?;
    if object.get("type").and_then(Value::as_str) == Some(kind) {
        Ok(object)
    } else {
        Err(malformed(&format!("not a {kind}")))
    }
}

fn malformed(what: &str) -> Error {
    Error::with_detail(libc::EPROTO, format!("malformed KVS tree object: {what}"))
}
