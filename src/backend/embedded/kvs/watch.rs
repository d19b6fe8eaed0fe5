//! Keeps the watches: lookups that get another response at each commit that
//! concerns their key, in the order of the commits.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::flags::{STREAM, WATCH_INITIAL_SENTINEL};
use super::namespace::Namespaces;
use super::tree::Entry;
use super::treeobj;
use super::value::Value;
use crate::backend::embedded::message::{FLAG_STREAMING, Message};
use crate::backend::ids::{IdMap, Order, by_age};
use crate::backend::key::normalize;
use crate::backend::{Error, Result, kvs_flags, object};

use kvs_flags::{TREEOBJ, WAITCREATE, WATCH, WATCH_APPEND, WATCH_FULL, WATCH_UNIQ};

/// Identifies a request: its sender and its matchtag.
type RequestId = (u64, u32);

/// The watches of a store.
#[derive(Default)]
pub struct Watches {
    next: u64,
    /// The watches by namespace. A namespace need not exist yet.
    sets: HashMap<String, Box<WatchSet>>,
    by_request: HashMap<RequestId, (String, u64)>,
}

/// The watchers of one namespace, with an index of those that a commit concerns.
#[derive(Default)]
struct WatchSet {
    watchers: IdMap<Box<KeyWatch>>,
    by_key: HashMap<String, Order>,
    /// The watches that every commit concerns.
    full: Order,
}

struct KeyWatch {
    request: Message,
    key: String,
    flags: i32,
    responded: bool,
    sentinel_sent: bool,
    /// The entry that was sent last. It is kept only if an equal entry is not
    /// to be sent again.
    previous: Option<Entry>,
    /// The number of the value's blobs that were sent.
    blobs_sent: usize,
}

/// Whether a watch continues.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Finished,
}

impl Watches {
    /// Adds a watch, and responds to it with the current value.
    pub fn add(
        &mut self,
        namespaces: &Namespaces,
        namespace: &str,
        flags: i32,
        key: &str,
        request: &Message,
    ) -> Result<()> {
        check_flags(flags, request)?;
        let exists = namespaces.get(namespace);
        if flags & WAITCREATE == 0 {
            exists?;
        }
        let request_id = request_id(request);
        if self.by_request.contains_key(&request_id) {
            return Err(Error::new(libc::EINVAL));
        }
        let mut watcher = KeyWatch {
            request: request.clone(),
            key: normalize(key).into_owned(),
            flags,
            responded: false,
            sentinel_sent: false,
            previous: None,
            blobs_sent: 0,
        };
        if watcher.start(namespaces, namespace) == Next::Finished {
            return Ok(());
        }
        let id = self.next;
        self.next += 1;
        self.by_request
            .insert(request_id, (namespace.to_owned(), id));
        let set = self.sets.entry(namespace.to_owned()).or_default();
        match flags & WATCH_FULL {
            0 => set
                .by_key
                .entry(watcher.key.clone())
                .or_default()
                .insert(by_age(id)),
            _ => set.full.insert(by_age(id)),
        };
        set.watchers.insert(id, Box::new(watcher));
        Ok(())
    }

    /// Starts the watches that waited for a namespace, which now exists.
    pub fn start(&mut self, namespaces: &Namespaces, namespace: &str) {
        let Some(set) = self.sets.get_mut(namespace) else {
            return;
        };
        let mut finished = Vec::new();
        for &(_, id) in &set.by_age() {
            let watcher = set.watchers.get_mut(&id);
            if watcher.is_some_and(|w| w.start(namespaces, namespace) == Next::Finished) {
                finished.push(id);
            }
        }
        self.remove(namespace, &finished);
    }

    /// Updates the watches that a commit of these keys concerns.
    pub fn notify(&mut self, namespaces: &Namespaces, namespace: &str, keys: &BTreeSet<String>) {
        let Some(set) = self.sets.get_mut(namespace) else {
            return;
        };
        let by_key = keys.iter().filter_map(|key| set.by_key.get(key)).flatten();
        let mut concerned = Order::new();
        for &watcher in by_key.chain(&set.full) {
            concerned.insert(watcher);
        }
        let mut finished = Vec::new();
        for &(_, id) in &concerned {
            let watcher = set.watchers.get_mut(&id);
            if watcher.is_some_and(|w| w.update(namespaces, namespace) == Next::Finished) {
                finished.push(id);
            }
        }
        self.remove(namespace, &finished);
    }

