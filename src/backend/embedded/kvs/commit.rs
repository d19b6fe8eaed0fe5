//! Applies the operations of a transaction to a root directory, one after the
//! other. Errors are errnos, because a commit has no error texts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::namespace::Namespace;
use super::tree::{Dir, Entry};
use super::treeobj;
use super::value::Value;
use crate::backend::embedded::request::{Int, Text};
use crate::backend::key::{ROOT, normalize};
use crate::backend::{kvs_flags, object};

/// The flag of a commit that must be on disk before it is responded to.
pub const SYNC: i32 = 4;

/// The largest number of links that a key may follow. A real broker has no
/// limit, and crashes.
const MAX_LINKS: usize = 100;

/// An operation of a transaction.
#[derive(Clone)]
pub struct Op {
    pub key: String,
    pub change: Change,
}

/// The effect of an operation on its key.
#[derive(Clone)]
pub enum Change {
    Put(Entry),
    Append(Arc<[u8]>),
    Unlink,
    /// The operation was malformed. The commit fails with this errno.
    Invalid(i32),
}

/// The result of a commit.
pub struct Committed {
    pub rootref: String,
    pub rootseq: i32,
    pub owner: u32,
    /// The normalized keys of the commit's operations.
    pub keys: BTreeSet<String>,
}

impl Committed {
    /// The result of a commit that led to the present state of `namespace`.
    pub fn new(namespace: &Namespace, ops: &[Op]) -> Committed {
        let keys = ops.iter().map(|op| normalize(&op.key).into_owned());
        Committed {
            rootref: namespace.rootref.clone(),
            rootseq: namespace.rootseq,
            owner: namespace.owner,
            keys: keys.collect(),
        }
    }
}

/// An operation in a `kvs.commit` request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestedOp<'t> {
    key: Text,
    flags: Int,
    #[serde(borrow)]
    dirent: &'t RawValue,
}

/// Reads the operations of a `kvs.commit` request. One that is malformed makes
/// the commit fail.
pub fn decode_ops(ops: &RawValue) -> Vec<Op> {
    let ops: Vec<&RawValue> = serde_json::from_str(ops.get()).unwrap_or_default();
    let ops = ops.into_iter().map(|op| {
        decode_op(op).unwrap_or(Op {
            key: String::new(),
            change: Change::Invalid(libc::EPROTO),
        })
    });
    ops.collect()
}

fn decode_op(op: &RawValue) -> Option<Op> {
    let op: RequestedOp = object::read(op.get().as_bytes())?;
    let appends = op.flags.0 & kvs_flags::APPEND != 0;
    let change = match treeobj::decode(op.dirent) {
        _ if op.dirent.get() == "null" => Change::Unlink,
        Ok(Entry::Value(value)) if appends => Change::Append(value.bytes()),
        _ if appends => Change::Invalid(libc::EPROTO),
        Ok(entry) => Change::Put(entry),
        Err(errnum) => Change::Invalid(errnum),
    };
    let key = op.key.0;
    Some(Op { key, change })
}

/// Applies operations to `root`, in the namespace of this name. Returns the new
/// root.
pub fn apply(root: &Dir, namespace: &str, ops: &[Op]) -> Result<Dir, i32> {
    ops.iter()
        .try_fold(root.clone(), |root, op| apply_op(&root, namespace, op))
}

fn apply_op(root: &Dir, namespace: &str, op: &Op) -> Result<Dir, i32> {
    let mut key = normalize(&op.key).into_owned();
    for _ in 0..=MAX_LINKS {
        match descend(root, namespace, &key, &op.change)? {
            Descent::Unchanged => return Ok(root.clone()),
            Descent::Elsewhere(target) => key = normalize(&target).into_owned(),
            Descent::Arrived { path, dir, name } => {
                let changed = change(&dir, name, &op.change)?;
                // Each directory on the way up then contains the new one below it.
                return Ok(path.into_iter().rev().fold(changed, |below, (dir, name)| {
                    dir.with(name, Entry::Dir(below))
                }));
            }
        }
    }
    Err(libc::ELOOP)
}

/// The result of walking down to a key's directory.
enum Descent<'a> {
    Arrived {
        path: Vec<(Dir, &'a str)>,
        dir: Dir,
        name: &'a str,
    },
    /// A link is on the way. The key leads to this key behind the link.
    Elsewhere(String),
    /// The directory does not exist, so there is nothing to change.
    Unchanged,
}

fn descend<'a>(
    root: &Dir,
    namespace: &str,
    key: &'a str,
    change: &Change,
) -> Result<Descent<'a>, i32> {
    if key == ROOT {
        return Err(libc::EINVAL);
    }
    let mut path = Vec::new();
    let mut dir = root.clone();
    let mut rest = key;
    while let Some((name, below)) = rest.split_once('.') {
        let next = match dir.get(name) {
            Some(Entry::Dir(next)) => next.clone(),
            Some(Entry::Symlink(link)) => {
                if link.namespace.as_deref().is_some_and(|ns| ns != namespace) {
                    return Err(libc::EINVAL);
                }
                return Ok(Descent::Elsewhere(format!("{}.{below}", link.target)));
            }
            Some(Entry::Value(_)) | None => {
                if matches!(change, Change::Unlink) {
                    return Ok(Descent::Unchanged);
                }
                Dir::default()
            }
        };
        path.push((dir, name));
        dir = next;
        rest = below;
    }
    Ok(Descent::Arrived {
        path,
        dir,
        name: rest,
    })
}

fn change(dir: &Dir, name: &str, change: &Change) -> Result<Dir, i32> {
    match change {
        Change::Put(entry) => Ok(dir.with(name, entry.clone())),
        Change::Unlink => Ok(dir.without(name)),
        Change::Invalid(errnum) => Err(*errnum),
        Change::Append(data) => match dir.get(name) {
            None => {
                let value = Value::new(Arc::clone(data));
                Ok(dir.with(name, Entry::Value(value)))
            }
            Some(Entry::Value(value)) => {
                let value = value.append(Arc::clone(data));
                Ok(dir.with(name, Entry::Value(value)))
            }
            Some(Entry::Dir(_)) => Err(libc::EISDIR),
            Some(Entry::Symlink(_)) => Err(libc::EOPNOTSUPP),
        },
    }
}
