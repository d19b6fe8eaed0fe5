//! `log.*`: each rank's log, a ring of RFC 5424 lines. Nothing is written
//! outside the process's memory.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;

use super::super::broker::State;
use super::super::fields::{self, Int};
use super::super::message::{FLAG_STREAMING, Message};
use super::super::topology;
use super::{Outcome, done, protocol_error, unknown_method};
use crate::backend::ids::IdMap;
use crate::backend::{Error, Result};

/// How many lines a rank keeps.
pub(super) const RING_SIZE: usize = 1024;
/// The least severe level kept, and the least severe sent towards rank 0.
const LEVEL: u32 = 7;
const FORWARD_LEVEL: u32 = 3;
/// The severity of a line that says none.
const DEFAULT_SEVERITY: u32 = 6;

const MAX_APPNAME: usize = 48;

#[derive(Default)]
pub(in super::super) struct Logs(IdMap<Log>);

#[derive(Default)]
struct Log {
    ring: VecDeque<Box<[u8]>>,
    /// Requests for every line to come.
    followers: Vec<Message>,
    count: u64,
    local: u64,
    remote: u64,
}

#[derive(Deserialize)]
struct Dmesg {
    follow: bool,
    #[serde(default)]
    nobacklog: bool,
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
        "append" => {
            state
                .logs
                .append(rank, request.payload.as_deref().unwrap_or(b""));
            match request.matchtag {
                0 => Ok(Outcome::Later),
                _ => Ok(Outcome::Done(None)),
            }
        }
        "clear" => {
            state.logs.at(rank).ring.clear();
            Ok(Outcome::Done(None))
        }
        "dmesg" => state.logs.dmesg(rank, request),
        "cancel" => {
            if let (Ok(Cancellation { matchtag }), Some(sender)) =
                (fields::read(request), request.sender())
            {
                state.logs.cancel(sender, matchtag.0 as u32);
            }
            Ok(Outcome::Later)
        }
        "stats-get" => {
            let log = state.logs.at(rank);
            done(&json!({
                "count": log.count,
                "local": log.local,
                "remote": log.remote,
                "ring-used": log.ring.len(),
            }))
        }
        _ => Err(unknown_method(request)),
    }
}

impl Logs {
    /// Log a text at `rank`, as sent by this program.
    pub fn log(&mut self, rank: u32, level: i32, text: &str) {
        for line in lines(rank, level, text) {
            self.append(rank, line.as_bytes());
        }
    }

    /// The endpoint `id` is gone, and follows no longer.
    pub fn disconnect(&mut self, id: u64) {
        for log in self.0.values_mut() {
            log.followers.retain(|request| request.sender() != Some(id));
        }
    }

    fn at(&mut self, rank: u32) -> &mut Log {
        self.0.entry(rank.into()).or_default()
    }

    fn append(&mut self, rank: u32, line: &[u8]) {
        let (origin, severity) = parse_header(line).unwrap_or((u32::MAX, DEFAULT_SEVERITY));
        self.at(rank).receive(origin == rank, severity, line);
        if severity > FORWARD_LEVEL {
            return;
        }
        let above = std::iter::successors(topology::parent(rank), |&rank| topology::parent(rank));
        for rank in above {
            self.at(rank).receive(origin == rank, severity, line);
        }
    }

    fn dmesg(&mut self, rank: u32, request: &Message) -> Result<Outcome> {
        let Dmesg { follow, nobacklog } = fields::read(request)?;
        if !request.has(FLAG_STREAMING) {
            return Err(protocol_error());
        }
        let log = self.at(rank);
        if !nobacklog {
            for line in &log.ring {
                request.respond(0, Some(line));
            }
        }
        if !follow {
            return Err(Error::new(libc::ENODATA));
        }
        log.followers.push(request.clone());
        Ok(Outcome::Later)
    }

    /// End the stream that the sender asked for under this matchtag.
    pub fn cancel(&mut self, sender: u64, matchtag: u32) {
        for log in self.0.values_mut() {
            log.followers.retain(|request| {
                let named = request.sender() == Some(sender) && request.matchtag == matchtag;
                if named {
                    request.respond(libc::ENODATA, None);
                }
                !named
            });
        }
    }
}

impl Log {
    fn receive(&mut self, local: bool, severity: u32, line: &[u8]) {
        if !local {
            self.remote += 1;
            return;
        }
        self.local += 1;
        if severity > LEVEL {
            return;
        }
        self.count += 1;
        self.ring.push_back(line.into());
        if self.ring.len() > RING_SIZE {
            self.ring.pop_front();
        }
        for request in &self.followers {
            request.respond(0, Some(line));
        }
    }
}

/// A text as the lines that a program at `rank` sends to the log: at least one,
/// and of further lines none that is empty.
pub(in super::super) fn lines(rank: u32, level: i32, text: &str) -> Vec<String> {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut lines = text.split(['\r', '\n']);
    let first = lines.next().unwrap_or_default();
    let more = lines.filter(|line| !line.is_empty());
    std::iter::once(first)
        .chain(more)
        .map(|line| format_line(rank, level, line))
        .collect()
}

/// The rank and the severity that a line's header gives.
fn parse_header(line: &[u8]) -> Option<(u32, u32)> {
    let line = String::from_utf8_lossy(line);
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    // Version, time, host (here a rank), application, process, message id,
    // structured data; then the text.
    let fields: Vec<&str> = rest.splitn(8, ' ').collect();
    let [version, _, host, _, _, _, _, _] = fields[..] else {
        return None;
    };
    version.parse::<u32>().ok()?;
    let priority: u32 = priority.parse().ok()?;
    Some((host.parse().unwrap_or(0), priority >> 3))
}

fn format_line(rank: u32, level: i32, text: &str) -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = program.to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default();
    let appname: String = program.chars().take(MAX_APPNAME).collect();
    let appname = if appname.is_empty() { "-" } else { &appname };
    let priority = i64::from(level) << 3;
    let time = humantime::format_rfc3339_micros(SystemTime::now());
    let process = std::process::id();
    format!("<{priority}>1 {time} {rank} {appname} {process} - - {text}")
}
