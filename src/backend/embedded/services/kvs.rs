//! `kvs.*` and `kvs-watch.*`: the requests of the key value store, and the
//! events that its changes publish.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::broker::State;
use super::super::fields::{self, Int, Text};
use super::super::kvs::{self, Committed, Entry, Op};
use super::super::message::{Message, ROLE_OWNER, userid};
use super::{Outcome, done, protocol_error, unknown_method};
use crate::backend::object::{self, present};
use crate::backend::{Error, Result};

/// A namespace created for whoever the broker runs as.
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

pub(super) fn call(
    state: &mut State,
    rank: u32,
    method: &str,
    request: &Message,
) -> Result<Outcome> {
    match method {
        "stats-get" | "stats" => done(&state.kvs.stats()),
        "namespace-list" => namespace_list(state),
        "disconnect" => Ok(Outcome::Later),
        "lookup" => lookup(state, &fields::read(request)?),
        "lookup-plus" => lookup_plus(state, &fields::read(request)?),
        "commit" => commit_request(state, rank, &fields::read(request)?),
        "getroot" => getroot(state, &fields::read(request)?),
        "namespace-create" => create_namespace(state, &fields::read(request)?),
        "namespace-remove" => remove_namespace(state, &fields::read(request)?),
        "wait-version" => {
            let Version { namespace, rootseq } = fields::read(request)?;
            state.kvs.wait_version(&namespace, rootseq.0, request)?;
            Ok(Outcome::Later)
        }
        _ => Err(unknown_method(request)),
    }
}

pub(super) fn call_watch(state: &mut State, method: &str, request: &Message) -> Result<Outcome> {
    match method {
        "lookup" => {
            let WatchedLookup {
                namespace,
                key,
                flags,
            } = fields::read(request)?;
            state.kvs.watch(&namespace, flags.0, &key, request)?;
            Ok(Outcome::Later)
        }
        // Has no response, whatever it names.
        "cancel" => {
            if let (Ok(Cancellation { matchtag }), Some(sender)) =
                (fields::read(request), request.sender())
            {
                state.kvs.cancel_watch(sender, matchtag.0 as u32);
            }
            Ok(Outcome::Later)
        }
        "disconnect" => Ok(Outcome::Later),
        "stats-get" => done(&state.kvs.watch_stats()),
        _ => Err(unknown_method(request)),
    }
}

fn lookup(state: &State, lookup: &Lookup<'_>) -> Result<Outcome> {
    #[derive(Serialize)]
    struct Answer<'e> {
        val: kvs::Found<'e>,
    }
    let found = find(state, lookup)?;
    let entry = found.entry.ok_or_else(|| Error::new(libc::ENOENT))?;
    let val = kvs::Found {
        entry: &entry,
        flags: lookup.flags.0,
    };
    done(&Answer { val })
}

/// As `lookup`, with the root that was looked at. A key that does not exist is
/// not an error.
fn lookup_plus(state: &State, lookup: &Lookup<'_>) -> Result<Outcome> {
    #[derive(Serialize)]
    struct Answer<'e> {
        #[serde(skip_serializing_if = "Option::is_none")]
        val: Option<kvs::Found<'e>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<i32>,
        rootseq: i32,
        rootref: String,
    }
    let found = find(state, lookup)?;
    let entry = found.entry.as_ref();
    done(&Answer {
        val: entry.map(|entry| kvs::Found {
            entry,
            flags: lookup.flags.0,
        }),
        errno: entry.is_none().then_some(libc::ENOENT),
        rootseq: found.rootseq,
        rootref: found.rootref,
    })
}

/// What a lookup found, and the root that it looked at.
struct Found {
    entry: Option<Entry>,
    rootref: String,
    rootseq: i32,
}

