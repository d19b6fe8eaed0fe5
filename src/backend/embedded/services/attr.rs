//! `attr.*`: broker attributes. The initial attributes are computed when a
//! request asks for them. Only changes are stored.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::json;

use super::log::RING_SIZE;
use crate::backend::embedded::request::{self, Text};
use crate::backend::embedded::service::{Reply, Request, Routing, Service};
use crate::backend::embedded::topology;
use crate::backend::ids::IdMap;
use crate::backend::system::userid;
use crate::backend::{Error, Result};

/// The flux-core release whose behaviour this broker has.
const VERSION: &str = "0.88.0";

/// The attribute never changes once it is set.
const IMMUTABLE: u8 = 1;
/// The attribute may be set again without force.
const RUNTIME: u8 = 2;

/// The names that a broker knows. `*` stands for any ending. Other names are
/// refused.
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

/// In a real broker the log service handles this attribute, and checks its
/// value.
const LOG_STDERR_LEVEL: &str = "log-stderr-level";
const MAX_LOG_LEVEL: i64 = 7;

/// The service `attr`. Maps a rank to the attributes that were set there, or
/// removed (None).
#[derive(Default)]
pub struct Attributes(IdMap<HashMap<String, Option<String>>>);

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

impl Service for Attributes {
    fn names(&self) -> &'static [&'static str] {
        &["attr"]
    }

    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
        let rank = request.rank;
        match request.method {
            "get" => {
                let Name { name } = request::read(request.message)?;
                let value = self.get(router, rank, &name)?;
                let flags = flags(&name).unwrap_or(0) & IMMUTABLE;
                Reply::json(&json!({ "flags": flags, "value": value }))
            }
            "list" => Reply::json(&json!({ "names": self.names(router, rank) })),
            "set" => {
                let setting = request::read(request.message)?;
                self.set(router, rank, setting)?;
                Reply::empty()
            }
            "rm" => {
                let Name { name } = request::read(request.message)?;
                self.remove(router, rank, &name)?;
                Reply::empty()
            }
            _ => Err(request.unknown_method()),
        }
    }
}

impl Attributes {
    /// Returns the value of an attribute at `rank`. Fails with ENOENT if it has
    /// none.
    pub fn get(&self, router: &dyn Routing, rank: u32, name: &str) -> Result<String> {
        let changes = self.0.get(&rank.into());
        let value = match changes.and_then(|changes| changes.get(name)) {
            Some(changed) => changed.clone(),
            None => initial_value(router, rank, name),
        };
        value.ok_or_else(|| Error::new(libc::ENOENT))
    }

    /// The names of the attributes that have a value.
    fn names(&self, router: &dyn Routing, rank: u32) -> BTreeSet<&str> {
        let changed = self.0.get(&rank.into()).into_iter().flatten();
        let changed = changed.map(|(name, _)| name.as_str());
        let known = KNOWN.iter().map(|(name, _)| *name);
        changed
            .chain(known)
            .filter(|name| self.get(router, rank, name).is_ok())
            .collect()
    }

    fn set(&mut self, router: &dyn Routing, rank: u32, setting: Setting) -> Result<()> {
        let Setting { name, value, force } = setting;
        let Some(flags) = flags(&name) else {
            return Err(Error::with_detail(libc::ENOENT, "unknown attribute"));
        };
        let exists = self.get(router, rank, &name).is_ok();
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
        self.change(rank, &name, Some(value.0));
        Ok(())
    }

    fn remove(&mut self, router: &dyn Routing, rank: u32, name: &str) -> Result<()> {
        if self.get(router, rank, name).is_err() {
            return Ok(());
        }
        if flags(name).unwrap_or(0) & IMMUTABLE != 0 {
            return Err(Error::new(libc::EPERM));
        }
        self.change(rank, name, None);
        Ok(())
    }

    fn change(&mut self, rank: u32, name: &str, value: Option<String>) {
        let attributes = self.0.entry(rank.into()).or_default();
        attributes.insert(name.to_owned(), value);
    }
}

/// The flags of an attribute, None for a name that a broker does not know.
fn flags(name: &str) -> Option<u8> {
    let known = KNOWN
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        });
    known.map(|&(_, flags)| flags)
}

/// The value that an attribute has before it is changed.
fn initial_value(router: &dyn Routing, rank: u32, name: &str) -> Option<String> {
    let size = router.size();
    Some(match name {
        "broker.boot-method" => "embedded".into(),
        "broker.critical-ranks" | "instance-level" => "0".into(),
        "broker.mapping" => format!("[[0,1,{},1]]", size),
        "broker.pid" => std::process::id().to_string(),
        "broker.quorum" | "size" => size.to_string(),
        "content.hash" => "sha1".into(),
        "hostlist" => vec![hostname(); size as usize].join(","),
        "hostname" => hostname(),
        "jobid-path" => "/".into(),
        "local-uri" => router.uri(rank),
        "log-critical-level" => "2".into(),
        "log-forward-level" | LOG_STDERR_LEVEL | "log-syslog-level" => "3".into(),
        "log-level" => MAX_LOG_LEVEL.to_string(),
        "log-ring-size" => RING_SIZE.to_string(),
        "log-stderr-mode" => "leader".into(),
        "log-syslog-enable" => "0".into(),
        "rank" => rank.to_string(),
        "security.owner" => userid().to_string(),
        "tbon.descendants" => topology::descendants(rank, size).to_string(),
        "tbon.endpoint" if topology::descendants(rank, size) > 0 => router.uri(rank),
        "tbon.level" => topology::level(rank).to_string(),
        "tbon.maxlevel" => topology::level(size - 1).to_string(),
        "tbon.parent-endpoint" => router.uri(topology::parent(rank)?),
        "tbon.topo" => "kary:2".into(),
        "version" => VERSION.into(),
        _ => return None,
    })
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".into(),
        name => name.to_owned(),
    }
}
