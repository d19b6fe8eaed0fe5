//! Looks up keys: walks down from a root, and follows symbolic links.

use super::flags::{STREAM, WATCH_INITIAL_SENTINEL};
use super::namespace::Namespaces;
use super::tree::{Dir, Entry};
use crate::backend::key::{self, ROOT};
use crate::backend::{Error, Result, kvs_flags};

/// The largest number of links in a chain, each of which leads to the next.
const MAX_LINK_DEPTH: usize = 10;
/// The largest number of links that one lookup follows. Without this limit, the
/// links would multiply at each depth, because each target may name several. A
/// real broker has no such limit.
const MAX_LINKS: usize = 10_000;

/// Fails with EINVAL if no KVS would accept the lookup. `flags` is a set of
/// [`kvs_flags`].
pub fn check_lookup(flags: i32, key: &str) -> Result<()> {
    let watching = kvs_flags::WATCH_FULL
        | kvs_flags::WATCH_UNIQ
        | kvs_flags::WATCH_APPEND
        | WATCH_INITIAL_SENTINEL;
    let kind = flags & !(watching | kvs_flags::WATCH | kvs_flags::WAITCREATE | STREAM);
    let known = [
        0,
        kvs_flags::TREEOBJ,
        kvs_flags::READDIR,
        kvs_flags::READDIR | kvs_flags::TREEOBJ,
        kvs_flags::READLINK,
    ];
    if !known.contains(&kind) || (flags & watching != 0 && flags & kvs_flags::WATCH == 0) {
        return Err(Error::with_detail(libc::EINVAL, "invalid lookup flags"));
    }
    key::check(key)
}

impl Namespaces {
    /// Looks up the entry of a normalized key, as the flags ask. None if it
    /// does not exist.
    pub fn lookup(&self, root: &Dir, flags: i32, key: &str) -> Result<Option<Entry>> {
        if key == ROOT {
            return match flags & (kvs_flags::TREEOBJ | kvs_flags::READDIR) {
                0 => Err(Error::new(libc::EISDIR)),
                _ => Ok(Some(Entry::Dir(root.clone()))),
            };
        }
        match self.walk(root, flags, key, 0, &mut 0)? {
            Some(entry) => check(&entry, flags).map(|()| Some(entry)),
            None => Ok(None),
        }
    }

    /// Walks down a path of names. `links` is the number of links that the
    /// lookup has followed so far.
    fn walk(
        &self,
        root: &Dir,
        flags: i32,
        path: &str,
        depth: usize,
        links: &mut usize,
    ) -> Result<Option<Entry>> {
        let follows_last = flags & (kvs_flags::READLINK | kvs_flags::TREEOBJ) == 0;
        let mut here = Entry::Dir(root.clone());
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let dir = match &here {
                Entry::Dir(dir) => dir,
                Entry::Value(_) => return Ok(None),
                // Where the flags ask for links, the last name of a target is not
                // followed, even if names come after it.
                Entry::Symlink(_) => return Err(Error::new(libc::ENOTRECOVERABLE)),
            };
            let Some(entry) = dir.get(name).cloned() else {
                return Ok(None);
            };
            here = match &entry {
                Entry::Symlink(link) if names.peek().is_some() || follows_last => {
                    *links += 1;
                    if depth == MAX_LINK_DEPTH || *links > MAX_LINKS {
                        return Err(Error::new(libc::ELOOP));
                    }
                    let root = match &link.namespace {
                        Some(namespace) => &self.get(namespace)?.root,
                        None => root,
                    };
                    if link.target == ROOT {
                        Entry::Dir(root.clone())
                    } else {
                        match self.walk(root, flags, &link.target, depth + 1, links)? {
                            Some(entry) => entry,
                            None => return Ok(None),
                        }
                    }
                }
                _ => entry,
            };
        }
        Ok(Some(here))
    }
}

/// Fails if the entry is not of the kind that the flags ask for.
fn check(entry: &Entry, flags: i32) -> Result<()> {
    let asks_for = |flag: i32| flags & flag != 0;
    let errnum = match entry {
        _ if asks_for(kvs_flags::TREEOBJ) => return Ok(()),
        Entry::Dir(_) if asks_for(kvs_flags::READLINK) => libc::EINVAL,
        Entry::Dir(_) if !asks_for(kvs_flags::READDIR) => libc::EISDIR,
        Entry::Value(_) if asks_for(kvs_flags::READLINK) => libc::EINVAL,
        Entry::Value(_) | Entry::Symlink(_) if asks_for(kvs_flags::READDIR) => libc::ENOTDIR,
        _ => return Ok(()),
    };
    Err(Error::new(errnum))
}
