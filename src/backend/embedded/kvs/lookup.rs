//! Looking up a key: the walk down from a root, over symbolic links.

use super::super::super::key::ROOT;
use super::super::super::{Error, Result, kvs_flags};
use super::Namespaces;
use super::tree::Dir;
use super::value::Entry;

/// How deep links may lead to links.
const MAX_LINK_DEPTH: usize = 10;
/// How many links a lookup may lead over in all: targets that name several
/// links each would otherwise multiply at each depth. A broker has no limit.
const MAX_LINKS: usize = 10_000;

impl Namespaces {
    /// What a normalized key stands for, as the flags ask for it. `None` for
    /// what is not there.
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

    /// `links`: how many the lookup has led over by now.
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
                // A link that a link's target ends with is not followed when
                // links are asked for, even on the way.
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

/// Whether an entry is of the kind that the flags ask for.
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
