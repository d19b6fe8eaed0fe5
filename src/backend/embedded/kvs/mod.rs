//! The key value store: namespaces, each a root directory that commits replace.
//! What a request says is read in `services`; only watchers and those that
//! wait for a version are answered from here.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::message::Message;
use crate::backend::key::normalize;
use crate::backend::{Error, Result};

mod commit;
mod digest;
mod lookup;
mod stats;
mod transaction;
mod tree;
mod treeobj;
mod value;
mod watch;

pub(super) use commit::{Committed, Op, decode_ops};
pub(super) use transaction::Transaction;
pub(super) use treeobj::{Found, bytes_of, is_blobref};
pub(super) use value::Entry;
pub(super) use watch::flags as watch_flags;

use commit::SYNC;
use stats::Stats;
use tree::Dir;
use watch::Watches;

pub(super) const PRIMARY: &str = "primary";

/// How many earlier roots a namespace keeps, for those who still look there.
const KEPT_ROOTS: usize = 16;

pub(super) struct Kvs {
    namespaces: Namespaces,
    watches: Watches,
    /// Operations per commit.
    commit_stats: Stats,
}

#[derive(Default)]
struct Namespaces(HashMap<String, Box<Namespace>>);

/// A namespace as others see it.
pub(super) struct Namespace {
    root: Dir,
    pub rootref: String,
    pub rootseq: i32,
    pub owner: u32,
    pub flags: i32,
    earlier: VecDeque<(String, Dir)>,
    /// Requests for a version that is still to come.
    waiting: Vec<(i32, Message)>,
}

impl Kvs {
    pub fn new() -> Kvs {
        let mut namespaces = Namespaces::default();
        let primary = Namespace::new(Dir::default(), super::message::userid(), 0);
        namespaces.0.insert(PRIMARY.into(), Box::new(primary));
        Kvs {
            namespaces,
            watches: Watches::default(),
            commit_stats: Stats::default(),
        }
    }

