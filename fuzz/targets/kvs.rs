//! Compares the embedded KVS, used through the back end's trait, with a simple model:
//! any keys, atomic transactions, links, namespaces and watches. The model has no
//! blob references and no versions.

#![no_main]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use flux::backend::kvs_flags::{
    APPEND, READDIR, READLINK, TREEOBJ, WAITCREATE, WATCH, WATCH_APPEND, WATCH_FULL, WATCH_UNIQ,
};
use flux::backend::{Future, Handle, NODEID_ANY, Result, Transaction, embedded, treeobj};
use flux_lua_fuzz::Decisions;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[path = "kvs/model.rs"]
mod model;

use model::{Change, Dir, Namespace, Namespaces, Node, Outcome, is_stored_apart, normalize};

fuzz_target!(|data: &[u8]| {
    let mut decisions = Decisions::new(data);
    let mut session = Session::new();
    while !decisions.is_empty() {
        session.step(&mut decisions);
        session.check_watches();
    }
    session.check_all();
});

const PRIMARY: &str = "primary";
const NAMESPACES: [&str; 4] = [PRIMARY, "other", "third", "no\0name"];

/// A watch, and the notifications that the model expects for it.
struct Watch {
    future: Box<dyn Future>,
    namespace: String,
    key: String,
    flags: i32,
    /// The node of the last notification.
    previous: Option<Node>,
    /// With `WATCH_APPEND`: how many blobs were notified so far.
    blobs_seen: Option<usize>,
    /// The last expected notification is an error, which ends the watch.
    has_ended: bool,
    /// The expected notifications that did not arrive yet.
    expected: VecDeque<Notification>,
}

/// A notification: a value, the names in a directory, or an errno.
#[derive(Clone, Debug, PartialEq)]
enum Notification {
    Value(Vec<u8>),
    Names(Vec<(String, treeobj::EntryKind)>),
    Error(i32),
}

/// A transaction, and its changes for the model.
type Pending = (Box<dyn Transaction>, Vec<(String, Change)>);

struct Session {
    handles: [Box<dyn Handle>; 2],
    /// The pending transaction of each handle.
    pending: [Pending; 2],
    namespaces: Namespaces,
    watches: Vec<Watch>,
}

impl Session {
    fn new() -> Session {
        let open = |uri| embedded::open(uri).expect("a handle");
        let handles = [
            open("embed://fuzz?size=2&rank=0"),
            open("embed://fuzz?size=2&rank=1"),
        ];
        let start =
            |handle: &dyn Handle| (handle.transaction().expect("a transaction"), Vec::new());
        Session {
            pending: [start(&*handles[0]), start(&*handles[1])],
            handles,
            namespaces: Namespaces(BTreeMap::from([(PRIMARY.to_owned(), Namespace::default())])),
            watches: Vec::new(),
        }
    }

    fn step(&mut self, decisions: &mut Decisions<'_>) {
        let which = decisions.below(2);
        match decisions.below(16) {
            0..=7 => self.change(which, decisions),
            8..=10 => self.commit(which, decisions),
            11 => {
                let namespace = *decisions.choose(&NAMESPACES);
                let flags = *decisions.choose(&[0, READDIR, READLINK, TREEOBJ, READDIR | TREEOBJ]);
                self.check_lookup(which, namespace, flags, &key(decisions));
            }
            12 => self.watch(which, decisions),
            13 => {
                if !self.watches.is_empty() {
                    let index = decisions.below(self.watches.len());
                    self.watches.swap_remove(index);
                }
            }
            14 => self.create_or_remove(which, decisions),
            _ => self.check_namespaces(which),
        }
    }

