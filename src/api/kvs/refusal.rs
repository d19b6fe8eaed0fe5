//! Explains why the KVS refused a commit. The broker answers with one errno for the
//! whole transaction, so this looks for a key whose path leads through a symlink into
//! another namespace: a commit cannot follow such a link.

use std::collections::{BTreeSet, VecDeque};
use std::env;

use crate::api::handle::Handle;
use crate::api::kvs::pending::Keys;
use crate::api::quote::quoted;
use crate::api::wait::Step;
use crate::backend::{self, kvs_flags, treeobj};
use crate::lua::Result;

/// The most paths that one search looks up. Symlinks may lead to each other without end.
const MAX_PATHS: usize = 1000;

/// Explains the error of committing these keys. Waits for lookups in the KVS, and never
/// succeeds: the last step is the explained error.
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
        paths.add_ancestors(key, key);
    }
    let search = Search {
        handle,
        keys,
        error,
        paths,
    };
    search.next()
}

/// A search for a key that leads into another namespace.
struct Search {
    handle: Handle,
    keys: Keys,
    error: backend::Error,
    paths: Paths,
}

/// The paths that may be symlinks.
#[derive(Default)]
struct Paths {
    /// The paths to look up, each with the key that leads through it.
    queue: VecDeque<(String, String)>,
    /// All paths that were ever queued.
    seen: BTreeSet<String>,
}

impl Paths {
    /// Adds all ancestors of `path`, which `key` leads through.
    fn add_ancestors(&mut self, key: &str, path: &str) {
        for (at, _) in path.match_indices('.') {
            let ancestor = &path[..at];
            if self.seen.len() < MAX_PATHS && self.seen.insert(ancestor.to_owned()) {
                self.queue.push_back((key.to_owned(), ancestor.to_owned()));
            }
        }
    }
}

impl Search {
    /// Looks up the next path.
    fn next<R: 'static>(mut self) -> Result<Step<R>> {
        let Some((key, path)) = self.paths.queue.pop_front() else {
            return Err(self.keys.explain_commit(self.error).into());
        };
        let backend = self.handle.backend()?;
        let Ok(link) = backend.lookup(None, kvs_flags::READLINK, &path) else {
            return Err(self.keys.explain_commit(self.error).into());
        };
        Step::wait(link, move |_, link| {
            // The lookup fails if the path is not a symlink.
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
                    // With the dot, the target itself is an ancestor.
                    self.paths.add_ancestors(&key, &format!("{target}."));
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
