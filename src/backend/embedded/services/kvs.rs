//! `kvs.*` and `kvs-watch.*`: the requests of the key value store, and the
//! events that its changes publish.

use serde_json::{Value, json};

use super::super::super::{Error, Result};
use super::super::broker::State;
use super::super::kvs::{self, Committed, Op};
use super::super::message::{Message, ROLE_OWNER, userid};
use super::{Fields, Outcome, done, protocol_error, unknown_method};

/// A namespace created for whoever the broker runs as.
const USERID_UNKNOWN: i32 = -1;

pub(super) fn call(
    state: &mut State,
    rank: u32,
    method: &str,
    request: &Message,
) -> Result<Outcome> {
    match method {
        "stats-get" | "stats" => done(&state.kvs.stats()),
        "namespace-list" => done(&namespace_list(state)),
        "disconnect" => Ok(Outcome::Later),
        "lookup" => lookup(state, &Fields::of(request)?),
        "lookup-plus" => lookup_plus(state, &Fields::of(request)?),
        "commit" => commit_request(state, rank, &Fields::of(request)?),
        "getroot" => getroot(state, &Fields::of(request)?),
        "namespace-create" => create_namespace(state, &Fields::of(request)?),
        "namespace-remove" => remove_namespace(state, &Fields::of(request)?),
        "wait-version" => {
            let fields = Fields::of(request)?;
            let (rootseq, name) = (fields.int("rootseq")?, fields.text("namespace")?);
            state.kvs.wait_version(name, rootseq, request)?;
            Ok(Outcome::Later)
        }
        _ => Err(unknown_method(request)),
    }
}

pub(super) fn call_watch(state: &mut State, method: &str, request: &Message) -> Result<Outcome> {
    match method {
        "lookup" => {
            let fields = Fields::of(request)?;
            let (name, key) = (fields.text("namespace")?, fields.text("key")?);
            state.kvs.watch(name, fields.int("flags")?, key, request)?;
            Ok(Outcome::Later)
        }
        // Has no response, whatever it names.
        "cancel" => {
            let matchtag = Fields::of(request).and_then(|fields| fields.int("matchtag"));
            if let (Ok(matchtag), Some(sender)) = (matchtag, request.sender()) {
                state.kvs.cancel_watch(sender, matchtag as u32);
            }
            Ok(Outcome::Later)
        }
        "disconnect" => Ok(Outcome::Later),
        "stats-get" => done(&state.kvs.watch_stats()),
        _ => Err(unknown_method(request)),
    }
}