    /// Ends the watches of a removed namespace with this error.
    pub fn end(&mut self, namespace: &str, error: &Error) {
        let Some(set) = self.sets.remove(namespace) else {
            return;
        };
        for &(_, id) in &set.by_age() {
            let Some(watcher) = set.watchers.get(&id) else {
                continue;
            };
            watcher.request.respond_error(error);
            self.by_request.remove(&request_id(&watcher.request));
        }
    }

    /// Ends a watch that its client gave up.
    pub fn cancel(&mut self, sender: u64, matchtag: u32) {
        let Some((namespace, id)) = self.by_request.get(&(sender, matchtag)).cloned() else {
            return;
        };
        for watcher in self.remove(&namespace, &[id]) {
            watcher.request.respond(libc::ENODATA, None);
        }
    }

    /// Forgets the watches of a client that is gone.
    pub fn forget_client(&mut self, sender: u64) {
        let theirs = self.by_request.iter().filter(|((s, _), _)| *s == sender);
        let theirs: Vec<(String, u64)> = theirs.map(|(_, watch)| watch.clone()).collect();
        for (namespace, id) in theirs {
            self.remove(&namespace, &[id]);
        }
    }

    /// How many watchers each namespace has.
    pub fn counts(&self) -> Vec<(&str, usize)> {
        let sets = self.sets.iter();
        sets.map(|(name, set)| (name.as_str(), set.watchers.len()))
            .collect()
    }

    fn remove(&mut self, namespace: &str, ids: &[u64]) -> Vec<KeyWatch> {
        let Some(set) = self.sets.get_mut(namespace) else {
            return Vec::new();
        };
        let removed: Vec<KeyWatch> = ids.iter().filter_map(|&id| set.remove(id)).collect();
        for watcher in &removed {
            self.by_request.remove(&request_id(&watcher.request));
        }
        if set.watchers.is_empty() {
            self.sets.remove(namespace);
        }
        removed
    }
}

impl WatchSet {
    /// All watchers, older first.
    fn by_age(&self) -> Order {
        let mut ids = Order::new();
        for &id in self.watchers.keys() {
            ids.insert(by_age(id));
        }
        ids
    }

    fn remove(&mut self, id: u64) -> Option<KeyWatch> {
        let watcher = *self.watchers.remove(&id)?;
        self.full.remove(&by_age(id));
        if let Some(ids) = self.by_key.get_mut(&watcher.key) {
            ids.remove(&by_age(id));
            if ids.is_empty() {
                self.by_key.remove(&watcher.key);
            }
        }
        Some(watcher)
    }
}

impl KeyWatch {
    /// Responds with the first value, if the namespace exists.
    fn start(&mut self, namespaces: &Namespaces, namespace: &str) -> Next {
        if namespaces.get(namespace).is_err() {
            return Next::Continue;
        }
        match self.look_up(namespaces, namespace) {
            Err(error) => self.fail(&error),
            Ok(Some(entry)) => {
                let next = self.send(entry);
                if next == Next::Continue {
                    self.send_sentinel();
                }
                next
            }
            Ok(None) if self.has(WAITCREATE) => {
                self.send_sentinel();
                Next::Continue
            }
            Ok(None) => self.fail(&Error::new(libc::ENOENT)),
        }
    }

    /// Responds with the value that the key has after a commit.
    fn update(&mut self, namespaces: &Namespaces, namespace: &str) -> Next {
        match self.look_up(namespaces, namespace) {
            Err(error) => self.fail(&error),
            // This also ends a watch whose key never existed, if every commit
            // concerns the watch.
            Ok(None) => self.fail(&Error::new(libc::ENOENT)),
            Ok(Some(entry)) => self.send(entry),
        }
    }

    fn look_up(&self, namespaces: &Namespaces, namespace: &str) -> Result<Option<Entry>> {
        let root = &namespaces.get(namespace)?.root;
        namespaces.lookup(root, self.lookup_flags(), &self.key)
    }

    fn lookup_flags(&self) -> i32 {
        match self.has(WATCH_APPEND | STREAM) {
            true => self.flags | TREEOBJ,
            false => self.flags,
        }
    }

