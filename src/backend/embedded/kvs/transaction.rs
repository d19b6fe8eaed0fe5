//! A transaction, which the user of a handle fills before a commit.

use std::any::Any;
use std::sync::Arc;

use super::commit::{Change, Op};
use super::tree::{Dir, Entry, Symlink};
use super::value::Value;
use crate::backend::{self, Error, Result, key, kvs_flags};

/// The operations of a transaction that is not committed yet.
#[derive(Default)]
pub struct EmbeddedTransaction {
    /// The operations, in their order.
    pub ops: Vec<Op>,
}

impl EmbeddedTransaction {
    fn add(&mut self, key: &str, change: Change) -> Result<()> {
        key::check(key)?;
        self.ops.push(Op {
            key: key.to_owned(),
            change,
        });
        Ok(())
    }
}

impl backend::Transaction for EmbeddedTransaction {
    fn put(&mut self, flags: i32, key: &str, value: &[u8]) -> Result<()> {
        let change = match flags {
            0 => Change::Put(Entry::Value(Value::new(value.into()))),
            kvs_flags::APPEND => Change::Append(value.into()),
            _ => return Err(Error::new(libc::EINVAL)),
        };
        self.add(key, change)
    }

    fn mkdir(&mut self, key: &str) -> Result<()> {
        self.add(key, Change::Put(Entry::Dir(Dir::default())))
    }

    fn unlink(&mut self, key: &str) -> Result<()> {
        self.add(key, Change::Unlink)
    }

    fn symlink(&mut self, key: &str, namespace: Option<&str>, target: &str) -> Result<()> {
        if target.contains('\0') || namespace.is_some_and(|ns| ns.contains('\0')) {
            return Err(Error::new(libc::EINVAL));
        }
        let link = Symlink {
            namespace: namespace.map(str::to_owned),
            target: target.to_owned(),
        };
        self.add(key, Change::Put(Entry::Symlink(Arc::new(link))))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
