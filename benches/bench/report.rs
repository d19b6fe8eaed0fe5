//! What was measured: lines of the table and curves, and what follows from
//! them. How they are shown is the table's and the plot's.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::installed::lua;
use super::subjects::Subjects;

/// Whose measurement it is: a column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Ours,
    Cjson,
    Rapidjson,
    Simdjson,
    Original,
    Floor,
}

impl Who {
    pub const ALL: [Who; 6] = [
        Who::Ours,
        Who::Cjson,
        Who::Rapidjson,
        Who::Simdjson,
        Who::Original,
        Who::Floor,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Who::Ours => "flux-lua",
            Who::Cjson => "lua-cjson",
            Who::Rapidjson => "lua-rapidjson",
            Who::Simdjson => "lua-simdjson",
            Who::Original => "C original",
            Who::Floor => "C floor",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes of JSON in a second of processor time.
    Throughput,
    /// Nanoseconds of processor time of an operation.
    CpuTime,
    /// Nanoseconds by the clock.
    WallTime,
    /// Bytes that an operation keeps for good.
    Lost,
    /// Bytes of a file.
    Size,
}

impl Quantity {
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Throughput => "throughput",
            Quantity::CpuTime => "CPU time",
            Quantity::WallTime => "wall time",
            Quantity::Lost => "memory lost",
            Quantity::Size => "size",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Quantity::Throughput => "bytes/s",
            Quantity::CpuTime | Quantity::WallTime => "ns",
            Quantity::Lost | Quantity::Size => "bytes",
        }
    }

    /// A figure of it, with its unit.
    pub fn show(self, figure: f64) -> String {
        match self {
            Quantity::Throughput => format!("{} MB/s", digits(figure / 1e6)),
            Quantity::CpuTime | Quantity::WallTime => time(figure),
            Quantity::Lost => format!("{figure:.0} B"),
            Quantity::Size => format!("{:.0} kB", figure / 1e3),
        }
    }
}

/// Nanoseconds, in the unit that fits.
pub fn time(nanoseconds: f64) -> String {
    let (scale, unit) = match nanoseconds {
        n if n < 1e3 => (1.0, "ns"),
        n if n < 1e6 => (1e3, "µs"),
        n if n < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    format!("{} {unit}", digits(nanoseconds / scale))
}

/// Three digits, as far as they are behind the point.
pub fn digits(figure: f64) -> String {
    let decimals = match figure.abs() {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

#[derive(Clone, Copy)]
pub enum Aim {
    /// So many times faster than that one, at least.
    Faster(Who, f64),
    /// So many times what C takes, at most.
    WithinFloor(f64),
    /// So much, at most.
    AtMost(f64),
}

/// A line of the table.
pub struct Line {
    pub group: &'static str,
    pub name: String,
    pub quantity: Quantity,
    pub figures: Vec<(Who, f64)>,
    pub aim: Option<Aim>,
}

impl Line {
    pub fn figure(&self, who: Who) -> Option<f64> {
        let found = self.figures.iter().find(|(one, _)| *one == who);
        found.map(|(_, figure)| *figure)
    }

    /// How many times faster ours is than the other one.
    pub fn times_faster(&self, than: Who) -> Option<f64> {
        let (ours, other) = (self.figure(Who::Ours)?, self.figure(than)?);
        match self.quantity {
            Quantity::Throughput => Some(ours / other),
            Quantity::CpuTime | Quantity::WallTime => Some(other / ours),
            Quantity::Lost | Quantity::Size => None,
        }
    }

    /// The same, than the one whose place ours takes.
    pub fn times_faster_than_rival(&self) -> Option<f64> {
        let rivals = [Who::Original, Who::Cjson];
        rivals.into_iter().find_map(|who| self.times_faster(who))
    }

    /// How many times what C takes ours is.
    pub fn times_floor(&self) -> Option<f64> {
        self.times_faster(Who::Floor).map(f64::recip)
    }

    /// None where it cannot be told.
    pub fn is_aim_met(&self) -> Option<bool> {
        match self.aim? {
            Aim::Faster(who, times) => Some(self.times_faster(who)? >= times),
            Aim::WithinFloor(times) => Some(self.times_floor()? <= times),
            Aim::AtMost(most) => Some(self.figure(Who::Ours)? <= most),
        }
    }

    fn to_json(&self) -> Value {
        let figures: serde_json::Map<String, Value> = self
            .figures
            .iter()
            .map(|(who, figure)| (who.name().to_owned(), json!(figure)))
            .collect();
        json!({
            "group": self.group,
            "name": self.name,
            "quantity": self.quantity.name(),
            "unit": self.quantity.unit(),
            "figures": figures,
            "times_faster": self.times_faster_than_rival(),
            "times_floor": self.times_floor(),
            "aim_met": self.is_aim_met(),
        })
    }
}

/// One size that growth was measured at.
pub struct Point {
    pub size: f64,
    /// Of processor time, of an operation.
    pub nanoseconds: f64,
    /// Held in memory meanwhile, for each; none where that is too little to tell.
    pub bytes: Option<f64>,
}

pub struct Curve {
    pub panel: &'static str,
    pub name: &'static str,
    /// What there are more and more of.
    pub count: &'static str,
    /// What the time is of.
    pub per: &'static str,
    pub points: Vec<Point>,
}

impl Curve {
    /// How many times the cheapest operation the one at the largest size is:
    /// where what is done does not depend on the size, about 1.
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

pub struct Report {
    /// Everything was run once: the times are those of a first use, and are
    /// held against nothing.
    pub is_quick: bool,
    /// Where and of what.
    pub conditions: String,
    pub skipped: Vec<String>,
    pub lines: Vec<Line>,
    pub curves: Vec<Curve>,
    pub failures: Vec<String>,
}

impl Report {
    pub fn new(subjects: &Subjects, is_quick: bool) -> Report {
        Report {
            is_quick,
            conditions: conditions(),
            skipped: subjects.skipped.clone(),
            lines: Vec::new(),
            curves: Vec::new(),
            failures: subjects.failures.clone(),
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

/// The Lua and the machine; how busy that is decides what times are worth.
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