    fn send(&mut self, entry: Entry) -> Next {
        if self.has(WATCH_APPEND | STREAM) {
            return self.send_blobs(&entry);
        }
        if self.has(WATCH_FULL | WATCH_UNIQ) {
            let same = |previous| same(previous, &entry, self.flags);
            if self.previous.as_ref().is_some_and(same) {
                return Next::Continue;
            }
            self.previous = Some(entry.clone());
        }
        self.send_val(treeobj::Found {
            entry: &entry,
            flags: self.flags,
        });
        match self.has(WATCH) {
            true => Next::Continue,
            false => Next::Finished,
        }
    }

    /// Sends the blobs that were not sent yet, one by one.
    fn send_blobs(&mut self, entry: &Entry) -> Next {
        let invalid = |text: &str| Error::with_detail(libc::EINVAL, text);
        match entry {
            Entry::Value(value) if !self.responded => self.send_from(value, 0),
            Entry::Value(value) if !value.is_inline() => {
                if value.blob_count() < self.blobs_sent {
                    return self.fail(&invalid("key watched with WATCH_APPEND shortened"));
                }
                self.send_from(value, self.blobs_sent);
            }
            _ if self.responded => {
                let text = "value of key watched with WATCH_APPEND overwritten";
                return self.fail(&invalid(text));
            }
            Entry::Dir(_) => return self.fail(&self.not_blobs(libc::EISDIR, "dirref")),
            _ => return self.fail(&self.not_blobs(libc::EINVAL, "symlink")),
        }
        match self.has(STREAM) {
            true => self.fail(&Error::new(libc::ENODATA)),
            false => Next::Continue,
        }
    }

    fn send_from(&mut self, value: &Value, start: usize) {
        for blob in value.blobs_from(start) {
            self.send_val(treeobj::of_bytes(&blob));
        }
        self.blobs_sent = value.blob_count();
    }

    fn not_blobs(&self, errnum: i32, kind: &str) -> Error {
        let text = match self.has(WATCH_APPEND) {
            true => format!("{kind} cannot be watched with WATCH_APPEND"),
            false => format!("{kind} cannot be streamed"),
        };
        Error::with_detail(errnum, text)
    }

    fn send_val(&mut self, val: impl Serialize) {
        #[derive(Serialize)]
        struct Answer<T> {
            val: T,
        }
        let payload = object::write(&Answer { val });
        self.request.respond(0, Some(payload.as_bytes()));
        self.responded = true;
    }

    fn send_sentinel(&mut self) {
        if self.has(WATCH_INITIAL_SENTINEL) && !self.sentinel_sent {
            self.request.respond(0, None);
            self.sentinel_sent = true;
        }
    }

    fn fail(&self, error: &Error) -> Next {
        self.request.respond_error(error);
        Next::Finished
    }

    fn has(&self, flags: i32) -> bool {
        self.flags & flags != 0
    }
}

fn check_flags(flags: i32, request: &Message) -> Result<()> {
    let has = |flag: i32| flags & flag != 0;
    let streams = request.has(FLAG_STREAMING);
    let watching = WATCH_FULL | WATCH_UNIQ | WATCH_APPEND | WATCH_INITIAL_SENTINEL;
    let (errnum, text) = if has(WATCH) && !streams {
        let text = "KVS watch request rejected without streaming RPC flag";
        (libc::EPROTO, text)
    } else if has(STREAM) && !streams {
        let text = "KVS stream request rejected without streaming RPC flag";
        (libc::EPROTO, text)
    } else if has(WATCH) && has(STREAM) {
        (libc::EINVAL, "Cannot KVS watch and stream at the same time")
    } else if !has(WATCH) && has(watching) {
        let text = "Must set KVS watch flag with other watch flags";
        (libc::EINVAL, text)
    } else if !has(WATCH_APPEND) && has(WATCH_INITIAL_SENTINEL) {
        let text = "Must set KVS watch append flag with initial sentinel flag";
        (libc::EINVAL, text)
    } else {
        return Ok(());
    };
    Err(Error::with_detail(errnum, text))
}

/// Whether two entries give the same response.
fn same(a: &Entry, b: &Entry, flags: i32) -> bool {
    match (a, b) {
        (Entry::Value(a), Entry::Value(b)) if flags & TREEOBJ == 0 => a.same_bytes(b),
        _ => a.digest() == b.digest(),
    }
}

fn request_id(request: &Message) -> RequestId {
    (request.sender().unwrap_or(u64::MAX), request.matchtag)
}
