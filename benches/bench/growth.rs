//! Measures growth: the time and the memory of an operation as the number of
//! timers, keys, ranks and so on grows. Each size runs in a new process.

use std::time::Duration;

use super::Effort;
use super::measure::{calibrate, median};
use super::report::{Curve, Point, Report, Subject};
use super::testbed::{Program, Testbed};

pub const GROUP: &str = "Growth";

/// The CPU time of a run.
const TIME: Duration = Duration::from_millis(10);
/// The number of runs for each point.
const RUNS: usize = 3;

/// A growth by fewer bytes is not reported, because other allocations of the process
/// are as large.
const MIN_MEMORY: f64 = 256.0 * 1024.0;

/// A curve to measure.
pub struct CurveSpec {
    /// The panel of the plot.
    panel: &'static str,
    /// The name within the panel.
    name: &'static str,
    /// The name of the case in cases.lua.
    case: &'static str,
    /// The unit of the x axis, such as a kind of object.
    count: &'static str,
    /// The operation whose time is measured.
    per: &'static str,
    sizes: &'static [f64],
}

impl CurveSpec {
    pub fn full_name(&self) -> String {
        format!("{}, {}", self.panel, self.name)
    }
}

const MANY: &[f64] = &[1e1, 1e2, 1e3, 1e4, 1e5];
const RANKS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];
const BYTES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

const fn spec(
    panel: &'static str,
    name: &'static str,
    case: &'static str,
    count: &'static str,
    per: &'static str,
    sizes: &'static [f64],
) -> CurveSpec {
    CurveSpec {
        panel,
        name,
        case,
        count,
        per,
        sizes,
    }
}

#[rustfmt::skip]
pub const CURVES: &[CurveSpec] = &[
    spec("Requests in flight", "in order", "matchtags", "requests", "request", MANY),
    spec("Requests in flight", "last first", "matchtags newest first", "requests", "request", MANY),
    spec("Messages in a row", "read", "messages", "messages", "message", MANY),
    spec("Timers", "removed", "timers", "timers", "timer", MANY),
    spec("Timers", "expire", "timers expire", "timers", "timer", MANY),
    spec("Message handlers", "topics", "topics", "handlers", "handler", MANY),
    spec("Message handlers", "patterns", "patterns", "handlers", "handler", MANY),
    spec("Messages handled", "topics", "dispatch topics", "handlers", "message", MANY),
    spec("Messages handled", "patterns", "dispatch patterns", "handlers", "message", MANY),
    spec("KVS directory", "commit", "keys committed", "keys", "key", MANY),
    spec("KVS directory", "list", "keys listed", "keys", "key", MANY),
    spec("KVS key of many", "get", "get among keys", "keys", "operation", MANY),
    spec("KVS key of many", "put, commit", "put among keys", "keys", "operation", MANY),
    spec("Embedded ranks", "open", "ranks opened", "ranks", "instance", RANKS),
    spec("Embedded ranks", "rpc", "ranks rpc", "ranks", "call", RANKS),
    spec("Embedded ranks", "event", "ranks event", "ranks", "event", RANKS),
    spec("Payload", "send, recv", "payload", "bytes", "byte", BYTES),
];

/// Measure a curve and report it, up to the first size that fails.
pub fn measure(testbed: &Testbed, curve: &CurveSpec, effort: &Effort, report: &mut Report) {
    let Some(program) = testbed.find_program(Subject::Ours) else {
        return;
    };
    let mut points = Vec::new();
    for &size in curve.sizes.iter().filter(|size| **size <= effort.largest) {
        match point(program, curve, size, effort) {
            Ok(point) => points.push(point),
            Err(error) => {
                let name = curve.full_name();
                let failure = format!("{GROUP}, {name}, size {size}: {error}");
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

/// Measure a curve at one size.
fn point(
    program: &Program,
    curve: &CurveSpec,
    size: f64,
    effort: &Effort,
) -> Result<Point, String> {
    let opened = program.open(&format!("growth {} {size}", curve.case))?;
    let mut process = opened.ok_or("no such case")?;
    let empty_kib = process.settle()?;
    let first = process.run(1)?;
    let memory = (first.peak_kib - empty_kib) * 1024.0;
    let time = if effort.round.is_zero() {
        Duration::ZERO
    } else {
        TIME
    };
    let count = calibrate(&mut process, time)?;
    let mut times = Vec::new();
    for _ in 0..RUNS.min(effort.rounds) {
        process.settle()?;
        times.push(process.run(count)?.cpu / count as f64);
    }
    let round = median(times).ok_or("no runs")?;
    Ok(Point {
        size,
        nanoseconds: round / process.operations,
        bytes: (memory >= MIN_MEMORY).then_some(memory / process.operations),
    })
}