    /// Add a change to the pending transaction of a handle.
    fn change(&mut self, which: usize, decisions: &mut Decisions<'_>) {
        let key = key(decisions);
        let (transaction, changes) = &mut self.pending[which];
        let value = |decisions: &mut Decisions<'_>| {
            let short = decisions.byte();
            let fill = decisions.byte();
            let long = if short & 7 == 7 { 300 } else { 1 };
            vec![fill; usize::from(short >> 5) * long]
        };
        let (put, change) = match decisions.below(8) {
            0..=2 => {
                let value = value(decisions);
                let put = transaction.put(0, &key, &value);
                (put, Change::Put(Node::Value(vec![value])))
            }
            3 => {
                let value = value(decisions);
                let put = transaction.put(APPEND, &key, &value);
                (put, Change::Append(value))
            }
            4 => (transaction.unlink(&key), Change::Unlink),
            5 => (transaction.mkdir(&key), Change::Put(Node::Dir(Dir::new()))),
            _ => {
                let namespace = match decisions.below(5) {
                    4 => None,
                    n => Some(NAMESPACES[n]),
                };
                let target = self::key(decisions);
                let put = transaction.symlink(&key, namespace, &target);
                if target.contains('\0') || namespace.is_some_and(|name| name.contains('\0')) {
                    assert_eq!(put.map_err(|error| error.errnum), Err(libc::EINVAL));
                    return;
                }
                let namespace = namespace.map(str::to_owned);
                (put, Change::Put(Node::Link(namespace, target)))
            }
        };
        if key.is_empty() || key.contains('\0') {
            assert_eq!(put.map_err(|error| error.errnum), Err(libc::EINVAL));
        } else {
            assert_eq!(put, Ok(()));
            changes.push((key, change));
        }
    }

    fn commit(&mut self, which: usize, decisions: &mut Decisions<'_>) {
        let namespace = match decisions.below(8) {
            n @ 1..=3 => NAMESPACES[n],
            _ => PRIMARY,
        };
        let handle = &self.handles[which];
        let transaction = handle.transaction().expect("a transaction");
        let (mut transaction, changes) =
            std::mem::replace(&mut self.pending[which], (transaction, Vec::new()));
        let got = handle
            .commit(Some(namespace), 0, &mut *transaction)
            .and_then(|future| future.payload().map(|_| ()));
        let expected = match self.namespaces.0.get_mut(namespace) {
            None if namespace.contains('\0') => Err(libc::EINVAL),
            None => Err(libc::ENOTSUP),
            Some(model) => model.commit(namespace, &changes),
        };
        assert_eq!(got.map_err(|error| error.errnum), expected);
        if expected.is_ok() {
            let keys = changes.iter().map(|(key, _)| normalize(key)).collect();
            self.expect_changes(namespace, &keys);
        }
    }

    fn check_lookup(&self, which: usize, namespace: &str, flags: i32, key: &str) {
        let got = self.handles[which].lookup(Some(namespace), flags, key);
        let got = got.and_then(|future| result_of(&*future, flags));
        let expected = match key.is_empty() || key.contains('\0') || namespace.contains('\0') {
            true => Err(libc::EINVAL),
            false => self.namespaces.find(namespace, flags, &normalize(key)),
        };
        let expected = expected.and_then(|node| node.ok_or(libc::ENOENT));
        match (&expected, &got) {
            (Ok(node), Ok(got)) => assert_eq!(*got, expected_result(node, flags), "{key:?}"),
            (Err(errnum), Err(error)) => assert_eq!(*errnum, error.errnum, "{key:?}"),
            _ => panic!("{key:?} with {flags}: {got:?}, expected {expected:?}"),
        }
    }

    fn watch(&mut self, which: usize, decisions: &mut Decisions<'_>) {
        let namespace = NAMESPACES[decisions.below(3)];
        let flags = *decisions.choose(&[0, WATCH_FULL, WATCH_UNIQ, WATCH_FULL | WATCH_UNIQ])
            | *decisions.choose(&[0, WAITCREATE])
            | *decisions.choose(&[0, 0, READDIR, WATCH_APPEND])
            | WATCH;
        let key = key(decisions);
        let future = match self.handles[which].lookup(Some(namespace), flags, &key) {
            Ok(future) => future,
            Err(error) => {
                assert!(key.is_empty() || key.contains('\0'), "{error}");
                return;
            }
        };
        assert!(!key.is_empty() && !key.contains('\0'));
        let mut watch = Watch {
            future,
            namespace: namespace.to_owned(),
            key: normalize(&key),
            flags,
            previous: None,
            blobs_seen: None,
            has_ended: false,
            expected: VecDeque::new(),
        };
        self.start(&mut watch);
        self.watches.push(watch);
    }

    /// Expect the first notification of a watch, when it starts or when the namespace
    /// that it waits for is created.
    fn start(&self, watch: &mut Watch) {
        match self
            .namespaces
            .find(&watch.namespace, watch.lookup_flags(), &watch.key)
        {
            Err(libc::ENOTSUP) if !self.namespaces.0.contains_key(&watch.namespace) => {
                if watch.flags & WAITCREATE == 0 {
                    watch.expect_error(libc::ENOTSUP);
                }
            }
            Err(errnum) => watch.expect_error(errnum),
            Ok(Some(node)) => watch.expect_node(node),
            Ok(None) if watch.flags & WAITCREATE != 0 => {}
            Ok(None) => watch.expect_error(libc::ENOENT),
        }
    }

    /// Expect the notifications for a commit that changed these keys.
    fn expect_changes(&mut self, namespace: &str, keys: &BTreeSet<String>) {
        let mut watches = std::mem::take(&mut self.watches);
        for watch in &mut watches {
            let concerned = watch.flags & WATCH_FULL != 0 || keys.contains(&watch.key);
            if watch.has_ended || watch.namespace != namespace || !concerned {
                continue;
            }
            match self
                .namespaces
                .find(namespace, watch.lookup_flags(), &watch.key)
            {
                Err(errnum) => watch.expect_error(errnum),
                Ok(None) => watch.expect_error(libc::ENOENT),
                Ok(Some(node)) => watch.expect_node(node),
            }
        }
        self.watches = watches;
    }

    fn check_watches(&mut self) {
        for watch in &mut self.watches {
            watch.check();
        }
    }

    fn create_or_remove(&mut self, which: usize, decisions: &mut Decisions<'_>) {
        let name = NAMESPACES[decisions.below(3)];
        if decisions.below(2) == 0 {
            let source = *decisions.choose(&NAMESPACES[..2]);
            return self.create(which, name, source);
        }
        let removed = self.call(which, "kvs.namespace-remove", &json!({ "namespace": name }));
        if name == PRIMARY {
            assert_eq!(removed.map(|_| ()), Err(libc::ENOTSUP));
            return;
        }
        assert!(removed.is_ok());
        if self.namespaces.0.remove(name).is_none() {
            return;
        }
        for watch in &mut self.watches {
            if watch.namespace == name && !watch.has_ended {
                watch.expect_error(libc::ENOTSUP);
            }
        }
    }

    /// Create a namespace with the root of another one.
    fn create(&mut self, which: usize, name: &str, source: &str) {
        let root = self.call(which, "kvs.getroot", &json!({ "namespace": source }));
        let Some(model) = self.namespaces.0.get(source) else {
            assert_eq!(root.map(|_| ()), Err(libc::ENOTSUP));
            return;
        };
        let root = root.expect("the root");
        assert_eq!(root["rootseq"], model.commits);
        let namespace = Namespace {
            root: model.root.clone(),
            commits: 0,
        };
        let request =
            json!({ "namespace": name, "rootref": root["rootref"], "owner": -1, "flags": 0 });
        let created = self.call(which, "kvs.namespace-create", &request);
        if self.namespaces.0.contains_key(name) {
            assert_eq!(created.map(|_| ()), Err(libc::EEXIST));
            return;
        }
        assert!(created.is_ok());
        self.namespaces.0.insert(name.to_owned(), namespace);
        let mut watches = std::mem::take(&mut self.watches);
        for watch in &mut watches {
            if watch.namespace == name && !watch.has_ended {
                self.start(watch);
            }
        }
        self.watches = watches;
    }

    /// Make an RPC. Returns its response or the errno.
    fn call(&self, which: usize, topic: &str, request: &Value) -> Outcome<Value> {
        let request = request.to_string();
        let future = self.handles[which].rpc(topic, Some(request.as_bytes()), NODEID_ANY, 0);
        let future = future.map_err(|error| error.errnum)?;
        let payload = future.payload().map_err(|error| error.errnum)?;
        Ok(payload.map_or(Value::Null, |text| {
            serde_json::from_slice(text).expect("a response is JSON")
        }))
    }

    fn check_namespaces(&self, which: usize) {
        let list = self.call(which, "kvs.namespace-list", &json!({}));
        let list = list.expect("the namespaces");
        let names = list["namespaces"].as_array().expect("a list").iter();
        let names: Vec<&str> = names
            .filter_map(|item| item["namespace"].as_str())
            .collect();
        let expected: Vec<&str> = self.namespaces.0.keys().map(String::as_str).collect();
        assert_eq!(names, expected);
    }

    /// Assert that the KVS contains exactly what the model contains.
    fn check_all(&self) {
        self.check_namespaces(0);
        for (name, namespace) in &self.namespaces.0 {
            self.check_below(name, ".", &namespace.root);
        }
    }

    fn check_below(&self, namespace: &str, key: &str, dir: &Dir) {
        self.check_lookup(1, namespace, READDIR, key);
        for (name, node) in dir {
            let below = match key {
                "." => name.clone(),
                key => format!("{key}.{name}"),
            };
            match node {
                Node::Dir(dir) => self.check_below(namespace, &below, dir),
                Node::Value(_) => self.check_lookup(0, namespace, 0, &below),
                Node::Link(..) => {
                    self.check_lookup(0, namespace, READLINK, &below);
                    self.check_lookup(0, namespace, 0, &below);
                }
            }
        }
    }
}

