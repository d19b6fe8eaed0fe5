//! How the time and the memory of an operation grow with how many there are
//! of something: each size in a process of its own, as a first use finds it.

use std::time::Duration;

use super::Effort;
use super::measure::{long_enough, median};
use super::report::{Curve, Point, Report, Who};
use super::subjects::{Program, Subjects};

pub const GROUP: &str = "Growth";

/// What is measured is repeated for about so long, so often.
const TIME: Duration = Duration::from_millis(10);
const RUNS: usize = 3;

/// Fewer bytes than this in all are not told from what a process does besides.
const LEAST_MEMORY: f64 = 256.0 * 1024.0;

pub struct Grown {
    panel: &'static str,
    name: &'static str,
    /// What cases.lua calls it.
    case: &'static str,
    count: &'static str,
    per: &'static str,
    sizes: &'static [f64],
}

impl Grown {
    pub fn full_name(&self) -> String {
        format!("{}, {}", self.panel, self.name)
    }
}

const MANY: &[f64] = &[1e1, 1e2, 1e3, 1e4, 1e5];
const RANKS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];
const BYTES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

const fn grown(
    panel: &'static str,
    name: &'static str,
    case: &'static str,
    count: &'static str,
    per: &'static str,
    sizes: &'static [f64],
) -> Grown {
    Grown {
        panel,
        name,
        case,
        count,
        per,
        sizes,
    }
}

#[rustfmt::skip]
pub const CURVES: &[Grown] = &[
    grown("Requests in flight", "in order", "matchtags", "matchtags out", "request", MANY),
    grown("Requests in flight", "last first", "matchtags newest first", "matchtags out", "request", MANY),
    grown("Messages in a row", "read", "messages", "messages", "message", MANY),
    grown("Timers", "removed", "timers", "timers", "timer", MANY),
    grown("Timers", "expire", "timers expire", "timers", "timer", MANY),
    grown("Message handlers", "topics", "topics", "handlers", "handler", MANY),
    grown("Message handlers", "patterns", "patterns", "handlers", "handler", MANY),
    grown("Messages handled", "topics", "dispatch topics", "handlers", "message", MANY),
    grown("Messages handled", "patterns", "dispatch patterns", "handlers", "message", MANY),
    grown("KVS directory", "commit", "keys committed", "keys", "key", MANY),
    grown("KVS directory", "list", "keys listed", "keys", "key", MANY),
    grown("KVS key of many", "get", "get among keys", "keys", "operation", MANY),
    grown("KVS key of many", "put, commit", "put among keys", "keys", "operation", MANY),
    grown("Embedded ranks", "open", "ranks opened", "ranks", "instance", RANKS),
    grown("Embedded ranks", "rpc", "ranks rpc", "ranks", "call", RANKS),
    grown("Embedded ranks", "event", "ranks event", "ranks", "event", RANKS),
    grown("Payload", "send, recv", "payload", "bytes", "byte", BYTES),
];

/// Measure a curve and report it, as far as it goes.
pub fn measure(subjects: &Subjects, curve: &Grown, effort: &Effort, report: &mut Report) {
    let Some(program) = subjects.find_program(Who::Ours) else {
        return;
    };
    let mut points = Vec::new();
    for &size in curve.sizes.iter().filter(|size| **size <= effort.largest) {
        match point(program, curve, size, effort) {
            Ok(point) => points.push(point),
            Err(error) => {
                let name = curve.full_name();
                let failure = format!("{GROUP}, {name}, of {size}: {error}");
                report.failures.push(failure);
                break;
            }
        }
    }
    report.curves.push(Curve {
        panel: curve.panel,
        name: curve.name,
        count: curve.count,
        per: curve.per,
        points,
    });
}

fn point(program: &Program, curve: &Grown, size: f64, effort: &Effort) -> Result<Point, String> {
    let opened = program.open(&format!("growth {} {size}", curve.case))?;
    let mut process = opened.ok_or("there is no such case")?;
    let empty_kib = process.settle()?;
    let first = process.run(1)?;
    let held = (first.peak_kib - empty_kib) * 1024.0;
    let time = if effort.round.is_zero() {
        Duration::ZERO
    } else {
        TIME
    };
    let count = long_enough(&mut process, time)?;
    let mut times = Vec::new();
    for _ in 0..RUNS.min(effort.rounds) {
        process.settle()?;
        times.push(process.run(count)?.cpu / count as f64);
    }
    let round = median(times).ok_or("nothing was run")?;
    Ok(Point {
        size,
        nanoseconds: round / process.operations,
        bytes: (held >= LEAST_MEMORY).then_some(held / process.operations),
    })
}
