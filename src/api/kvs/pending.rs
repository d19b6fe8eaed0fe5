//! What a script has put on a handle and not committed: a transaction, and the
//! keys in it. A transaction cannot be read, and errors name its keys.

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

/// The keys of a transaction, with what a commit makes of each.
#[derive(Default)]
pub struct Keys {
    /// What was added since an error was last explained. Few transactions meet
    /// one, so that the others do not pay for the order.
    added: Vec<(String, Effect)>,
    /// Of all before, by normalized key: the last operation on each.
    ordered: BTreeMap<String, Effect>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Put,
    Link,
    Unlink,
}

impl Pending {
    pub fn new(transaction: Box<dyn Transaction>) -> Pending {
        Pending {
            transaction,
            keys: Keys::default(),
        }
    }

    pub fn put(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.transaction.put(0, key, value)?;
        self.keys.add(key, Effect::Put);
        Ok(())
    }

    pub fn unlink(&mut self, key: &str) -> Result<()> {
        self.transaction.unlink(key)?;
        self.keys.add(key, Effect::Unlink);
        Ok(())
    }

    pub fn symlink(&mut self, key: &str, target: &str) -> Result<()> {
        self.transaction.symlink(key, None, target)?;
        self.keys.add(key, Effect::Link);
        Ok(())
    }

    pub fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    pub fn into_parts(self) -> (Box<dyn Transaction>, Keys) {
        (self.transaction, self.keys)
    }
}

impl Keys {
    fn add(&mut self, key: &str, effect: Effect) {
        self.added.push((key.to_owned(), effect));
    }

    /// Order what was added: an operation replaces those before it on the same
    /// key, and below it.
    fn order(&mut self) {
        for (key, effect) in std::mem::take(&mut self.added) {
            let key = key::normalize(&key).into_owned();
            let start = format!("{key}.");
            let below: Vec<_> = self.beginning_with(&start).cloned().collect();
            for replaced in below {
                self.ordered.remove(&replaced);
            }
            self.ordered.insert(key, effect);
        }
    }

    fn beginning_with(&self, start: &str) -> impl Iterator<Item = &String> {
        let from_start = (Bound::Included(start), Bound::Unbounded);
        let keys = self.ordered.range::<str, _>(from_start);
        keys.map(|(key, _)| key)
            .take_while(move |key| key.starts_with(start))
    }

    /// The error of a read of `key`. Its detail tells whether a commit would
    /// put something there.
    pub fn explain_read(&mut self, key: &str, error: Error) -> Error {
        if !matches!(error.errnum, libc::ENOENT | libc::EISDIR | libc::ENOTDIR) {
            return error;
        }
        self.order();
        match self.that_makes(&key::normalize(key)) {
            Some(key) => {
                let key = quoted(key);
                also(
                    error,
                    format!("{key} is put on this handle, but not committed"),
                )
            }
            None => error,
        }
    }

    /// The key by which something will be at `key`, which is normalized: the
    /// key itself, one below it, or a link above it.
    fn that_makes(&self, key: &str) -> Option<&str> {
        let mut up = Some(key);
        while let Some(path) = up {
            match self.ordered.get_key_value(path) {
                Some((_, Effect::Unlink)) if path == key => break,
                Some((_, Effect::Unlink)) => return None,
                Some((found, Effect::Put)) if path == key => return Some(found),
                Some((found, Effect::Link)) => return Some(found),
                Some((_, Effect::Put)) | None => {}
            }
            up = path.rsplit_once('.').map(|(path, _)| path);
        }
        let start = format!("{key}.");
        let mut below = self.beginning_with(&start);
        let found = below.find(|&key| self.ordered[key] != Effect::Unlink);
        found.map(String::as_str)
    }

    /// All of them, normalized and sorted.
    pub fn names(&mut self) -> impl Iterator<Item = &str> {
        self.order();
        self.ordered.keys().map(String::as_str)
    }

    /// Whether the root is among them.
    pub fn has_root(&mut self) -> bool {
        self.order();
        self.ordered.contains_key(ROOT)
    }

    /// The error of a commit of these keys.
    pub fn explain_commit(&mut self, error: Error) -> Error {
        match error.errnum {
            libc::EINVAL if self.has_root() => also(
                error,
                "'.' is the root, and only keys below it can be put or unlinked".to_owned(),
            ),
            _ => not_committed(self.names(), error),
        }
    }
}

/// The error of a commit that has these keys. A broker does not tell which of
/// them it refused.
pub fn not_committed<'k>(mut keys: impl Iterator<Item = &'k str>, error: Error) -> Error {
    const SHOWN: usize = 5;
    let shown: Vec<String> = keys.by_ref().take(SHOWN).map(quoted).collect();
    let mut text = format!("not committed: {}", shown.join(", "));
    match keys.count() {
        0 => {}
        more => text.push_str(&format!(" and {more} more")),
    }
    also(error, text)
}

/// The error with one more thing said about it.
fn also(error: Error, text: String) -> Error {
    match &error.detail {
        Some(said) => Error::with_detail(error.errnum, format!("{said}; {text}")),
        None => Error::with_detail(error.errnum, text),
    }
}
