//! KVS directories: persistent trees. A change makes a new directory that
//! shares all it can with the old one, so that a snapshot costs nothing and a
//! change to a directory of n names touches O(log n) of them.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use super::digest::{Digest, sha1};
use super::value::Entry;

/// What the blob of an empty directory holds, so that its reference is the one
/// that every Flux instance has.
const EMPTY_OBJECT: &[u8] = br#"{"data":{},"type":"dir","ver":1}"#;

#[derive(Clone, Default)]
pub(in super::super) struct Dir {
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

/// The entries' digests added up: independent of their order, and changed
/// without looking at the entries that stay.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    high: u128,
    low: u32,
}

impl Dir {
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.node(name).map(|node| &node.entry)
    }

    /// This directory with `name` standing for `entry`.
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

    /// This directory without `name`, which need not be there.
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
    // Deep trees must not be dropped by recursion.
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

/// By a key that is the process's own: who knew it could choose names that
/// make the tree as deep as they are many.
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

/// One tree of two, where every name on the left is below every one on the
/// right.
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
