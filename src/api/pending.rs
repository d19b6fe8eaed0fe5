//! What a script has put on a handle and not committed: a transaction, and the
//! keys in it. A transaction cannot be read, and errors name its keys.

use std::collections::BTreeMap;

use super::quoted;
use crate::backend::key::{self, ROOT};
use crate::backend::{Error, Result, Transaction};

/// The pending transaction of a handle.
pub struct Pending {
    transaction: Box<dyn Transaction>,
    keys: Keys,
}

/// The normalized keys of a transaction, with what a commit makes of each. An
/// operation replaces those before it on the same key, and below it.
#[derive(Default)]
pub struct Keys(BTreeMap<String, Effect>);

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

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn into_parts(self) -> (Box<dyn Transaction>, Keys) {
        (self.transaction, self.keys)
    }
}

impl Keys {
    fn add(&mut self, key: &str, effect: Effect) {
        let key = key::normalize(key).into_owned();
        let replaced: Vec<String> = self.below(&key).map(|(key, _)| key.clone()).collect();
        for key in replaced {
            self.0.remove(&key);
        }
        self.0.insert(key, effect);
    }

    fn below(&self, key: &str) -> impl Iterator<Item = (&String, &Effect)> {
        let start = format!("{key}.");
        let from_start = self.0.range(start.clone()..);
        from_start.take_while(move |(key, _)| key.starts_with(&start))
    }

    /// The error of a read of `key`. Its detail tells whether a commit would
    /// put something there.
    pub fn explain_read(&self, key: &str, error: Error) -> Error {
        if !matches!(error.errnum, libc::ENOENT | libc::EISDIR | libc::ENOTDIR) {
            return error;
        }
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
            match self.0.get_key_value(path) {
                Some((_, Effect::Unlink)) if path == key => break,
                Some((_, Effect::Unlink)) => return None,
                Some((found, Effect::Put)) if path == key => return Some(found),
                Some((found, Effect::Link)) => return Some(found),
                Some((_, Effect::Put)) | None => {}
            }
            up = path.rsplit_once('.').map(|(path, _)| path);
        }
        let mut below = self.below(key);
        let found = below.find(|&(_, &effect)| effect != Effect::Unlink);
        found.map(|(found, _)| found.as_str())
    }

    /// The error of a commit of these keys.
    pub fn explain_commit(&self, error: Error) -> Error {
        match error.errnum {
            libc::EINVAL if self.0.contains_key(ROOT) => also(
                error,
                "'.' is the root, and only keys below it can be put or unlinked".to_owned(),
            ),
            _ => not_committed(self.0.keys().map(String::as_str), error),
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
