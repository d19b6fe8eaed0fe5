//! The pending transaction of a handle: the operations that a script has made since
//! the last commit. Also keeps their keys, because a transaction cannot be read and
//! errors name the keys.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::api::quote::quoted;
use crate::backend::key::{self, ROOT};
use crate::backend::{Error, Result, Transaction};

/// The pending transaction of a handle.
pub struct Pending {
    transaction: Box<dyn Transaction>,
    keys: Keys,
}

/// The keys of a transaction, with the operation on each.
#[derive(Default)]
pub struct Keys {
    /// The latest operations, in their order. They move to `sorted` when an error has
    /// to be explained, so that a transaction without errors pays nothing for sorting.
    recent: Vec<(String, Operation)>,
    /// All earlier operations: the last one on each normalized key.
    sorted: BTreeMap<String, Operation>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Symlink,
    Unlink,
}

impl Pending {
    /// Wraps an empty transaction.
    pub fn new(transaction: Box<dyn Transaction>) -> Pending {
        Pending {
            transaction,
            keys: Keys::default(),
        }
    }

    /// Sets a value, which is any bytes. EINVAL for a key that no KVS can hold.
    pub fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.transaction.put(0, key, value)?;
        self.keys.add(key, Operation::Put);
        Ok(())
    }

    /// Removes a key. EINVAL for a key that no KVS can hold.
    pub fn unlink(&mut self, key: &str) -> Result<()> {
        self.transaction.unlink(key)?;
        self.keys.add(key, Operation::Unlink);
        Ok(())
    }

    /// Makes a symlink. EINVAL for a key that no KVS can hold.
    pub fn symlink(&mut self, key: &str, target: &str) -> Result<()> {
        self.transaction.symlink(key, None, target)?;
        self.keys.add(key, Operation::Symlink);
        Ok(())
    }

    /// The keys of the transaction.
    pub fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// The transaction and its keys.
    pub fn into_parts(self) -> (Box<dyn Transaction>, Keys) {
        (self.transaction, self.keys)
    }
}

impl Keys {
    fn add(&mut self, key: &str, operation: Operation) {
        self.recent.push((key.to_owned(), operation));
    }

    /// Moves the recent operations to `sorted`. Each replaces the earlier operations on
    /// its key and on all keys below it.
    fn sort(&mut self) {
        for (key, operation) in std::mem::take(&mut self.recent) {
            let key = key::normalize(&key).into_owned();
            let prefix = format!("{key}.");
            let below: Vec<_> = self.with_prefix(&prefix).cloned().collect();
            for replaced in below {
                self.sorted.remove(&replaced);
            }
            self.sorted.insert(key, operation);
        }
    }

    /// The sorted keys that start with `prefix`.
    fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = &String> {
        let from_prefix = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.sorted.range::<str, _>(from_prefix);
        keys.map(|(key, _)| key)
            .take_while(move |key| key.starts_with(prefix))
    }

    /// The error of reading `key`. If a commit of this transaction would make the key
    /// readable, the detail says so.
    pub fn explain_read(&mut self, key: &str, error: Error) -> Error {
        if !matches!(error.errnum, libc::ENOENT | libc::EISDIR | libc::ENOTDIR) {
            return error;
        }
        self.sort();
        match self.find_creator(&key::normalize(key)) {
            Some(key) => {
                let key = quoted(key);
                with_added_detail(
                    error,
                    format!("{key} is put on this handle, but not committed"),
                )
            }
            None => error,
        }
    }

    /// Finds a key of the transaction whose operation creates something at `key`: the
    /// key itself, a key below it, or a symlink above it. `key` is normalized.
    fn find_creator(&self, key: &str) -> Option<&str> {
        let mut ancestor = Some(key);
        while let Some(path) = ancestor {
            match self.sorted.get_key_value(path) {
                Some((_, Operation::Unlink)) if path == key => break,
                Some((_, Operation::Unlink)) => return None,
                Some((found, Operation::Put)) if path == key => return Some(found),
                Some((found, Operation::Symlink)) => return Some(found),
                Some((_, Operation::Put)) | None => {}
            }
            ancestor = path.rsplit_once('.').map(|(parent, _)| parent);
        }
        let prefix = format!("{key}.");
        let mut below = self.with_prefix(&prefix);
        let found = below.find(|&key| self.sorted[key] != Operation::Unlink);
        found.map(String::as_str)
    }

    /// All keys, normalized and sorted.
    pub fn names(&mut self) -> impl Iterator<Item = &str> {
        self.sort();
        self.sorted.keys().map(String::as_str)
    }

    /// Whether the root is one of the keys.
    pub fn has_root(&mut self) -> bool {
        self.sort();
        self.sorted.contains_key(ROOT)
    }

    /// The error of committing these keys, with a detail that names them.
    pub fn explain_commit(&mut self, error: Error) -> Error {
        match error.errnum {
            libc::EINVAL if self.has_root() => with_added_detail(
                error,
                "'.' is the root, and only keys below it can be put or unlinked".to_owned(),
            ),
            _ => not_committed(self.names(), error),
        }
    }
}

/// The error of a commit, with a detail that names the first few of its keys. The broker
/// does not say which key it refused.
pub fn not_committed<'k>(mut keys: impl Iterator<Item = &'k str>, error: Error) -> Error {
    const SHOWN: usize = 5;
    let shown: Vec<String> = keys.by_ref().take(SHOWN).map(quoted).collect();
    let mut text = format!("not committed: {}", shown.join(", "));
    match keys.count() {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    with_added_detail(error, text)
}

/// The error with a text added to its detail.
fn with_added_detail(error: Error, text: String) -> Error {
    match &error.detail {
        Some(detail) => Error::with_detail(error.errnum, format!("{detail}; {text}")),
        None => Error::with_detail(error.errnum, text),
    }
}
