//! The measurements and the figures derived from them. `table` and `plot` show
//! them.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::installed::lua;
use super::testbed::Testbed;

/// The subject of a measurement: our module, another module, or the C floor.
/// Each is a column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Ours,
    Cjson,
    Rapidjson,
    Simdjson,
    Original,
    Floor,
}

impl Subject {
    pub const ALL: [Subject; 6] = [
        Subject::Ours,
        Subject::Cjson,
        Subject::Rapidjson,
        Subject::Simdjson,
        Subject::Original,
        Subject::Floor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Subject::Ours => "flux-lua",
            Subject::Cjson => "lua-cjson",
            Subject::Rapidjson => "lua-rapidjson",
            Subject::Simdjson => "lua-simdjson",
            Subject::Original => "C bindings",
            Subject::Floor => "C floor",
        }
    }
}

/// The quantity that is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes of JSON per second of CPU time.
    Throughput,
    /// CPU time of an operation, in nanoseconds.
    CpuTime,
    /// Wall time of an operation, in nanoseconds.
    WallTime,
    /// Bytes that an operation leaks.
    Leaked,
    /// Size of a file in bytes.
    Size,
}

impl Quantity {
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Throughput => "throughput",
            Quantity::CpuTime => "CPU time",
            Quantity::WallTime => "wall time",
            Quantity::Leaked => "memory leaked",
            Quantity::Size => "size",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Quantity::Throughput => "bytes/s",
            Quantity::CpuTime | Quantity::WallTime => "ns",
            Quantity::Leaked | Quantity::Size => "bytes",
        }
    }

    /// A figure of this quantity, with its unit.
    pub fn show(self, figure: f64) -> String {
        match self {
            Quantity::Throughput => format!("{} MB/s", digits(figure / 1e6)),
            Quantity::CpuTime | Quantity::WallTime => time(figure),
            Quantity::Leaked => format!("{figure:.0} B"),
            Quantity::Size => format!("{:.0} kB", figure / 1e3),
        }
    }
}

/// A time in nanoseconds as text, in the unit that fits.
pub fn time(nanoseconds: f64) -> String {
    let (scale, unit) = match nanoseconds {
        n if n < 1e3 => (1.0, "ns"),
        n if n < 1e6 => (1e3, "µs"),
        n if n < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    format!("{} {unit}", digits(nanoseconds / scale))
}

/// A figure as text with three significant digits, but without rounding its integral
/// part.
pub fn digits(figure: f64) -> String {
    let decimals = match figure.abs() {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

/// A performance target for our module.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least this many times faster than the other subject.
    FasterThan(Subject, f64),
    /// At most this many times the time of the C floor.
    WithinFloor(f64),
    /// At most this figure.
    AtMost(f64),
}

/// A line of the table: one quantity of one row.
pub struct Line {
    pub group: &'static str,
    pub name: String,
    pub quantity: Quantity,
    pub figures: Vec<(Subject, f64)>,
    pub target: Option<Target>,
}

impl Line {
    pub fn figure(&self, subject: Subject) -> Option<f64> {
        let found = self
            .figures
            .iter()
            .find(|(candidate, _)| *candidate == subject);
        found.map(|(_, figure)| *figure)
    }

    /// How many times faster our module is than `than`.
    pub fn times_faster(&self, than: Subject) -> Option<f64> {
        let (ours, other) = (self.figure(Subject::Ours)?, self.figure(than)?);
        match self.quantity {
            Quantity::Throughput => Some(ours / other),
            Quantity::CpuTime | Quantity::WallTime => Some(other / ours),
            Quantity::Leaked | Quantity::Size => None,
        }
    }

    /// How many times faster our module is than the one it replaces: the C bindings or
    /// lua-cjson.
    pub fn times_faster_than_rival(&self) -> Option<f64> {
        let rivals = [Subject::Original, Subject::Cjson];
        rivals
            .into_iter()
            .find_map(|subject| self.times_faster(subject))
    }

    /// How many times the time of the C floor our module takes.
    pub fn times_floor(&self) -> Option<f64> {
        self.times_faster(Subject::Floor).map(f64::recip)
    }

    /// Whether the target is met, or `None` if there is no target or no figure.
    pub fn is_target_met(&self) -> Option<bool> {
        match self.target? {
            Target::FasterThan(subject, times) => Some(self.times_faster(subject)? >= times),
            Target::WithinFloor(times) => Some(self.times_floor()? <= times),
            Target::AtMost(most) => Some(self.figure(Subject::Ours)? <= most),
        }
    }

    fn to_json(&self) -> Value {
        let figures: serde_json::Map<String, Value> = self
            .figures
            .iter()
            .map(|(subject, figure)| (subject.name().to_owned(), json!(figure)))
            .collect();
        json!({
            "group": self.group,
            "name": self.name,
            "quantity": self.quantity.name(),
            "unit": self.quantity.unit(),
            "figures": figures,
            "times_faster": self.times_faster_than_rival(),
            "times_floor": self.times_floor(),
            "target_met": self.is_target_met(),
        })
    }
}

/// A measurement of growth at one size.
pub struct Point {
    pub size: f64,
    /// CPU time of an operation.
    pub nanoseconds: f64,
    /// Memory for each counted thing, or `None` if too little to measure.
    pub bytes: Option<f64>,
}

/// A measurement of growth over several sizes.
pub struct Curve {
    /// The panel of the plot.
    pub panel: &'static str,
    /// The name within the panel.
    pub name: &'static str,
    /// The unit of the x axis, such as a kind of object.
    pub count: &'static str,
    /// The operation whose time is measured.
    pub per: &'static str,
    pub points: Vec<Point>,
}

impl Curve {
    /// The time at the largest size divided by the shortest time. About 1 if the time
    /// does not depend on the size.
    pub fn growth(&self) -> Option<f64> {
        let cheapest = self.points.iter().map(|point| point.nanoseconds);
        let last = self.points.last()?.nanoseconds;
        Some(last / cheapest.fold(f64::INFINITY, f64::min))
    }

    fn to_json(&self) -> Value {
        let points = self.points.iter().map(
            |point| json!({"size": point.size, "ns": point.nanoseconds, "bytes": point.bytes}),
        );
        json!({
            "panel": self.panel,
            "name": self.name,
            "count": self.count,
            "per": self.per,
            "points": points.collect::<Vec<_>>(),
        })
    }
}

/// All measurements of a run.
pub struct Report {
    /// Everything was run only once, so the times are those of a first use and are
    /// not compared with the targets.
    pub is_quick: bool,
    /// The versions and the machine.
    pub conditions: String,
    pub skipped: Vec<String>,
    pub lines: Vec<Line>,
    pub curves: Vec<Curve>,
    pub failures: Vec<String>,
}

impl Report {
    pub fn new(testbed: &Testbed, is_quick: bool) -> Report {
        Report {
            is_quick,
            conditions: conditions(),
            skipped: testbed.skipped.clone(),
            lines: Vec::new(),
            curves: Vec::new(),
            failures: testbed.failures.clone(),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "conditions": self.conditions,
            "is_quick": self.is_quick,
            "skipped": self.skipped,
            "lines": self.lines.iter().map(Line::to_json).collect::<Vec<_>>(),
            "curves": self.curves.iter().map(Curve::to_json).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

/// The versions, the machine and its load. Under load, the times are not reliable.
fn conditions() -> String {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .find_map(|rest| rest.split_once(": "))
        .map_or("an unnamed processor", |(_, model)| model);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "flux-lua {}, {}, {cores} cores of {model}, load average {load} at the start",
        env!("CARGO_PKG_VERSION"),
        lua::VERSION,
    )
}
