//! KVS values, as chains of blobs.

use std::sync::Arc;

use super::digest::{Digest, sha1};
use crate::backend::base64;

/// A value whose base64 is longer is stored outside its directory, as blobs.
const MAX_INLINE: usize = 72;

/// A value, as blobs in the order in which they were appended. The time to
/// append to a value, or to share it, does not depend on the number of its
/// blobs.
#[derive(Clone)]
pub struct Value {
    last: Arc<Blob>,
    /// Whether the value is stored in its directory (`val`), not by reference
    /// (`valref`).
    inline: bool,
}

struct Blob {
    data: Arc<[u8]>,
    digest: Digest,
    /// The digest of this blob and all before it.
    chain_digest: Digest,
    /// The number of blobs up to this one, and of their bytes.
    count: usize,
    len: usize,
    previous: Option<Arc<Blob>>,
}

impl Value {
    /// A value of one blob.
    pub fn new(data: Arc<[u8]>) -> Value {
        Value {
            inline: base64::encoded_len(data.len()) <= MAX_INLINE,
            last: Arc::new(Blob::new(data, None)),
        }
    }

    /// Returns this value with one more blob at its end.
    pub fn append(&self, data: Arc<[u8]>) -> Value {
        let previous = Some(Arc::clone(&self.last));
        Value {
            inline: false,
            last: Arc::new(Blob::new(data, previous)),
        }
    }

    /// Whether the value is stored in its directory.
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// The number of blobs.
    pub fn blob_count(&self) -> usize {
        self.last.count
    }

    /// All bytes of the value.
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

    /// The blobs from index `start` to the end.
    pub fn blobs_from(&self, start: usize) -> Vec<Arc<[u8]>> {
        self.newest(self.blob_count().saturating_sub(start), |blob| {
            Arc::clone(&blob.data)
        })
    }

    /// The digests of the blobs.
    pub fn blob_digests(&self) -> Vec<Digest> {
        self.newest(self.blob_count(), |blob| blob.digest)
    }

    /// Whether two values have the same bytes. Their blobs may differ.
    pub fn same_bytes(&self, other: &Value) -> bool {
        Arc::ptr_eq(&self.last, &other.last)
            || self.last.len == other.last.len
                && (self.last.chain_digest == other.last.chain_digest
                    || self.bytes() == other.bytes())
    }

    /// A digest that depends only on the content and the form of the value.
    pub fn digest(&self) -> Digest {
        let kind: &[u8] = if self.inline { b"val\0" } else { b"valref\0" };
        sha1(&[kind, &self.last.chain_digest])
    }

    /// A property of each of the newest `count` blobs, oldest first.
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
    // This does not recurse, because a chain may be long.
    fn drop(&mut self) {
        let mut previous = self.previous.take();
        while let Some(mut blob) = previous.and_then(Arc::into_inner) {
            previous = blob.previous.take();
        }
    }
}