impl Watch {
    /// Expect an error, which ends the watch.
    fn expect_error(&mut self, errnum: i32) {
        self.expected.push_back(Notification::Error(errnum));
        self.has_ended = true;
    }

    fn lookup_flags(&self) -> i32 {
        match self.flags & WATCH_APPEND {
            0 => self.flags,
            _ => self.flags | TREEOBJ,
        }
    }

    /// Expect a notification of this node, unless the flags filter it out.
    fn expect_node(&mut self, node: Node) {
        if self.flags & WATCH_APPEND != 0 {
            return self.expect_appended(&node);
        }
        // Values are compared by their bytes. Within directories, they also differ if
        // their blobs do, because the directory object contains the references.
        let is_same = match (&self.previous, &node) {
            (Some(Node::Value(before)), Node::Value(now)) => before.concat() == now.concat(),
            (before, now) => before.as_ref() == Some(now),
        };
        if self.flags & (WATCH_FULL | WATCH_UNIQ) != 0 && is_same {
            return;
        }
        self.expected.push_back(expected_result(&node, self.flags));
        self.previous = Some(node);
    }

    /// Expect a notification for each new blob, or an error if the value was replaced.
    fn expect_appended(&mut self, node: &Node) {
        let (blobs, first) = match (node, self.blobs_seen) {
            (Node::Value(blobs), None) => (blobs, 0),
            (Node::Value(blobs), Some(seen)) if is_stored_apart(blobs) && seen <= blobs.len() => {
                (blobs, seen)
            }
            (_, Some(_)) => return self.expect_error(libc::EINVAL),
            (Node::Dir(_), None) => return self.expect_error(libc::EISDIR),
            (Node::Link(..), None) => return self.expect_error(libc::EINVAL),
        };
        let more = blobs[first..].iter().cloned().map(Notification::Value);
        self.expected.extend(more);
        self.blobs_seen = Some(blobs.len());
    }

