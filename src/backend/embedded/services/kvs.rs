//! `kvs.*` and `kvs-watch.*`: the requests of the key value store, and the
//! events that its changes publish. The store itself is in `embedded::kvs`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ping::ping;
use crate::backend::embedded::kvs::{self as store, Committed, Entry, Kvs, Op};
use crate::backend::embedded::message::{Credentials, Message};
use crate::backend::embedded::request::{self, Int, Text};
use crate::backend::embedded::service::{Reply, Request, Routing, Service, protocol_error};
use crate::backend::object::{self, present};
use crate::backend::system::userid;
use crate::backend::{Error, Result};

/// In a request for a namespace, stands for the user that runs the broker.
const USERID_UNKNOWN: i32 = -1;

#[derive(Deserialize)]
struct Lookup<'t> {
    key: Text,
    flags: Int,
    #[serde(default, deserialize_with = "present")]
    namespace: Option<Text>,
    #[serde(default, deserialize_with = "present")]
    rootseq: Option<Int>,
    #[serde(borrow, default, deserialize_with = "present")]
    rootdir: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct RootDir {
    #[serde(rename = "type")]
    kind: String,
    ver: i64,
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Commit<'t> {
    #[serde(borrow)]
    ops: &'t RawValue,
    namespace: Text,
    flags: Int,
}

#[derive(Deserialize)]
struct NamespaceName {
    namespace: Text,
}

#[derive(Deserialize)]
struct NewNamespace {
    namespace: Text,
    rootref: Text,
    owner: Int,
    flags: Int,
}

#[derive(Deserialize)]
struct Version {
    namespace: Text,
    rootseq: Int,
}

#[derive(Deserialize)]
struct WatchedLookup {
    namespace: Text,
    key: Text,
    flags: Int,
}

#[derive(Deserialize)]
struct Cancellation {
    matchtag: Int,
}

impl Service for Kvs {
    fn names(&self) -> &'static [&'static str] {
        &["kvs", "kvs-watch"]
    }

    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
        match (request.service, request.method) {
            (_, "ping") => ping(request, router, true),
            (_, "disconnect") => Ok(Reply::Later),
            ("kvs", _) => handle_kvs(self, request, router),
            _ => handle_watch(self, request),
        }
    }

    fn disconnect(&mut self, client: u64) {
        self.forget_client(client);
    }

    fn cancel(&mut self, client: u64, matchtag: u32) {
        self.cancel_watch(client, matchtag);
    }
}

fn handle_kvs(kvs: &mut Kvs, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
    let message = request.message;
    match request.method {
        "stats-get" | "stats" => Reply::json(&kvs.stats()),
        "namespace-list" => namespace_list(kvs),
        "lookup" => lookup(kvs, &request::read(message)?),
        "lookup-plus" => lookup_plus(kvs, &request::read(message)?),
        "commit" => commit_request(kvs, router, request.rank, &request::read(message)?),
        "getroot" => getroot(kvs, &request::read(message)?),
        "namespace-create" => create_namespace(kvs, router, &request::read(message)?),
        "namespace-remove" => remove_namespace(kvs, router, &request::read(message)?),
        "wait-version" => {
            let Version { namespace, rootseq } = request::read(message)?;
            kvs.wait_version(&namespace, rootseq.0, message)?;
            Ok(Reply::Later)
        }
        _ => Err(request.unknown_method()),
    }
}

fn handle_watch(kvs: &mut Kvs, request: &Request<'_>) -> Result<Reply> {
    let message = request.message;
    match request.method {
        "lookup" => {
            let WatchedLookup {
                namespace,
                key,
                flags,
            } = request::read(message)?;
            kvs.watch(&namespace, flags.0, &key, message)?;
            Ok(Reply::Later)
        }
        // This request never gets a response, whether its watch exists or not.
        "cancel" => {
            let cancellation = request::read(message);
            if let (Ok(Cancellation { matchtag }), Some(sender)) = (cancellation, message.sender())
            {
                kvs.cancel_watch(sender, matchtag.0 as u32);
            }
            Ok(Reply::Later)
        }
        "stats-get" => Reply::json(&kvs.watch_stats()),
        _ => Err(request.unknown_method()),
    }
}

fn lookup(kvs: &Kvs, lookup: &Lookup<'_>) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer<'e> {
        val: store::Found<'e>,
    }
    let found = find(kvs, lookup)?;
    let entry = found.entry.ok_or_else(|| Error::new(libc::ENOENT))?;
    let val = store::Found {
        entry: &entry,
        flags: lookup.flags.0,
    };
    Reply::json(&Answer { val })
}

/// Like `lookup`, but also returns the root that it used. A missing key is not
/// an error.
fn lookup_plus(kvs: &Kvs, lookup: &Lookup<'_>) -> Result<Reply> {
    #[derive(Serialize)]
    struct Answer<'e> {
        #[serde(skip_serializing_if = "Option::is_none")]
        val: Option<store::Found<'e>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
        rootseq: i32,
        rootref: String,
    }
    let found = find(kvs, lookup)?;
    let entry = found.entry.as_ref();
    Reply::json(&Answer {
        val: entry.map(|entry| store::Found {
            entry,
            flags: lookup.flags.0,
        }),
        errno: entry.is_none().then_some(libc::ENOENT),
        rootseq: found.rootseq,
        rootref: found.rootref,
    })
}

/// The result of a lookup, and the root that it used.
struct AtRoot {
    entry: Option<Entry>,
    rootref: String,
    rootseq: i32,
}

