//! The key value store. `services::kvs` reads its requests and responds to most
//! of them. This module responds only to watches, and to requests that wait for
//! a version.

use serde_json::{Map, Value, json};

use super::message::Message;
use crate::backend::key::normalize;
use crate::backend::{Error, Result};

mod commit;
mod digest;
pub mod flags;
mod lookup;
mod namespace;
mod stats;
mod transaction;
mod tree;
mod treeobj;
mod value;
mod watch;

pub use commit::{Committed, Op, decode_ops};
pub use lookup::check_lookup;
pub use namespace::PRIMARY;
pub use transaction::EmbeddedTransaction;
pub use tree::Entry;
pub use treeobj::{Found, bytes_of, is_blobref};

use commit::SYNC;
use namespace::{Namespace, Namespaces, no_namespace};
use stats::Stats;
use watch::Watches;

/// The store of an instance.
#[derive(Default)]
pub struct Kvs {
    namespaces: Namespaces,
    watches: Watches,
    /// The number of operations of each commit.
    commit_stats: Stats,
}

impl Kvs {
    /// Finds a namespace by its name. Fails with ENOTSUP if it does not exist.
    pub fn namespace(&self, name: &str) -> Result<&Namespace> {
        self.namespaces.get(name)
    }

    /// All namespaces with their names.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.namespaces.iter()
    }

    /// Creates a namespace. Its root is a present or earlier root of this KVS.
    pub fn create_namespace(
        &mut self,
        name: &str,
        rootref: &str,
        owner: u32,
        flags: i32,
    ) -> Result<&Namespace> {
        if self.namespaces.get(name).is_ok() {
            return Err(Error::new(libc::EEXIST));
        }
        let Some(root) = self.namespaces.known_root(rootref) else {
            let text = format!("no root with reference '{rootref}' is kept");
            return Err(Error::with_detail(libc::EINVAL, text));
        };
        self.namespaces.insert(name, root, owner, flags);
        self.watches.start(&self.namespaces, name);
        self.namespaces.get(name)
    }

    /// Removes a namespace, and ends its watches and waiting requests. Returns
    /// whether it existed.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        if !self.namespaces.remove(name) {
            return false;
        }
        self.watches.end(name, &no_namespace());
        true
    }

    /// Applies operations in their order. Applies none if one fails.
    pub fn commit(&mut self, name: &str, flags: i32, ops: &[Op]) -> Result<Committed> {
        let namespace = self.namespaces.get_mut(name)?;
        self.commit_stats.push(ops.len() as f64);
        if flags & SYNC != 0 && name != PRIMARY {
            return Err(Error::new(libc::EINVAL));
        }
        let root = commit::apply(&namespace.root, name, ops).map_err(Error::new)?;
        namespace.advance(root);
        let committed = Committed::new(namespace, ops);
        self.watches.notify(&self.namespaces, name, &committed.keys);
        Ok(committed)
    }

    /// Responds to a request once the namespace has reached `rootseq`.
    pub fn wait_version(&mut self, name: &str, rootseq: i32, request: &Message) -> Result<()> {
        self.namespaces
            .get_mut(name)?
            .wait_version(rootseq, request);
        Ok(())
    }

    /// Looks up a key in a namespace. None if it does not exist.
    pub fn lookup(&self, name: &str, flags: i32, key: &str) -> Result<Option<Entry>> {
        let root = &self.namespaces.get(name)?.root;
        self.namespaces.lookup(root, flags, &normalize(key))
    }

    /// Looks up a key below a present or recent root of a namespace. Fails with
    /// ENOENT for any other root.
    pub fn lookup_at(&self, rootref: &str, flags: i32, key: &str) -> Result<Option<Entry>> {
        let root = self.namespaces.known_root(rootref);
        let root = root.ok_or_else(|| Error::new(libc::ENOENT))?;
        self.namespaces.lookup(&root, flags, &normalize(key))
    }

    /// Starts a watch. Its request is responded to from then on.
    pub fn watch(&mut self, name: &str, flags: i32, key: &str, request: &Message) -> Result<()> {
        self.watches
            .add(&self.namespaces, name, flags, key, request)
    }

    /// Ends the watch that a client made under this matchtag.
    pub fn cancel_watch(&mut self, client: u64, matchtag: u32) {
        self.watches.cancel(client, matchtag);
    }

    /// Forgets the watches and the waiting requests of a client that is gone.
    pub fn forget_client(&mut self, client: u64) {
        self.watches.forget_client(client);
        self.namespaces.forget_client(client);
    }

    /// The number of commits, including those that failed.
    pub fn commits(&self) -> u64 {
        self.commit_stats.count()
    }

    /// The payload of `kvs.stats-get`.
    pub fn stats(&self) -> Value {
        let namespaces: Map<String, Value> = self
            .namespaces
            .iter()
            .map(|(name, namespace)| {
                let stats = json!({
                    "#no-op stores": 0,
                    "#readytransactions": 0,
                    "#transactions": 0,
                    "#versionwaiters": namespace.waiting(),
                    "store revision": namespace.rootseq,
                });
                (name.to_owned(), stats)
            })
            .collect();
        let pending: usize = self.namespaces.iter().map(|(_, ns)| ns.waiting()).sum();
        json!({
            "cache": cache_stats(),
            "namespace": namespaces,
            "pending_requests": pending,
            "transaction-opcount": { "commit": self.commit_stats.to_json() },
        })
    }

    /// The payload of `kvs-watch.stats-get`.
    pub fn watch_stats(&self) -> Value {
        let counts = self.watches.counts();
        let watchers: usize = counts.iter().map(|(_, count)| count).sum();
        let namespaces: Map<String, Value> = counts
            .iter()
            .map(|&(name, watchers)| {
                let namespace = self.namespaces.get(name).ok();
                let stats = json!({
                    "owner": namespace.map_or(-1, |ns| ns.owner as i32),
                    "rootref": namespace.map_or("(null)", |ns| &ns.rootref),
                    "rootseq": namespace.map_or(-1, |ns| ns.rootseq),
                    "watchers": watchers,
                });
                (name.to_owned(), stats)
            })
            .collect();
        json!({
            "namespace-count": counts.len(),
            "namespaces": namespaces,
            "watchers": watchers,
        })
    }
}

/// The statistics of a cache of blobs, which this KVS does not need.
fn cache_stats() -> Value {
    json!({
        "#faults": 0,
        "#obj dirty": 0,
        "#obj incomplete": 0,
        "obj size (KiB)": Stats::default().to_json(),
        "obj size total (MiB)": 0.0,
    })
}
