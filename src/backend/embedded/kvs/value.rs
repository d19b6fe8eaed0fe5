//! What a KVS name stands for. Every content has a digest that it alone
//! determines, as in a content-addressed store.

use std::sync::Arc;

use serde::Serialize;

use super::digest::{Digest, sha1};
use super::tree::Dir;
use crate::backend::base64;

/// A value whose base64 is longer is kept apart from its directory, as a blob.
const MAX_INLINE: usize = 72;

#[derive(Clone)]
pub(in super::super) enum Entry {
    Value(Value),
    Dir(Dir),
    Symlink(Arc<Symlink>),
}

#[derive(PartialEq, Eq, Serialize)]
pub(in super::super) struct Symlink {
    /// The target's, or None for the link's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub target: String,
}

/// A value: blobs, in the order in which they were appended. Appending, and
/// sharing a value, takes the same time however many there are.
#[derive(Clone)]
pub(in super::super) struct Value {
    last: Arc<Blob>,
    /// Held in the directory itself (`val`), not by reference (`valref`).
    inline: bool,
}

struct Blob {
    data: Arc<[u8]>,
    digest: Digest,
    /// Of this blob and all before it.
    chain_digest: Digest,
    count: usize,
    len: usize,
    previous: Option<Arc<Blob>>,
}

impl Entry {
    pub fn digest(&self) -> Digest {
        match self {
            Entry::Value(value) => value.digest(),
            Entry::Dir(dir) => dir.digest(),
            Entry::Symlink(link) => {
                let namespace = link.namespace.as_deref();
                sha1(&[
                    b"symlink\0",
                    namespace.map_or("", |_| "\0").as_bytes(),
                    namespace.unwrap_or("").as_bytes(),
                    b"\0",
                    link.target.as_bytes(),
                ])
            }
        }
    }
}

impl Value {
    pub fn new(data: Arc<[u8]>) -> Value {
        Value {
            inline: base64::encoded_len(data.len()) <= MAX_INLINE,
            last: Arc::new(Blob::new(data, None)),
        }
    }

    /// This value with one more blob.
    pub fn append(&self, data: Arc<[u8]>) -> Value {
        let previous = Some(Arc::clone(&self.last));
        Value {
            inline: false,
            last: Arc::new(Blob::new(data, previous)),
        }
    }

    pub fn is_inline(&self) -> bool {
        self.inline
    }

    pub fn blob_count(&self) -> usize {
        self.last.count
    }

    pub fn bytes(&self) -> Arc<[u8]> {
        if self.last.previous.is_none() {
            return Arc::clone(&self.last.data);
        }
        let mut bytes = Vec::with_capacity(self.last.len);
        for data in self.blobs_from(0) {
            bytes.extend_from_slice(&data);
        }
        bytes.into()
    }

    /// The blobs from the one at `start` on.
    pub fn blobs_from(&self, start: usize) -> Vec<Arc<[u8]>> {
        self.newest(self.blob_count().saturating_sub(start), |blob| {
            Arc::clone(&blob.data)
        })
    }

    pub fn blob_digests(&self) -> Vec<Digest> {
        self.newest(self.blob_count(), |blob| blob.digest)
    }

    /// Whether two values read the same, however they are kept.
    pub fn same_bytes(&self, other: &Value) -> bool {
        Arc::ptr_eq(&self.last, &other.last)
            || self.last.len == other.last.len
                && (self.last.chain_digest == other.last.chain_digest
                    || self.bytes() == other.bytes())
    }

    pub fn digest(&self) -> Digest {
        let kind: &[u8] = if self.inline { b"val\0" } else { b"valref\0" };
        sha1(&[kind, &self.last.chain_digest])
    }

    /// Something of the newest `count` blobs, oldest first.
    fn newest<T>(&self, count: usize, of: impl Fn(&Blob) -> T) -> Vec<T> {
        let blobs = std::iter::successors(Some(&self.last), |blob| blob.previous.as_ref());
        let mut newest: Vec<T> = blobs.take(count).map(|blob| of(blob)).collect();
        newest.reverse();
        newest
    }
}

impl Blob {
    fn new(data: Arc<[u8]>, previous: Option<Arc<Blob>>) -> Blob {
        let digest = sha1(&[&data]);
        Blob {
            digest,
            chain_digest: match &previous {
                Some(previous) => sha1(&[&previous.chain_digest, &digest]),
                None => digest,
            },
            count: previous.as_ref().map_or(0, |blob| blob.count) + 1,
            len: previous.as_ref().map_or(0, |blob| blob.len) + data.len(),
            data,
            previous,
        }
    }
}

impl Drop for Blob {
    // A long chain must not be dropped by recursion.
    fn drop(&mut self) {
        let mut previous = self.previous.take();
        while let Some(mut blob) = previous.and_then(Arc::into_inner) {
            previous = blob.previous.take();
        }
    }
}