fn find(kvs: &Kvs, lookup: &Lookup<'_>) -> Result<AtRoot> {
    let flags = lookup.flags.0;
    match (lookup.rootdir, &lookup.namespace) {
        (Some(rootdir), _) => {
            let rootref = rootref(rootdir)?;
            Ok(AtRoot {
                entry: kvs.lookup_at(&rootref, flags, &lookup.key)?,
                rootref,
                rootseq: lookup.rootseq.as_ref().map_or(-1, |rootseq| rootseq.0),
            })
        }
        (None, Some(name)) => {
            let namespace = kvs.namespace(name)?;
            Ok(AtRoot {
                entry: kvs.lookup(name, flags, &lookup.key)?,
                rootref: namespace.rootref.clone(),
                rootseq: namespace.rootseq,
            })
        }
        (None, None) => Err(protocol_error()),
    }
}

/// The blob that a `dirref` object refers to.
fn rootref(rootdir: &RawValue) -> Result<String> {
    let rootdir: Option<RootDir> = object::read(rootdir.get().as_bytes());
    let rootref = rootdir
        .filter(|rootdir| rootdir.ver == 1 && rootdir.kind == "dirref")
        .and_then(|rootdir| rootdir.data.into_iter().next())
        .filter(|rootref| store::is_blobref(rootref));
    rootref.ok_or_else(|| Error::new(libc::EINVAL))
}

fn commit_request(
    kvs: &mut Kvs,
    router: &mut dyn Routing,
    rank: u32,
    request: &Commit<'_>,
) -> Result<Reply> {
    let ops = store::decode_ops(request.ops);
    let Commit {
        namespace, flags, ..
    } = request;
    let committed = commit(kvs, router, rank, namespace, flags.0, &ops)?;
    Reply::json(&json!({ "rootref": committed.rootref, "rootseq": committed.rootseq }))
}

/// Commits operations from a client at `rank`, and publishes the result.
pub fn commit(
    kvs: &mut Kvs,
    router: &mut dyn Routing,
    rank: u32,
    name: &str,
    flags: i32,
    ops: &[Op],
) -> Result<Committed> {
    kvs.namespace(name)?;
    let result = kvs.commit(name, flags, ops);
    let number = kvs.commits() - 1;
    let names = [format!("transaction_req.{rank}.{number}")];
    match &result {
        Ok(committed) => publish(router, name, "setroot", &|| {
            setroot(name, &names, committed)
        }),
        Err(error) => publish(router, name, "error", &|| {
            object::write(&json!({ "errnum": error.errnum, "names": names, "namespace": name }))
        }),
    }
    result
}

/// The payload of the event that a commit publishes.
fn setroot(name: &str, names: &[String], committed: &Committed) -> String {
    #[derive(Serialize)]
    struct SetRoot<'c> {
        keys: BTreeMap<&'c str, ()>,
        names: &'c [String],
        namespace: &'c str,
        owner: i32,
        rootref: &'c str,
        rootseq: i32,
    }
    object::write(&SetRoot {
        keys: committed.keys.iter().map(|key| (&**key, ())).collect(),
        names,
        namespace: name,
        owner: committed.owner as i32,
        rootref: &committed.rootref,
        rootseq: committed.rootseq,
    })
}

fn getroot(kvs: &Kvs, request: &NamespaceName) -> Result<Reply> {
    let name: &str = &request.namespace;
    let namespace = kvs.namespace(name)?;
    Reply::json(&json!({
        "flags": namespace.flags,
        "namespace": name,
        "owner": namespace.owner as i32,
        "rootref": namespace.rootref,
        "rootseq": namespace.rootseq,
    }))
}

fn create_namespace(
    kvs: &mut Kvs,
    router: &mut dyn Routing,
    request: &NewNamespace,
) -> Result<Reply> {
    let name: &str = &request.namespace;
    let created_by = match request.owner.0 {
        USERID_UNKNOWN => userid(),
        owner => owner as u32,
    };
    let rootref = &request.rootref;
    let namespace = kvs.create_namespace(name, rootref, created_by, request.flags.0)?;
    let payload = json!({
        "namespace": name,
        "owner": namespace.owner as i32,
        "rootref": namespace.rootref,
        "rootseq": namespace.rootseq,
    });
    publish(router, name, "created", &|| payload.to_string());
    Ok(Reply::Now(None))
}

fn remove_namespace(
    kvs: &mut Kvs,
    router: &mut dyn Routing,
    request: &NamespaceName,
) -> Result<Reply> {
    let name: &str = &request.namespace;
    if name.eq_ignore_ascii_case(store::PRIMARY) {
        return Err(Error::new(libc::ENOTSUP));
    }
    if kvs.remove_namespace(name) {
        publish(router, name, "removed", &|| {
            json!({ "namespace": name }).to_string()
        });
    }
    Ok(Reply::Now(None))
}

fn namespace_list(kvs: &Kvs) -> Result<Reply> {
    let names: BTreeSet<&str> = kvs.namespaces().map(|(name, _)| name).collect();
    let mut namespaces: Vec<Value> = Vec::new();
    for name in names {
        let namespace = kvs.namespace(name)?;
        namespaces.push(json!({
            "flags": namespace.flags,
            "namespace": name,
            "owner": namespace.owner as i32,
        }));
    }
    Reply::json(&json!({ "namespaces": namespaces }))
}

/// Publishes an event about a namespace. Its payload is made only if a client
/// has subscribed to it.
fn publish(router: &mut dyn Routing, name: &str, what: &str, payload: &dyn Fn() -> String) {
    let topic = format!("kvs.namespace-{name}-{what}");
    let payload = router
        .has_subscriber(&topic)
        .then(|| payload().into_bytes());
    let topic = topic.as_bytes().into();
    let event = Message::event(topic, payload.as_deref(), Credentials::of_owner());
    router.publish(0, &event);
}
