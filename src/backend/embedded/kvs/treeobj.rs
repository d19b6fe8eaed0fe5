//! Tree objects (RFC 11): KVS entries as JSON, written by hand because a
//! directory's listing is long, and read from what a client committed.

use std::fmt::Write;
use std::sync::Arc;

use super::super::super::kvs_flags;
use super::super::sha1::Digest;
use super::tree::Dir;
use super::value::{Entry, Symlink, Value};
use crate::backend::base64;
use crate::backend::object::{self, Object, write_text};

const VAL_START: &str = r#"{"data":""#;
const VAL_END: &str = r#"","type":"val","ver":1}"#;

/// A digest as a reference to a blob.
pub(in super::super) fn blobref(digest: &Digest) -> String {
    let mut text = String::from("sha1-");
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(in super::super) fn is_blobref(text: &str) -> bool {
    let digits = match text.split_once('-') {
        Some(("sha1", digits)) if digits.len() == 40 => digits,
        Some(("sha256", digits)) if digits.len() == 64 => digits,
        _ => return false,
    };
    digits
        .bytes()
        .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// The object that a lookup with these flags returns.
pub(in super::super) fn of_lookup(entry: &Entry, flags: i32) -> String {
    let mut text = String::new();
    match entry {
        Entry::Dir(dir) if flags & kvs_flags::TREEOBJ == 0 => write_listing(&mut text, dir),
        Entry::Value(value) if flags & kvs_flags::TREEOBJ == 0 => {
            return of_bytes(&value.bytes());
        }
        _ => write_entry(&mut text, entry),
    }
    text
}

/// A `val` object.
pub(in super::super) fn of_bytes(bytes: &[u8]) -> String {
    let data = base64::encode(bytes);
    [VAL_START, &data, VAL_END].concat()
}

/// The bytes that a `val` object from [`of_bytes`] holds.
pub(in super::super) fn bytes_of(object: &str) -> Option<Vec<u8>> {
    let data = object.strip_prefix(VAL_START)?.strip_suffix(VAL_END)?;
    base64::decode(data.as_bytes())
}

/// An entry as it stands in its directory: other directories and large values
/// by reference.
fn write_entry(text: &mut String, entry: &Entry) {
    match entry {
        Entry::Value(value) if value.is_inline() => *text += &of_bytes(&value.bytes()),
        Entry::Value(value) => write_refs(text, "valref", &value.blob_digests()),
        Entry::Dir(dir) => write_refs(text, "dirref", &[dir.digest()]),
        Entry::Symlink(link) => {
            *text += r#"{"data":{"#;
            if let Some(namespace) = &link.namespace {
                *text += r#""namespace":"#;
                write_text(text, namespace);
                text.push(',');
            }
            *text += r#""target":"#;
            write_text(text, &link.target);
            *text += r#"},"type":"symlink","ver":1}"#;
        }
    }
}

fn write_listing(text: &mut String, dir: &Dir) {
    *text += r#"{"data":{"#;
    for (i, (name, entry)) in dir.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_text(text, name);
        text.push(':');
        write_entry(text, entry);
    }
    *text += r#"},"type":"dir","ver":1}"#;
}

fn write_refs(text: &mut String, kind: &str, digests: &[Digest]) {
    let refs: Vec<String> = digests.iter().map(blobref).collect();
    let refs = refs.join("\",\"");
    let _ = write!(text, r#"{{"data":["{refs}"],"type":"{kind}","ver":1}}"#);
}

/// A directory object that is being read.
struct OpenDir<'t> {
    /// The entries read so far.
    dir: Dir,
    /// The entry that is being read, and those after it.
    name: String,
    rest: std::vec::IntoIter<(String, &'t str)>,
}

/// Returns the entry that a client's object stands for, or the errno that a
/// commit of it fails with. Directories may be nested as deep as any JSON, so
/// they are read without recursion.
pub(in super::super) fn decode(object: &str) -> Result<Entry, i32> {
    let mut open = Vec::new();
    let mut finished = decode_object(object, &mut open)?;
    while let Some(OpenDir { dir, name, rest }) = open.last_mut() {
        if let Some(entry) = finished.take() {
            *dir = dir.with(name, entry);
        }
        finished = match rest.next() {
            Some((next, object)) => {
                *name = next;
                decode_object(object, &mut open)?
            }
            None => open.pop().map(|OpenDir { dir, .. }| Entry::Dir(dir)),
        };
    }
    finished.ok_or(libc::EINVAL)
}

/// Reads one object. Pushes a directory on `open` and returns None: its
/// entries are the caller's to read. References are refused, because the blobs
/// that they name are not kept.
fn decode_object<'t>(object: &'t str, open: &mut Vec<OpenDir<'t>>) -> Result<Option<Entry>, i32> {
    let fields = Object::parse(object.as_bytes()).filter(|fields| fields.fields().count() == 3);
    let fields = fields.ok_or(libc::EINVAL)?;
    if fields.integer("ver") != Some(1) {
        return Err(libc::EINVAL);
    }
    let kind = fields.text("type");
    let data = fields.json("data").ok_or(libc::EINVAL)?;
    match kind.as_deref() {
        Some("val") => {
            let data = object::text(data).ok_or(libc::EINVAL)?;
            let bytes = base64::decode(data.as_bytes()).ok_or(libc::EPROTO)?;
            Ok(Some(Entry::Value(Value::new(bytes.into()))))
        }
        Some("dir") => {
            let data = Object::parse(data.as_bytes()).ok_or(libc::EINVAL)?;
            open.push(OpenDir {
                dir: Dir::default(),
                name: String::new(),
                rest: data.into_fields(),
            });
            Ok(None)
        }
        Some("symlink") => decode_symlink(data).map(Some),
        Some("valref" | "dirref") => {
            let refs = object::items(data).filter(|refs| !refs.is_empty());
            let is_ref = |json: &str| object::text(json).is_some_and(|text| is_blobref(&text));
            match refs.is_some_and(|refs| refs.into_iter().all(is_ref)) {
                true => Err(libc::ENOTSUP),
                false => Err(libc::EINVAL),
            }
        }
        _ => Err(libc::EINVAL),
    }
}

fn decode_symlink(data: &str) -> Result<Entry, i32> {
    let data = Object::parse(data.as_bytes()).ok_or(libc::EINVAL)?;
    let namespace = match data.json("namespace") {
        Some(namespace) => Some(object::text(namespace).ok_or(libc::EINVAL)?),
        None => None,
    };
    Ok(Entry::Symlink(Arc::new(Symlink {
        namespace,
        target: data.text("target").ok_or(libc::EINVAL)?,
    })))
}
