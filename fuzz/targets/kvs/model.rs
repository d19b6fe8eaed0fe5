//! A simple model of the KVS: trees of names. A commit replaces a whole tree.

use std::collections::BTreeMap;

use flux::backend::kvs_flags::{READDIR, READLINK, TREEOBJ};

/// A result, or an errno.
pub type Outcome<T> = Result<T, i32>;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A value as its blobs: what was put, then each piece that was appended.
    Value(Vec<Vec<u8>>),
    Dir(Dir),
    /// A symbolic link: the namespace, if it names one, and the target.
    Link(Option<String>, String),
}

/// A directory: its entries by name.
pub type Dir = BTreeMap<String, Node>;

/// A change of one key in a transaction.
pub enum Change {
    Put(Node),
    Append(Vec<u8>),
    Unlink,
}

/// A namespace: its root directory and the number of commits.
#[derive(Default)]
pub struct Namespace {
    pub root: Dir,
    pub commits: i64,
}

/// All namespaces by name. A link may lead from one to another.
pub struct Namespaces(pub BTreeMap<String, Namespace>);

impl Namespaces {
    /// The result of a lookup of a normalized key with these flags.
    pub fn find(&self, namespace: &str, flags: i32, key: &str) -> Outcome<Option<Node>> {
        let Some(start) = self.0.get(namespace) else {
            return Err(libc::ENOTSUP);
        };
        let has = |flag: i32| flags & flag != 0;
        if key == "." {
            return match has(TREEOBJ | READDIR) {
                true => Ok(Some(Node::Dir(start.root.clone()))),
                false => Err(libc::EISDIR),
            };
        }
        let follow = !has(READLINK | TREEOBJ);
        let Some(node) = self.walk(&start.root, follow, key, 0)? else {
            return Ok(None);
        };
        match node {
            _ if has(TREEOBJ) => {}
            Node::Dir(_) if has(READLINK) => return Err(libc::EINVAL),
            Node::Dir(_) if !has(READDIR) => return Err(libc::EISDIR),
            Node::Value(_) if has(READLINK) => return Err(libc::EINVAL),
            Node::Value(_) | Node::Link(..) if has(READDIR) => return Err(libc::ENOTDIR),
            _ => {}
        }
        Ok(Some(node))
    }

    /// The node at `path`, below `root`.
    fn walk(&self, root: &Dir, follow: bool, path: &str, depth: u32) -> Outcome<Option<Node>> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        self.walk_from(root, root, follow, (name, rest), depth)
    }

    /// The node at `name`, then `rest`, below `dir`. Absolute targets of links start at
    /// `root`.
    fn walk_from(
        &self,
        root: &Dir,
        dir: &Dir,
        follow: bool,
        (name, rest): (&str, Option<&str>),
        depth: u32,
    ) -> Outcome<Option<Node>> {
        let found = match dir.get(name) {
            None => return Ok(None),
            Some(Node::Link(namespace, target)) if rest.is_some() || follow => {
                if depth == 10 {
                    return Err(libc::ELOOP);
                }
                let root = match namespace {
                    Some(name) => &self.0.get(name).ok_or(libc::ENOTSUP)?.root,
                    None => root,
                };
                match target == "." {
                    true => Some(Node::Dir(root.clone())),
                    false => self.walk(root, follow, target, depth + 1)?,
                }
            }
            Some(node) => Some(node.clone()),
        };
        let Some(rest) = rest else {
            return Ok(found);
        };
        let next = match rest.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (rest, None),
        };
        match found {
            Some(Node::Dir(dir)) => self.walk_from(root, &dir, follow, next, depth),
            Some(Node::Link(..)) => Err(libc::ENOTRECOVERABLE),
            Some(Node::Value(_)) | None => Ok(None),
        }
    }
}

impl Namespace {
    /// Apply all changes, or none if one fails.
    pub fn commit(&mut self, name: &str, changes: &[(String, Change)]) -> Outcome<()> {
        let mut root = self.root.clone();
        for (key, change) in changes {
            apply(&mut root, name, key, change)?;
        }
        self.root = root;
        self.commits += 1;
        Ok(())
    }
}

fn apply(root: &mut Dir, namespace: &str, key: &str, change: &Change) -> Outcome<()> {
    let mut key = normalize(key);
    for _ in 0..=100 {
        if key == "." {
            return Err(libc::EINVAL);
        }
        match apply_at(root, namespace, &key, change)? {
            Some(elsewhere) => key = normalize(&elsewhere),
            None => return Ok(()),
        }
    }
    Err(libc::ELOOP)
}

/// Apply a change to a key. If the path leads through a link, return the key that the
/// link leads to instead.
fn apply_at(dir: &mut Dir, namespace: &str, key: &str, change: &Change) -> Outcome<Option<String>> {
    let Some((name, rest)) = key.split_once('.') else {
        return change.apply(dir, key).map(|()| None);
    };
    match dir.get_mut(name) {
        Some(Node::Dir(below)) => return apply_at(below, namespace, rest, change),
        Some(Node::Link(Some(other), _)) if other != namespace => return Err(libc::EINVAL),
        Some(Node::Link(_, target)) => return Ok(Some(format!("{target}.{rest}"))),
        Some(Node::Value(_)) | None => {}
    }
    if matches!(change, Change::Unlink) {
        return Ok(None);
    }
    let mut below = Dir::new();
    let done = apply_at(&mut below, namespace, rest, change);
    dir.insert(name.to_owned(), Node::Dir(below));
    done
}

impl Change {
    fn apply(&self, dir: &mut Dir, name: &str) -> Outcome<()> {
        match self {
            Change::Put(node) => {
                dir.insert(name.to_owned(), node.clone());
            }
            Change::Unlink => {
                dir.remove(name);
            }
            Change::Append(more) => match dir.get_mut(name) {
                None => {
                    dir.insert(name.to_owned(), Node::Value(vec![more.clone()]));
                }
                Some(Node::Value(blobs)) => blobs.push(more.clone()),
                Some(Node::Dir(_)) => return Err(libc::EISDIR),
                Some(Node::Link(..)) => return Err(libc::EOPNOTSUPP),
            },
        }
        Ok(())
    }
}

/// Whether a value is stored as blobs outside its directory. It is if it was appended
/// to or its base64 has more than 72 characters.
pub fn is_stored_apart(blobs: &[Vec<u8>]) -> bool {
    blobs.len() > 1 || blobs[0].len() > 54
}

/// A key in the normal form of the KVS: without empty names.
pub fn normalize(key: &str) -> String {
    let names: Vec<&str> = key.split('.').filter(|name| !name.is_empty()).collect();
    match names.is_empty() && !key.is_empty() {
        true => ".".to_owned(),
        false => names.join("."),
    }
}
