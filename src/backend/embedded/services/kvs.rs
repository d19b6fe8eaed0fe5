//! `kvs.*` and `kvs-watch.*`: the requests of the key value store, and the
//! events that its changes publish.

use super::super::super::object::{self, Field, Object};
use super::super::super::{Error, Result};
use super::super::broker::State;
use super::super::kvs::{self, Committed, Namespace, Op};
use super::super::message::{Message, ROLE_OWNER, userid};
use super::{Fields, Outcome, done, done_with, protocol_error, unknown_method};

/// A namespace created for whoever the broker runs as.
const USERID_UNKNOWN: i32 = -1;

pub(super) fn call(
    state: &mut State,
    rank: u32,
    method: &str,
    request: &Message,
) -> Result<Outcome> {
    match method {
        "stats-get" | "stats" => Ok(done_with(state.kvs.stats())),
        "namespace-list" => namespace_list(state),
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
            state.kvs.wait_version(&name, rootseq, request)?;
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
            let flags = fields.int("flags")?;
            state.kvs.watch(&name, flags, &key, request)?;
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
        "stats-get" => Ok(done_with(state.kvs.watch_stats())),
        _ => Err(unknown_method(request)),
    }
}

fn lookup(state: &State, fields: &Fields<'_>) -> Result<Outcome> {
    let found = find(state, fields)?;
    let val = found.val.ok_or_else(|| Error::new(libc::ENOENT))?;
    done(&[("val", Field::Json(&val))])
}

/// As `lookup`, with the root that was looked at; what is not there is no
/// error.
fn lookup_plus(state: &State, fields: &Fields<'_>) -> Result<Outcome> {
    let Found {
        val,
        rootref,
        rootseq,
    } = find(state, fields)?;
    let val = match &val {
        Some(val) => ("val", Field::Json(val)),
        None => ("errno", Field::Integer(libc::ENOENT.into())),
    };
    done(&[
        val,
        ("rootseq", Field::Integer(rootseq.into())),
        ("rootref", Field::Text(&rootref)),
    ])
}

struct Found {
    val: Option<String>,
    rootref: String,
    rootseq: i32,
}

