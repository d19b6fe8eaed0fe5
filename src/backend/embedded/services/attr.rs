//! `attr.*`: broker attributes. Those that a broker has from the start are
//! computed when asked for; only what was set or removed is kept.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::json;

use super::super::broker::{self, State};
use super::super::fields::{self, Text};
use super::super::message::{Message, userid};
use super::super::topology;
use super::{Outcome, done, unknown_method};
use crate::backend::ids::IdMap;
use crate::backend::{Error, Result};

/// The flux-core release whose behaviour this broker has.
const VERSION: &str = "0.88.0";

/// Never changes once set.
const IMMUTABLE: u8 = 1;
/// May be set again without force.
const RUNTIME: u8 = 2;

/// The names that a broker knows, `*` standing for any ending. All others
/// are refused.
const KNOWN: &[(&str, u8)] = &[
    ("broker.boot-method", IMMUTABLE),
    ("broker.cleanup-timeout", 0),
    ("broker.critical-ranks", IMMUTABLE),
    ("broker.exit-norestart", 0),
    ("broker.exit-restart", RUNTIME),
    ("broker.mapping", IMMUTABLE),
    ("broker.module-nopanic", RUNTIME),
    ("broker.pid", IMMUTABLE),
    ("broker.quorum", IMMUTABLE),
    ("broker.quorum-warn", IMMUTABLE),
    ("broker.rc1_path", 0),
    ("broker.rc2_none", 0),
    ("broker.rc2_pgrp", 0),
    ("broker.rc3_path", 0),
    ("broker.recovery-mode", 0),
    ("broker.sd-notify", 0),
    ("broker.sd-stop-timeout", IMMUTABLE),
    ("broker.shutdown-timeout", IMMUTABLE),
    ("broker.shutdown-warn", IMMUTABLE),
    ("broker.starttime", IMMUTABLE),
    ("broker.unload-builtins-timeout", 0),
    ("broker.uuid", IMMUTABLE),
    ("conf.shell_initrc", RUNTIME),
    ("conf.shell_pluginpath", RUNTIME),
    ("config.path", IMMUTABLE),
    ("content.backing-module", 0),
    ("content.dump", RUNTIME),
    ("content.hash", IMMUTABLE),
    ("content.restore", RUNTIME),
    ("cron.directory", 0),
    ("hostlist", IMMUTABLE),
    ("hostname", IMMUTABLE),
    ("instance-level", IMMUTABLE),
    ("jobid", IMMUTABLE),
    ("jobid-path", IMMUTABLE),
    ("local-uri", IMMUTABLE),
    ("log-critical-level", IMMUTABLE),
    ("log-filename", 0),
    ("log-forward-level", IMMUTABLE),
    ("log-level", IMMUTABLE),
    ("log-ring-size", IMMUTABLE),
    (LOG_STDERR_LEVEL, RUNTIME),
    ("log-stderr-mode", IMMUTABLE),
    ("log-syslog-enable", IMMUTABLE),
    ("log-syslog-level", IMMUTABLE),
    ("parent-kvs-namespace", IMMUTABLE),
    ("parent-uri", IMMUTABLE),
    ("rank", IMMUTABLE),
    ("rundir", 0),
    ("rundir-cleanup", IMMUTABLE),
    ("security.owner", IMMUTABLE),
    ("size", IMMUTABLE),
    ("statedir", 0),
    ("statedir-cleanup", IMMUTABLE),
    ("tbon.child_rcvhwm", 0),
    ("tbon.connect_timeout", 0),
    ("tbon.descendants", 0),
    ("tbon.endpoint", 0),
    ("tbon.fanout", 0),
    ("tbon.interface-hint", IMMUTABLE | RUNTIME),
    ("tbon.level", 0),
    ("tbon.maxlevel", 0),
    ("tbon.parent-endpoint", 0),
    ("tbon.prefertcp", 0),
    ("tbon.tcp_user_timeout", 0),
    ("tbon.topo", 0),
    ("tbon.torpid_max", 0),
    ("tbon.torpid_min", 0),
    ("tbon.zmq_io_threads", 0),
    ("tbon.zmqdebug", 0),
    ("test-im.*", IMMUTABLE),
    ("test-nr.*", 0),
    ("test-ro.*", 0),
    ("test.*", RUNTIME),
    ("vendor.*", IMMUTABLE | RUNTIME),
    ("version", 0),
];

/// Set through the log service, which checks it.
const LOG_STDERR_LEVEL: &str = "log-stderr-level";
const MAX_LOG_LEVEL: i64 = 7;

/// What was set at a rank, or removed there (`None`).
#[derive(Default)]
pub(in super::super) struct Attributes(IdMap<HashMap<String, Option<String>>>);

#[derive(Deserialize)]
struct Name {
    name: Text,
}

#[derive(Deserialize)]
struct Setting {
    name: Text,
    value: Text,
    #[serde(default)]
    force: bool,
}