    /// Assert that all expected notifications arrived, and no others.
    fn check(&mut self) {
        while let Some(expected) = self.expected.pop_front() {
            let waited = self.future.wait(Some(Duration::ZERO));
            assert_eq!(waited, Ok(()), "{expected:?} of {:?}", self.key);
            let got = result_of(&*self.future, self.flags);
            let got = got.unwrap_or_else(|error| Notification::Error(error.errnum));
            assert_eq!(got, expected, "{:?} with {}", self.key, self.flags);
            self.future.reset();
        }
        if !self.has_ended {
            let more = self.future.wait(Some(Duration::ZERO));
            let more = more.map(|()| result_of(&*self.future, self.flags));
            let more = more.map_err(|error| error.errnum);
            assert_eq!(
                more,
                Err(libc::ETIMEDOUT),
                "{:?} with {} was {:?}",
                self.key,
                self.flags,
                self.previous
            );
        }
    }
}

/// The expected result of a lookup of `node` with these flags.
fn expected_result(node: &Node, flags: i32) -> Notification {
    let kind = |node: &Node| match node {
        Node::Value(_) => treeobj::EntryKind::Value,
        Node::Dir(_) => treeobj::EntryKind::Dir,
        Node::Link(..) => treeobj::EntryKind::Symlink,
    };
    match node {
        _ if flags & TREEOBJ != 0 => Notification::Names(vec![(String::new(), kind(node))]),
        Node::Value(blobs) => Notification::Value(blobs.concat()),
        Node::Dir(dir) => {
            let names = dir.iter().map(|(name, node)| (name.clone(), kind(node)));
            Notification::Names(names.collect())
        }
        Node::Link(namespace, target) => {
            Notification::Value(format!("{namespace:?} {target}").into_bytes())
        }
    }
}

