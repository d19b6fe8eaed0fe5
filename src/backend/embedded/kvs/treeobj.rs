//! Tree objects (RFC 11): KVS entries as JSON, written for lookups and read from
//! the operations that clients commit.

use std::borrow::Cow;
use std::collections::btree_map;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::digest::Digest;
use super::tree::{Dir, Entry, Symlink};
use super::value::Value;
use crate::backend::object::{self, Members, present};
use crate::backend::{base64, kvs_flags};

/// The version of tree objects.
const VERSION: i64 = 1;

/// A tree object to write.
#[derive(Serialize)]
struct NewObject<T> {
    data: T,
    #[serde(rename = "type")]
    kind: &'static str,
    ver: i64,
}

impl<T> NewObject<T> {
    fn new(kind: &'static str, data: T) -> NewObject<T> {
        let ver = VERSION;
        NewObject { data, kind, ver }
    }
}

/// Formats a digest as a reference to a blob.
pub fn blobref(digest: &Digest) -> String {
    let mut text = String::from("sha1-");
    for byte in digest {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text is a reference to a blob.
pub fn is_blobref(text: &str) -> bool {
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
pub struct Found<'e> {
    /// The entry that was found.
    pub entry: &'e Entry,
    /// The lookup's [`kvs_flags`].
    pub flags: i32,
}

impl Serialize for Found<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.entry {
            entry if self.flags & kvs_flags::TREEOBJ != 0 => entry.serialize(serializer),
            Entry::Dir(dir) => NewObject::new("dir", Listing(dir)).serialize(serializer),
            Entry::Value(value) => of_bytes(&value.bytes()).serialize(serializer),
            Entry::Symlink(_) => self.entry.serialize(serializer),
        }
    }
}

/// A `val` object.
pub fn of_bytes(bytes: &[u8]) -> impl Serialize + use<> {
    NewObject::new("val", base64::encode(bytes))
}

/// The bytes that a `val` object holds.
pub fn bytes_of(object: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Val<'t> {
        #[serde(borrow)]
        data: Cow<'t, str>,
    }
    let object: Val = object::read(object)?;
    base64::decode(&object.data)
}

/// Writes an entry as its directory contains it. Directories and large values
/// are written by reference.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Entry::Value(value) if value.is_inline() => {
                of_bytes(&value.bytes()).serialize(serializer)
            }
            Entry::Value(value) => {
                let blobs: Vec<String> = value.blob_digests().iter().map(blobref).collect();
                NewObject::new("valref", blobs).serialize(serializer)
            }
            Entry::Dir(dir) => {
                NewObject::new("dirref", [blobref(&dir.digest())]).serialize(serializer)
            }
            Entry::Symlink(link) => NewObject::new("symlink", &**link).serialize(serializer),
        }
    }
}

/// The entries of a directory, in the form of a `dir` object.
struct Listing<'e>(&'e Dir);

impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// A tree object from a client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientObject<'t> {
    ver: i64,
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: &'t RawValue,
}

#[derive(Deserialize)]
struct ClientLink {
    #[serde(default, deserialize_with = "present")]
    namespace: Option<String>,
    target: String,
}

/// A directory object that is being read.
struct OpenDir<'t> {
    /// The entries read so far.
    dir: Dir,
    /// The entry that is being read, and those after it.
    name: String,
    rest: btree_map::IntoIter<String, &'t RawValue>,
}

/// Returns the entry that a client's object stands for, or the errno that a
/// commit of it fails with. Directories may be nested as deep as any JSON, so
/// they are read without recursion.
pub fn decode(object: &RawValue) -> Result<Entry, i32> {
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

/// Reads one object. A directory is pushed on `open`, and None is returned; the
/// caller must then read its entries. References are refused, because the blobs
/// that they name are not kept.
fn decode_object<'t>(
    object: &'t RawValue,
    open: &mut Vec<OpenDir<'t>>,
) -> Result<Option<Entry>, i32> {
    let object: Option<ClientObject> = object::read(object.get().as_bytes());
    let object = object.ok_or(libc::EINVAL)?;
    if object.ver != VERSION {
        return Err(libc::EINVAL);
    }
    let data = object.data.get();
    match object.kind.as_str() {
        "val" => {
            let data: String = serde_json::from_str(data).map_err(|_| libc::EINVAL)?;
            let bytes = base64::decode(&data).ok_or(libc::EPROTO)?;
            Ok(Some(Entry::Value(Value::new(bytes.into()))))
        }
        "dir" => {
            let data: Members = object::members(data.as_bytes()).ok_or(libc::EINVAL)?;
            open.push(OpenDir {
                dir: Dir::default(),
                name: String::new(),
                rest: data.into_iter(),
            });
            Ok(None)
        }
        "symlink" => {
            let link: Option<ClientLink> = object::read(data.as_bytes());
            let ClientLink { namespace, target } = link.ok_or(libc::EINVAL)?;
            let link = Symlink { namespace, target };
            Ok(Some(Entry::Symlink(Arc::new(link))))
        }
        "valref" | "dirref" => {
            let refs: Vec<String> = serde_json::from_str(data).map_err(|_| libc::EINVAL)?;
            match !refs.is_empty() && refs.iter().all(|text| is_blobref(text)) {
                true => Err(libc::ENOTSUP),
                false => Err(libc::EINVAL),
            }
        }
        _ => Err(libc::EINVAL),
    }
}