pub(super) fn call(
    state: &mut State,
    rank: u32,
    method: &str,
    request: &Message,
) -> Result<Outcome> {
    match method {
        "get" => {
            let Name { name } = fields::read(request)?;
            let value = state.attribute(rank, &name)?;
            let flags = flags(&name).unwrap_or(0) & IMMUTABLE;
            done(&json!({ "flags": flags, "value": value }))
        }
        "list" => done(&json!({ "names": state.attribute_names(rank) })),
        "set" => set(state, rank, fields::read(request)?),
        "rm" => {
            let Name { name } = fields::read(request)?;
            remove(state, rank, &name)
        }
        _ => Err(unknown_method(request)),
    }
}

fn set(state: &mut State, rank: u32, setting: Setting) -> Result<Outcome> {
    let Setting { name, value, force } = setting;
    let Some(flags) = flags(&name) else {
        return Err(Error::with_detail(libc::ENOENT, "unknown attribute"));
    };
    let exists = state.attribute(rank, &name).is_ok();
    if exists && !force && flags & RUNTIME == 0 {
        let text = "attribute may not be updated";
        return Err(Error::with_detail(libc::EINVAL, text));
    }
    if *name == *LOG_STDERR_LEVEL && !force {
        let level = value
            .parse()
            .ok()
            .filter(|&level: &i64| level <= MAX_LOG_LEVEL);
        level.ok_or_else(|| Error::with_detail(libc::EINVAL, "invalid level"))?;
    }
    if exists && flags & IMMUTABLE != 0 {
        return Err(Error::new(libc::EPERM));
    }
    state.attributes.change(rank, &name, Some(value.0));
    Ok(Outcome::Done(None))
}

fn remove(state: &mut State, rank: u32, name: &str) -> Result<Outcome> {
    if state.attribute(rank, name).is_ok() {
        if flags(name).unwrap_or(0) & IMMUTABLE != 0 {
            return Err(Error::new(libc::EPERM));
        }
        state.attributes.change(rank, name, None);
    }
    Ok(Outcome::Done(None))
}

fn flags(name: &str) -> Option<u8> {
    let known = KNOWN
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
    known.map(|&(_, flags)| flags)
}

impl Attributes {
    fn change(&mut self, rank: u32, name: &str, value: Option<String>) {
        let attributes = self.0.entry(rank.into()).or_default();
        attributes.insert(name.to_owned(), value);
    }
}

impl State {
    /// An attribute's value at `rank`; ENOENT if it has none.
    pub fn attribute(&self, rank: u32, name: &str) -> Result<String> {
        let changes = self.attributes.0.get(&rank.into());
        let value = match changes.and_then(|changes| changes.get(name)) {
            Some(changed) => changed.clone(),
            None => self.builtin_attribute(rank, name),
        };
        value.ok_or_else(|| Error::new(libc::ENOENT))
    }

    /// The names of the attributes that have a value.
    fn attribute_names(&self, rank: u32) -> BTreeSet<&str> {
        let set = self.attributes.0.get(&rank.into()).into_iter().flatten();
        let set = set.map(|(name, _)| name.as_str());
        let known = KNOWN.iter().map(|(name, _)| *name);
        set.chain(known)
            .filter(|name| self.attribute(rank, name).is_ok())
            .collect()
    }

    fn builtin_attribute(&self, rank: u32, name: &str) -> Option<String> {
        Some(match name {
            "broker.boot-method" => "embedded".into(),
            "broker.critical-ranks" | "instance-level" => "0".into(),
            "broker.mapping" => format!("[[0,1,{},1]]", self.size),
            "broker.pid" => std::process::id().to_string(),
            "broker.quorum" | "size" => self.size.to_string(),
            "content.hash" => "sha1".into(),
            "hostlist" => vec![hostname(); self.size as usize].join(","),
            "hostname" => hostname(),
            "jobid-path" => "/".into(),
            "local-uri" => broker::uri(&self.name, self.size, rank),
            "log-critical-level" => "2".into(),
            "log-forward-level" | LOG_STDERR_LEVEL | "log-syslog-level" => "3".into(),
            "log-level" => MAX_LOG_LEVEL.to_string(),
            "log-ring-size" => super::log::RING_SIZE.to_string(),
            "log-stderr-mode" => "leader".into(),
            "log-syslog-enable" => "0".into(),
            "rank" => rank.to_string(),
            "security.owner" => userid().to_string(),
            "tbon.descendants" => topology::descendants(rank, self.size).to_string(),
            "tbon.endpoint" if topology::descendants(rank, self.size) > 0 => {
                broker::uri(&self.name, self.size, rank)
            }
            "tbon.level" => topology::level(rank).to_string(),
            "tbon.maxlevel" => topology::level(self.size - 1).to_string(),
            "tbon.parent-endpoint" => broker::uri(&self.name, self.size, topology::parent(rank)?),
            "tbon.topo" => "kary:2".into(),
            "version" => VERSION.into(),
            _ => return None,
        })
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.to_owned(),
    }
}
