//! Which key of a transaction the KVS refused. The broker answers with an errno
//! for the whole transaction, so that this looks at what the keys lead through.

use std::collections::{BTreeSet, VecDeque};
use std::env;

use crate::api::handle::Handle;
use crate::api::kvs::pending::Keys;
use crate::api::quote::quoted;
use crate::api::wait::Step;
use crate::backend::{self, kvs_flags, treeobj};
use crate::lua::Result;

/// No more paths are looked at: links may lead to links without end.
const MOST: usize = 1000;

/// The error of the commit of these keys, explained.
pub fn explain<R: 'static>(
    handle: Handle,
    mut keys: Keys,
    error: backend::Error,
) -> Result<Step<R>> {
    if error.errnum != libc::EINVAL || keys.has_root() {
        return Err(keys.explain_commit(error).into());
    }
    let mut paths = Paths::default();
    for key in keys.names() {
        paths.add(key, key);
    }
    let search = Search {
        handle,
        keys,
        error,
        paths,
    };
    search.next()
}

/// A search for a key that leads through a symlink into another namespace,
/// where a commit cannot go.
struct Search {
    handle: Handle,
    keys: Keys,
    error: backend::Error,
    paths: Paths,
}

/// Paths that may be symlinks, each with the key that leads through it.
#[derive(Default)]
struct Paths {
    left: VecDeque<(String, String)>,
    seen: BTreeSet<String>,
}

impl Paths {
    /// Add what is above the end of `path`, by which `key` leads.
    fn add(&mut self, key: &str, path: &str) {
        for (at, _) in path.match_indices('.') {
            let above = &path[..at];
            if self.seen.len() < MOST && self.seen.insert(above.to_owned()) {
                self.left.push_back((key.to_owned(), above.to_owned()));
            }
        }
    }
}

impl Search {
    fn next<R: 'static>(mut self) -> Result<Step<R>> {
        let Some((key, path)) = self.paths.left.pop_front() else {
            return Err(self.keys.explain_commit(self.error).into());
        };
        let backend = self.handle.backend()?;
        let Ok(link) = backend.lookup(None, kvs_flags::READLINK, &path) else {
            return Err(self.keys.explain_commit(self.error).into());
        };
        Step::wait(link, move |_, link| {
            // What cannot be read as a link is none.
            let target = link.payload().ok().flatten();
            let target = target.and_then(|link| treeobj::symlink_target(link).ok());
            match target {
                Some((Some(namespace), _)) if namespace != own_namespace() => {
                    let text = format!(
                        "{} cannot be committed: the symlink {} leads into the namespace {}",
                        quoted(&key),
                        quoted(&path),
                        quoted(&namespace)
                    );
                    Err(backend::Error::with_detail(self.error.errnum, text).into())
                }
                Some((_, target)) => {
                    self.paths.add(&key, &format!("{target}."));
                    self.next()
                }
                None => self.next(),
            }
        })
    }
}

/// The namespace that commits go to.
fn own_namespace() -> String {
    env::var("FLUX_KVS_NAMESPACE").unwrap_or_else(|_| "primary".to_owned())
}