/// The result of a lookup with these flags.
fn result_of(future: &dyn Future, flags: i32) -> Result<Notification> {
    let payload = future.payload()?.expect("a lookup has a payload");
    if flags & TREEOBJ != 0 {
        let object: Value = serde_json::from_slice(payload).expect("a tree object");
        let kind = match object["type"].as_str() {
            Some("val" | "valref") => treeobj::EntryKind::Value,
            Some("dir" | "dirref") => treeobj::EntryKind::Dir,
            Some("symlink") => treeobj::EntryKind::Symlink,
            other => panic!("a tree object of type {other:?}"),
        };
        return Ok(Notification::Names(vec![(String::new(), kind)]));
    }
    if flags & READDIR != 0 {
        return Ok(Notification::Names(treeobj::dir_entries(payload)?));
    }
    if flags & READLINK != 0 {
        let (namespace, target) = treeobj::symlink_target(payload)?;
        return Ok(Notification::Value(
            format!("{namespace:?} {target}").into_bytes(),
        ));
    }
    Ok(Notification::Value(payload.to_vec()))
}

/// A key. Most keys use few names, so that operations often meet the same key.
fn key(decisions: &mut Decisions<'_>) -> String {
    const NAMES: [&str; 16] = [
        "a", "b", "a", "c", "a.b", "b.a", "a.a", "", ".", "..", "é日", "a b", "\"\\", "\u{1}",
        "a.\0", "A",
    ];
    let shape = decisions.byte();
    let names = usize::from(shape & 3) + usize::from(shape & 0x1f == 0x1f) * 20;
    let mut key = NAMES[usize::from(shape >> 4)].to_owned();
    for _ in 0..names {
        key.push('.');
        let name: &str = NAMES[decisions.below(NAMES.len())];
        key.push_str(name);
    }
    match shape & 0x0f {
        0x0c => key.push_str(&"long".repeat(100)),
        0x0d => key.push_str(&String::from_utf8_lossy(decisions.bytes(8))),
        _ => {}
    }
    key
}