    /// A namespace that exists: ENOTSUP otherwise.
    pub fn namespace(&self, name: &str) -> Result<&Namespace> {
        self.namespaces.get(name)
    }

    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        let namespaces = self.namespaces.0.iter();
        namespaces.map(|(name, namespace)| (name.as_str(), &**namespace))
    }

    /// Create a namespace whose root is one that this KVS has or had.
    pub fn create_namespace(
        &mut self,
        name: &str,
        rootref: &str,
        owner: u32,
        flags: i32,
    ) -> Result<&Namespace> {
        if self.namespaces.0.contains_key(name) {
            return Err(Error::new(libc::EEXIST));
        }
        let Some(root) = self.namespaces.known_root(rootref) else {
            let text = format!("no root with reference '{rootref}' is kept");
            return Err(Error::with_detail(libc::EINVAL, text));
        };
        let namespace = Namespace::new(root, owner, flags);
        self.namespaces
            .0
            .insert(name.to_owned(), Box::new(namespace));
        self.watches.start(&self.namespaces, name);
        self.namespaces.get(name)
    }

    /// Remove a namespace, and end what waits for it. Whether there was one.
    pub fn remove_namespace(&mut self, name: &str) -> bool {
        let Some(namespace) = self.namespaces.0.remove(name) else {
            return false;
        };
        for (_, request) in namespace.waiting {
            request.respond_error(&no_namespace());
        }
        self.watches.end(name, &no_namespace());
        true
    }

    /// Apply the operations in their order, all or none.
    pub fn commit(&mut self, name: &str, flags: i32, ops: &[Op]) -> Result<Committed> {
        let Some(namespace) = self.namespaces.0.get_mut(name) else {
            return Err(no_namespace());
        };
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

    /// Answer the request once the namespace has reached `rootseq`.
    pub fn wait_version(&mut self, name: &str, rootseq: i32, request: &Message) -> Result<()> {
        let Some(namespace) = self.namespaces.0.get_mut(name) else {
            return Err(no_namespace());
        };
        namespace.waiting.push((rootseq, request.clone()));
        namespace.answer_waiting();
        Ok(())
    }

    /// Look up a key in a namespace. `None` for what is not there.
    pub fn lookup(&self, name: &str, flags: i32, key: &str) -> Result<Option<Entry>> {
        let root = &self.namespaces.get(name)?.root;
        self.namespaces.lookup(root, flags, &normalize(key))
    }

    /// Look up a key below a root that is, or lately was, some namespace's;
    /// ENOENT for any other.
    pub fn lookup_at(&self, rootref: &str, flags: i32, key: &str) -> Result<Option<Entry>> {
        let root = self.namespaces.known_root(rootref);
        let root = root.ok_or_else(|| Error::new(libc::ENOENT))?;
        self.namespaces.lookup(&root, flags, &normalize(key))
    }

    /// Start a watch. Its request is answered from then on.
    pub fn watch(&mut self, name: &str, flags: i32, key: &str, request: &Message) -> Result<()> {
        self.watches
            .add(&self.namespaces, name, flags, key, request)
    }

    /// End the watch that the sender made under this matchtag.
    pub fn cancel_watch(&mut self, sender: u64, matchtag: u32) {
        self.watches.cancel(sender, matchtag);
    }

    /// The endpoint `id` is gone: so are its watches and its waiting.
    pub fn disconnect(&mut self, id: u64) {
        self.watches.disconnect(id);
        for namespace in self.namespaces.0.values_mut() {
            namespace
                .waiting
                .retain(|(_, request)| request.sender() != Some(id));
        }
    }

    /// How many commits there were, those that failed included.
    pub fn commits(&self) -> u64 {
        self.commit_stats.count()
    }

    /// The payload of `kvs.stats-get`.
    pub fn stats(&self) -> Value {
        let namespaces: Map<String, Value> = self
            .namespaces()
            .map(|(name, namespace)| {
                let stats = json!({
                    "#no-op stores": 0,
                    "#readytransactions": 0,
                    "#transactions": 0,
                    "#versionwaiters": namespace.waiting.len(),
                    "store revision": namespace.rootseq,
                });
                (name.to_owned(), stats)
            })
            .collect();
        let pending: usize = self.namespaces().map(|(_, ns)| ns.waiting.len()).sum();
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
                let namespace = self.namespaces.0.get(name);
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

impl Namespaces {
    fn get(&self, name: &str) -> Result<&Namespace> {
        self.0.get(name).map(Box::as_ref).ok_or_else(no_namespace)
    }

    fn known_root(&self, rootref: &str) -> Option<Dir> {
        let empty = Dir::default();
        if rootref == treeobj::blobref(&empty.digest()) {
            return Some(empty);
        }
        self.0.values().find_map(|namespace| {
            let earlier = namespace.earlier.iter().map(|(r, root)| (r, root));
            let mut roots = earlier.chain([(&namespace.rootref, &namespace.root)]);
            roots
                .find(|(r, _)| *r == rootref)
                .map(|(_, root)| root.clone())
        })
    }
}

impl Namespace {
    fn new(root: Dir, owner: u32, flags: i32) -> Namespace {
        Namespace {
            rootref: treeobj::blobref(&root.digest()),
            root,
            rootseq: 0,
            owner,
            flags,
            earlier: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    fn advance(&mut self, root: Dir) {
        let rootref = treeobj::blobref(&root.digest());
        let earlier = std::mem::replace(&mut self.root, root);
        let earlier_ref = std::mem::replace(&mut self.rootref, rootref);
        self.earlier.push_back((earlier_ref, earlier));
        if self.earlier.len() > KEPT_ROOTS {
            self.earlier.pop_front();
        }
        self.rootseq = self.rootseq.wrapping_add(1);
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        let (rootseq, rootref) = (self.rootseq, &self.rootref);
        self.waiting.retain(|(wanted, request)| {
            let waits = rootseq < *wanted;
            if !waits {
                let payload = json!({ "rootref": rootref, "rootseq": rootseq });
                request.respond(0, Some(payload.to_string().as_bytes()));
            }
            waits
        });
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

fn no_namespace() -> Error {
    Error::new(libc::ENOTSUP)
}
