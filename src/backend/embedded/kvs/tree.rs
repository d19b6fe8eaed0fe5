//! KVS directories and their entries. A directory is a persistent tree: a
//! change makes a new directory that shares as much as possible with the old
//! one. So a snapshot costs nothing, and a change to a directory of n names
//! touches O(log n) of them. Every directory has a digest that depends only on
//! its content, as in a content-addressed store.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::digest::{Digest, sha1};
use super::value::Value;

/// The blob of an empty directory. Its reference is the same in every Flux
/// instance.
const EMPTY_OBJECT: &[u8] = br#"{"data":{},"type":"dir","ver":1}"#;

/// An entry of a directory: the meaning of a name.
#[derive(Clone)]
pub enum Entry {
    Value(Value),
    Dir(Dir),
    Symlink(Arc<Symlink>),
}

/// A symbolic link.
#[derive(PartialEq, Eq, Serialize)]
pub struct Symlink {
    /// The target's namespace, or None for the link's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The target's key.
    pub target: String,
}

/// A directory.
#[derive(Clone, Default)]
pub struct Dir {
    root: Link,
    sum: Sum,
}

type Link = Option<Arc<Node>>;

/// A treap: a search tree by name, a heap by priority. The priority is the
/// name's hash, so that the same names make the same, balanced, tree.
#[derive(Clone)]
struct Node {
    name: Arc<str>,
    priority: u64,
    entry: Entry,
    digest: Digest,
    left: Link,
    right: Link,
}

/// The sum of the entries' digests. It does not depend on their order, and is
/// updated without looking at the entries that stay.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    high: u128,
    low: u32,
}

impl Entry {
    /// The digest of the entry's content.
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

impl Dir {
    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Finds the entry of a name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.node(name).map(|node| &node.entry)
    }

    /// Returns this directory with `name` set to `entry`.
    pub fn with(&self, name: &str, entry: Entry) -> Dir {
        let digest = sha1(&[
            &(name.len() as u64).to_be_bytes(),
            name.as_bytes(),
            &entry.digest(),
        ]);
        let replaced = self.node(name).map(|node| &node.digest);
        let new = Node {
            name: name.into(),
            priority: priority(name),
            entry,
            digest,
            left: None,
            right: None,
        };
        Dir {
            sum: self.sum.minus(replaced).plus(Some(&digest)),
            root: Some(Arc::new(insert(&self.root, new))),
        }
    }

    /// Returns this directory without `name`, which need not exist.
    pub fn without(&self, name: &str) -> Dir {
        let Some(node) = self.node(name) else {
            return self.clone();
        };
        Dir {
            sum: self.sum.minus(Some(&node.digest)),
            root: remove(&self.root, name),
        }
    }

    /// The entries, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let mut pending = Vec::new();
        push_left(&mut pending, &self.root);
        std::iter::from_fn(move || {
            let node = pending.pop()?;
            push_left(&mut pending, &node.right);
            Some((&*node.name, &node.entry))
        })
    }

    /// The digest of the directory's content.
    pub fn digest(&self) -> Digest {
        match self.is_empty() {
            true => sha1(&[EMPTY_OBJECT]),
            false => sha1(&[
                b"dir\0",
                &self.sum.high.to_be_bytes(),
                &self.sum.low.to_be_bytes(),
            ]),
        }
    }

    fn node(&self, name: &str) -> Option<&Node> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match name.cmp(&node.name) {
                Ordering::Less => &node.left,
                Ordering::Equal => return Some(node),
                Ordering::Greater => &node.right,
            };
        }
        None
    }
}

impl Drop for Dir {
    // This does not recurse, because a tree may be deep.
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> = self.root.take().into_iter().collect();
        while let Some(node) = pending.pop() {
            let Some(mut node) = Arc::into_inner(node) else {
                continue;
            };
            pending.extend(node.left.take());
            pending.extend(node.right.take());
            if let Entry::Dir(dir) = &mut node.entry {
                pending.extend(dir.root.take());
            }
        }
    }
}

impl Sum {
    fn plus(self, digest: Option<&Digest>) -> Sum {
        let (high, low) = split(digest);
        Sum {
            high: self.high.wrapping_add(high),
            low: self.low.wrapping_add(low),
        }
    }

    fn minus(self, digest: Option<&Digest>) -> Sum {
        let (high, low) = split(digest);
        Sum {
            high: self.high.wrapping_sub(high),
            low: self.low.wrapping_sub(low),
        }
    }
}

fn split(digest: Option<&Digest>) -> (u128, u32) {
    let bytes = digest.into_iter().flatten();
    let (high, low) = bytes.enumerate().fold((0, 0), |(high, low), (i, &byte)| {
        if i < 16 {
            (high << 8 | u128::from(byte), low)
        } else {
            (high, low << 8 | u32::from(byte))
        }
    });
    (high, low)
}

/// The priority of a name: a hash with a key that is random in each process.
/// With a known key, a client could choose names that make the tree a list.
fn priority(name: &str) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(name)
}

fn insert(link: &Link, mut new: Node) -> Node {
    let Some(node) = link else {
        return new;
    };
    let mut top = Node::clone(node);
    match new.name.cmp(&top.name) {
        Ordering::Equal => {
            new.left = top.left;
            new.right = top.right;
            new
        }
        Ordering::Less => {
            let mut child = insert(&top.left, new);
            if child.priority > top.priority {
                top.left = child.right.take();
                child.right = Some(Arc::new(top));
                return child;
            }
            top.left = Some(Arc::new(child));
            top
        }
        Ordering::Greater => {
            let mut child = insert(&top.right, new);
            if child.priority > top.priority {
                top.right = child.left.take();
                child.left = Some(Arc::new(top));
                return child;
            }
            top.right = Some(Arc::new(child));
            top
        }
    }
}

fn remove(link: &Link, name: &str) -> Link {
    let node = link.as_ref()?;
    let order = name.cmp(&node.name);
    if order == Ordering::Equal {
        return merge(&node.left, &node.right);
    }
    let mut top = Node::clone(node);
    match order {
        Ordering::Less => top.left = remove(&node.left, name),
        _ => top.right = remove(&node.right, name),
    }
    Some(Arc::new(top))
}

/// Merges two trees, where every name on the left is less than every name on
/// the right.
fn merge(left: &Link, right: &Link) -> Link {
    let (Some(a), Some(b)) = (left, right) else {
        return left.as_ref().or(right.as_ref()).cloned();
    };
    let top = if a.priority > b.priority {
        Node {
            right: merge(&a.right, right),
            ..Node::clone(a)
        }
    } else {
        Node {
            left: merge(left, &b.left),
            ..Node::clone(b)
        }
    };
    Some(Arc::new(top))
}

fn push_left<'a>(pending: &mut Vec<&'a Node>, mut link: &'a Link) {
    while let Some(node) = link {
        pending.push(node);
        link = &node.left;
    }
}
