//! Keeps the namespaces. Each is a root directory, which commits replace.
//! `commit` makes the new roots, and `lookup` finds keys below them.

use std::collections::{HashMap, VecDeque};

use serde_json::json;

use super::tree::Dir;
use super::treeobj::blobref;
use crate::backend::embedded::message::Message;
use crate::backend::system::userid;
use crate::backend::{Error, Result};

/// The number of earlier roots that a namespace keeps, for lookups below them.
const KEPT_ROOTS: usize = 16;

/// The name of the namespace that always exists.
pub const PRIMARY: &str = "primary";

/// All namespaces by name.
pub struct Namespaces(HashMap<String, Box<Namespace>>);

/// A namespace.
pub struct Namespace {
    pub root: Dir,
    /// The reference of the root, and how often the root has changed.
    pub rootref: String,
    pub rootseq: i32,
    /// The user id of the owner.
    pub owner: u32,
    pub flags: i32,
    /// Earlier roots with their references, the oldest first.
    earlier: VecDeque<(String, Dir)>,
    /// Requests that wait for a root version, each with that version.
    waiting: Vec<(i32, Message)>,
}

impl Default for Namespaces {
    fn default() -> Namespaces {
        let primary = Namespace::new(Dir::default(), userid(), 0);
        Namespaces([(PRIMARY.to_owned(), Box::new(primary))].into())
    }
}

impl Namespaces {
    /// Finds a namespace by its name. Fails with ENOTSUP if it does not exist.
    pub fn get(&self, name: &str) -> Result<&Namespace> {
        self.0.get(name).map(Box::as_ref).ok_or_else(no_namespace)
    }

    /// Finds a namespace by its name, for a change. Fails with ENOTSUP if it
    /// does not exist.
    pub fn get_mut(&mut self, name: &str) -> Result<&mut Namespace> {
        let namespace = self.0.get_mut(name).map(Box::as_mut);
        namespace.ok_or_else(no_namespace)
    }

    /// All namespaces with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        let namespaces = self.0.iter();
        namespaces.map(|(name, namespace)| (name.as_str(), &**namespace))
    }

    /// Adds a namespace, which must not exist yet.
    pub fn insert(&mut self, name: &str, root: Dir, owner: u32, flags: i32) {
        let namespace = Namespace::new(root, owner, flags);
        self.0.insert(name.to_owned(), Box::new(namespace));
    }

    /// Removes a namespace. The requests that wait for it get an error. Returns
    /// whether it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(namespace) = self.0.remove(name) else {
            return false;
        };
        for (_, request) in namespace.waiting {
            request.respond_error(&no_namespace());
        }
        true
    }

    /// Finds a present or earlier root of any namespace by its reference.
    pub fn known_root(&self, rootref: &str) -> Option<Dir> {
        let empty = Dir::default();
        if rootref == blobref(&empty.digest()) {
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

    /// Forgets the requests of a client that is gone.
    pub fn forget_client(&mut self, client: u64) {
        for namespace in self.0.values_mut() {
            namespace
                .waiting
                .retain(|(_, request)| request.sender() != Some(client));
        }
    }
}

impl Namespace {
    fn new(root: Dir, owner: u32, flags: i32) -> Namespace {
        Namespace {
            rootref: blobref(&root.digest()),
            root,
            rootseq: 0,
            owner,
            flags,
            earlier: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    /// Replaces the root.
    pub fn advance(&mut self, root: Dir) {
        let rootref = blobref(&root.digest());
        let earlier = std::mem::replace(&mut self.root, root);
        let earlier_ref = std::mem::replace(&mut self.rootref, rootref);
        self.earlier.push_back((earlier_ref, earlier));
        if self.earlier.len() > KEPT_ROOTS {
            self.earlier.pop_front();
        }
        self.rootseq = self.rootseq.wrapping_add(1);
        self.respond_to_waiting();
    }

    /// Responds to a request once the namespace has reached `rootseq`.
    pub fn wait_version(&mut self, rootseq: i32, request: &Message) {
        self.waiting.push((rootseq, request.clone()));
        self.respond_to_waiting();
    }

    /// How many requests wait for a version.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn respond_to_waiting(&mut self) {
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

/// The error for a namespace that does not exist.
pub fn no_namespace() -> Error {
    Error::new(libc::ENOTSUP)
}