fn find(state: &State, fields: &Fields<'_>) -> Result<Found> {
    let key = fields.text("key")?;
    let flags = fields.int("flags")?;
    let namespace = fields.optional_text("namespace")?;
    let rootseq = fields.optional_int("rootseq")?;
    let (entry, rootref, rootseq) = match (fields.json("rootdir"), namespace) {
        (Some(rootdir), _) => {
            let rootref = rootref(rootdir)?;
            let entry = state.kvs.lookup_at(&rootref, flags, &key)?;
            (entry, rootref, rootseq.unwrap_or(-1))
        }
        (None, Some(name)) => {
            let namespace = state.kvs.namespace(&name)?;
            let entry = state.kvs.lookup(&name, flags, &key)?;
            (entry, namespace.rootref.clone(), namespace.rootseq)
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
fn rootref(rootdir: &str) -> Result<String> {
    let first = || {
        let rootdir = Object::parse(rootdir.as_bytes())?;
        let is_dirref =
            rootdir.integer("ver") == Some(1) && rootdir.text("type").as_deref() == Some("dirref");
        let refs = object::items(rootdir.json("data")?)?;
        object::text(refs.first()?).filter(|rootref| is_dirref && kvs::is_blobref(rootref))
    };
    first().ok_or_else(|| Error::new(libc::EINVAL))
}

fn commit_request(state: &mut State, rank: u32, fields: &Fields<'_>) -> Result<Outcome> {
    let ops = fields.json("ops").ok_or_else(protocol_error)?;
    let name = fields.text("namespace")?;
    let flags = fields.int("flags")?;
    let committed = commit(state, rank, &name, flags, &kvs::decode_ops(ops))?;
    done(&[
        ("rootref", Field::Text(&committed.rootref)),
        ("rootseq", Field::Integer(committed.rootseq.into())),
    ])
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
    let names = format!(r#"["transaction_req.{rank}.{number}"]"#);
    match &result {
        Ok(committed) => publish(state, name, "setroot", &|| setroot(name, &names, committed)),
        Err(error) => publish(state, name, "error", &|| {
            object::write(&[
                ("errnum", Field::Integer(error.errnum.into())),
                ("names", Field::Json(&names)),
                ("namespace", Field::Text(name)),
            ])
        }),
    }
    result
}

fn setroot(name: &str, names: &str, committed: &Committed) -> String {
    let keys = committed.keys.iter();
    let keys: Vec<_> = keys.map(|key| (&**key, Field::Json("null"))).collect();
    object::write(&[
        ("keys", Field::Json(&object::write(&keys))),
        ("names", Field::Json(names)),
        ("namespace", Field::Text(name)),
        ("owner", Field::Integer(committed.owner.into())),
        ("rootref", Field::Text(&committed.rootref)),
        ("rootseq", Field::Integer(committed.rootseq.into())),
    ])
}

fn getroot(state: &State, fields: &Fields<'_>) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    let namespace = state.kvs.namespace(&name)?;
    done(&[
        ("flags", Field::Integer(namespace.flags.into())),
        ("namespace", Field::Text(&name)),
        ("owner", owner(namespace)),
        ("rootref", Field::Text(&namespace.rootref)),
        ("rootseq", Field::Integer(namespace.rootseq.into())),
    ])
}

/// A namespace's owner, as a C int.
fn owner(namespace: &Namespace) -> Field<'static> {
    Field::Integer((namespace.owner as i32).into())
}

fn create_namespace(state: &mut State, fields: &Fields<'_>) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    let rootref = fields.text("rootref")?;
    let created_by = match fields.int("owner")? {
        USERID_UNKNOWN => userid(),
        owner => owner as u32,
    };
    let flags = fields.int("flags")?;
    let namespace = state
        .kvs
        .create_namespace(&name, &rootref, created_by, flags)?;
    let payload = object::write(&[
        ("namespace", Field::Text(&name)),
        ("owner", owner(namespace)),
        ("rootref", Field::Text(&namespace.rootref)),
        ("rootseq", Field::Integer(namespace.rootseq.into())),
    ]);
    publish(state, &name, "created", &|| payload.clone());
    Ok(Outcome::Done(None))
}

fn remove_namespace(state: &mut State, fields: &Fields<'_>) -> Result<Outcome> {
    let name = fields.text("namespace")?;
    if name.eq_ignore_ascii_case(kvs::PRIMARY) {
        return Err(Error::new(libc::ENOTSUP));
    }
    if state.kvs.remove_namespace(&name) {
        publish(state, &name, "removed", &|| {
            object::write(&[("namespace", Field::Text(&name))])
        });
    }
    Ok(Outcome::Done(None))
}

fn namespace_list(state: &State) -> Result<Outcome> {
    let names = state.kvs.namespaces().map(|(name, _)| name.to_owned());
    let mut namespaces = Vec::new();
    for name in &object::sorted(names) {
        let namespace = state.kvs.namespace(name)?;
        namespaces.push(object::write(&[
            ("flags", Field::Integer(namespace.flags.into())),
            ("namespace", Field::Text(name)),
            ("owner", owner(namespace)),
        ]));
    }
    let namespaces = object::write_items(&namespaces);
    done(&[("namespaces", Field::Json(&namespaces))])
}

/// Publish an event on a namespace. Its payload is made only for someone.
fn publish(state: &mut State, name: &str, what: &str, payload: &dyn Fn() -> String) {
    let topic = format!("kvs.namespace-{name}-{what}");
    let payload = state.has_subscriber(&topic).then(|| payload().into_bytes());
    let event = Message::event(topic.as_bytes().into(), payload.as_deref(), ROLE_OWNER);
    state.publish(0, &event);
}
