//! `log.*`: each rank's log, a ring of RFC 5424 lines. Nothing is written
//! outside the memory of the process.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;

use crate::backend::embedded::message::{FLAG_STREAMING, Message};
use crate::backend::embedded::request::{self, Int};
use crate::backend::embedded::service::{Reply, Request, Routing, Service, protocol_error};
use crate::backend::embedded::topology;
use crate::backend::ids::IdMap;
use crate::backend::{Error, MATCHTAG_NONE, Result};

/// The number of lines that a rank keeps.
pub const RING_SIZE: usize = 1024;
/// The least severe level that is kept.
const LEVEL: u32 = 7;
/// The least severe level that is forwarded to rank 0.
const FORWARD_LEVEL: u32 = 3;
/// The severity of a line that does not state one.
const DEFAULT_SEVERITY: u32 = 6;

const MAX_APPNAME: usize = 48;

/// The service `log`: the logs by rank.
#[derive(Default)]
pub struct Logs(IdMap<Log>);

/// The log of one rank.
#[derive(Default)]
struct Log {
    ring: VecDeque<Box<[u8]>>,
    /// The requests that get each new line as a response.
    followers: Vec<Message>,
    /// How many lines were put into the ring.
    count: u64,
    /// How many lines came from this rank.
    local: u64,
    /// How many lines came from other ranks.
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

impl Service for Logs {
    fn names(&self) -> &'static [&'static str] {
        &["log"]
    }

    fn handle(&mut self, request: &Request<'_>, _: &mut dyn Routing) -> Result<Reply> {
        let message = request.message;
        match request.method {
            "append" => {
                self.append(request.rank, message.payload.as_deref().unwrap_or(b""));
                match message.matchtag {
                    MATCHTAG_NONE => Ok(Reply::Later),
                    _ => Reply::empty(),
                }
            }
            "clear" => {
                self.at(request.rank).ring.clear();
                Reply::empty()
            }
            "dmesg" => self.dmesg(request.rank, message),
            "cancel" => {
                let cancellation = request::read(message);
                if let (Ok(Cancellation { matchtag }), Some(sender)) =
                    (cancellation, message.sender())
                {
                    self.cancel(sender, matchtag.0 as u32);
                }
                Ok(Reply::Later)
            }
            "stats-get" => {
                let log = self.at(request.rank);
                Reply::json(&json!({
                    "count": log.count,
                    "local": log.local,
                    "remote": log.remote,
                    "ring-used": log.ring.len(),
                }))
            }
            _ => Err(request.unknown_method()),
        }
    }

    fn disconnect(&mut self, client: u64) {
        for log in self.0.values_mut() {
            log.followers
                .retain(|request| request.sender() != Some(client));
        }
    }

    fn cancel(&mut self, client: u64, matchtag: u32) {
        for log in self.0.values_mut() {
            log.followers.retain(|request| {
                let is_it = request.sender() == Some(client) && request.matchtag == matchtag;
                if is_it {
                    request.respond(libc::ENODATA, None);
                }
                !is_it
            });
        }
    }
}

impl Logs {
    /// Logs a text at `rank`, as if this program had sent it.
    pub fn log(&mut self, rank: u32, level: i32, text: &str) {
        for line in lines(rank, level, text) {
            self.append(rank, line.as_bytes());
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

    fn dmesg(&mut self, rank: u32, request: &Message) -> Result<Reply> {
        let Dmesg { follow, nobacklog } = request::read(request)?;
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
        Ok(Reply::Later)
    }
}

impl Log {
    fn receive(&mut self, is_local: bool, severity: u32, line: &[u8]) {
        if !is_local {
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

/// Splits a text into the lines that a program at `rank` sends to the log.
/// There is at least one. After the first, empty lines are left out.
pub fn lines(rank: u32, level: i32, text: &str) -> Vec<String> {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut lines = text.split(['\r', '\n']);
    let first = lines.next().unwrap_or_default();
    let more = lines.filter(|line| !line.is_empty());
    std::iter::once(first)
        .chain(more)
        .map(|line| format_line(rank, level, line))
        .collect()
}

/// Reads the rank and the severity from a line's header.
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