fn lookup(state: &State, fields: &Fields) -> Result<Outcome> {
    let found = find(state, fields)?;
    let val = found.val.ok_or(Error::new(libc::ENOENT))?;
    let payload = [r#"{"val":"#, &val, "}"].concat();
    Ok(Outcome::Done(Some(payload.into_bytes())))
}

/// As `lookup`, with the root that was looked at; what is not there is no
/// error.
fn lookup_plus(state: &State, fields: &Fields) -> Result<Outcome> {
    let Found {
        val,
        rootref,
        rootseq,
    } = find(state, fields)?;
    let val = match val {
        Some(val) => format!(r#""val":{val}"#),
        None => format!(r#""errno":{}"#, libc::ENOENT),
    };
    let rootref = Value::from(rootref);
    let payload = format!(r#"{{{val},"rootseq":{rootseq},"rootref":{rootref}}}"#);
    Ok(Outcome::Done(Some(payload.into_bytes())))
}

struct Found<'a> {
    val: Option<String>,
    rootref: &'a str,
    rootseq: i32,
}

fn find<'a>(state: &'a State, fields: &'a Fields) -> Result<Found<'a>> {
    let key = fields.text("key")?;
    let flags = fields.int("flags")?;
    let namespace = fields.optional_text("namespace")?;
    let rootseq = fields.optional_int("rootseq")?;
    let (entry, rootref, rootseq) = match (fields.value("rootdir"), namespace) {
        (Some(rootdir), _) => {
            let rootref = rootref(rootdir)?;
            let entry = state.kvs.lookup_at(rootref, flags, key)?;
            (entry, rootref, rootseq.unwrap_or(-1))
        }
        (None, Some(name)) => {
            let namespace = state.kvs.namespace(name)?;
            let entry = state.kvs.lookup(name, flags, key)?;
            (entry, namespace.rootref.as_str(), namespace.rootseq)
        }
        (None, None) => return Err(protocol_error()),
    };
    Ok(Found {
        val: entry.map(|entry| kvs::of_lookup(&entry, flags)),
        rootref,
        rootseq,
    })
}

/// The blob that a `dirref` object refers to.
fn rootref(rootdir: &Value) -> Result<&str> {
    let is_dirref = rootdir.get("ver") == Some(&1.into())
        && rootdir.get("type").and_then(Value::as_str) == Some("dirref");
    let data = rootdir.get("data").and_then(Value::as_array);
    let first = data.and_then(|refs| refs.first()?.as_str());
    first
        .filter(|rootref| is_dirref && kvs::is_blobref(rootref))
        .ok_or(Error::new(libc::EINVAL))
}

fn commit_request(state: &mut State, rank: u32, fields: &Fields) -> Result<Outcome> {
    let ops = fields.value("ops").ok_or_else(protocol_error)?;
    let name = fields.text("namespace")?;
    let flags = fields.int("flags")?;
    let committed = commit(state, rank, name, flags, &kvs::decode_ops(ops))?;
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
    let names = [format!(
        "transaction_req.{rank}.{}",
        state.kvs.commits() - 1
    )];
    match &result {
        Ok(committed) => publish(state, name, "setroot", || {
            let keys = committed.keys.iter().map(|key| (key.clone(), Value::Null));
            json!({
                "namespace": name,
                "rootseq": committed.rootseq,
                "rootref": committed.rootref,
                "names": names,
                "keys": Value::Object(keys.collect()),
                "owner": committed.owner,
            })
        }),
        Err(error) => publish(
            state,
            name,
            "error",
            || json!({ "namespace": name, "names": names, "errnum": error.errnum }),
        ),
    }
    result
}

fn getroot(state: &State, fields: &Fields) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    let namespace = state.kvs.namespace(name)?;
    done(&json!({
        "owner": namespace.owner as i32,
        "rootseq": namespace.rootseq,
        "rootref": namespace.rootref,
        "flags": namespace.flags,
        "namespace": name,
    }))
}

fn create_namespace(state: &mut State, fields: &Fields) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    let rootref = fields.text("rootref")?;
    let owner = match fields.int("owner")? {
        USERID_UNKNOWN => userid(),
        owner => owner as u32,
    };
    let flags = fields.int("flags")?;
    let namespace = state.kvs.create_namespace(name, rootref, owner, flags)?;
    let payload = json!({
        "namespace": name,
        "rootseq": namespace.rootseq,
        "rootref": namespace.rootref,
        "owner": namespace.owner as i32,
    });
    publish(state, name, "created", || payload);
    Ok(Outcome::Done(None))
}

fn remove_namespace(state: &mut State, fields: &Fields) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    if name.eq_ignore_ascii_case(kvs::PRIMARY) {
        return Err(Error::new(libc::ENOTSUP));
    }
    if state.kvs.remove_namespace(name) {
        publish(state, name, "removed", || json!({ "namespace": name }));
    }
    Ok(Outcome::Done(None))
}

fn namespace_list(state: &State) -> Value {
    let namespaces = state.kvs.namespaces().map(|(name, namespace)| {
        json!({
            "namespace": name,
            "owner": namespace.owner as i32,
            "flags": namespace.flags,
        })
    });
    json!({ "namespaces": namespaces.collect::<Vec<_>>() })
}

/// Publish an event on a namespace. Its payload is made only for someone.
fn publish(state: &mut State, name: &str, what: &str, payload: impl FnOnce() -> Value) {
    let topic = format!("kvs.namespace-{name}-{what}");
    let payload = state
        .has_subscriber(&topic)
        .then(|| payload().to_string().into_bytes());
    let event = Message::event(topic.as_bytes().into(), payload.as_deref(), ROLE_OWNER);
    state.publish(0, &event);
}