fn find(state: &State, lookup: &Lookup<'_>) -> Result<Found> {
    let flags = lookup.flags.0;
    match (lookup.rootdir, &lookup.namespace) {
        (Some(rootdir), _) => {
            let rootref = rootref(rootdir)?;
            Ok(Found {
                entry: state.kvs.lookup_at(&rootref, flags, &lookup.key)?,
                rootref,
                rootseq: lookup.rootseq.as_ref().map_or(-1, |rootseq| rootseq.0),
            })
        }
        (None, Some(name)) => {
            let namespace = state.kvs.namespace(name)?;
            Ok(Found {
                entry: state.kvs.lookup(name, flags, &lookup.key)?,
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
        .filter(|rootref| kvs::is_blobref(rootref));
    rootref.ok_or_else(|| Error::new(libc::EINVAL))
}

fn commit_request(state: &mut State, rank: u32, request: &Commit<'_>) -> Result<Outcome> {
    let ops = kvs::decode_ops(request.ops);
    let Commit {
        namespace, flags, ..
    } = request;
    let committed = commit(state, rank, namespace, flags.0, &ops)?;
    done(&json!({ "rootref": committed.rootref, "rootseq": committed.rootseq }))
}

/// Commit, and publish what became of it.
pub(in super::super) fn commit(
    state: &mut State,
    rank: u32,
    name: &str,
    flags: i32,
    ops: &[Op],
) -> Result<Committed> {
    state.kvs.namespace(name)?;
    let result = state.kvs.commit(name, flags, ops);
    let number = state.kvs.commits() - 1;
    let names = [format!("transaction_req.{rank}.{number}")];
    match &result {
        Ok(committed) => publish(state, name, "setroot", &|| setroot(name, &names, committed)),
        Err(error) => publish(state, name, "error", &|| {
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

fn getroot(state: &State, request: &NamespaceName) -> Result<Outcome> {
    let name: &str = &request.namespace;
    let namespace = state.kvs.namespace(name)?;
    done(&json!({
        "flags": namespace.flags,
        "namespace": name,
        "owner": namespace.owner as i32,
        "rootref": namespace.rootref,
        "rootseq": namespace.rootseq,
    }))
}

fn create_namespace(state: &mut State, request: &NewNamespace) -> Result<Outcome> {
    let name: &str = &request.namespace;
    let created_by = match request.owner.0 {
        USERID_UNKNOWN => userid(),
        owner => owner as u32,
    };
    let rootref = &request.rootref;
    let namespace = state
        .kvs
        .create_namespace(name, rootref, created_by, request.flags.0)?;
    let payload = json!({
        "namespace": name,
        "owner": namespace.owner as i32,
        "rootref": namespace.rootref,
        "rootseq": namespace.rootseq,
    });
    publish(state, name, "created", &|| payload.to_string());
    Ok(Outcome::Done(None))
}

fn remove_namespace(state: &mut State, request: &NamespaceName) -> Result<Outcome> {
    let name: &str = &request.namespace;
    if name.eq_ignore_ascii_case(kvs::PRIMARY) {
        return Err(Error::new(libc::ENOTSUP));
    }
    if state.kvs.remove_namespace(name) {
        publish(state, name, "removed", &|| {
            json!({ "namespace": name }).to_string()
        });
    }
    Ok(Outcome::Done(None))
}

fn namespace_list(state: &State) -> Result<Outcome> {
    let names: BTreeSet<&str> = state.kvs.namespaces().map(|(name, _)| name).collect();
    let mut namespaces: Vec<Value> = Vec::new();
    for name in names {
        let namespace = state.kvs.namespace(name)?;
        namespaces.push(json!({
            "flags": namespace.flags,
            "namespace": name,
            "owner": namespace.owner as i32,
        }));
    }
    done(&json!({ "namespaces": namespaces }))
}

/// Publish an event on a namespace. Its payload is made only for someone.
fn publish(state: &mut State, name: &str, what: &str, payload: &dyn Fn() -> String) {
    let topic = format!("kvs.namespace-{name}-{what}");
    let payload = state.has_subscriber(&topic).then(|| payload().into_bytes());
    let event = Message::event(topic.as_bytes().into(), payload.as_deref(), ROLE_OWNER);
    state.publish(0, &event);
}
