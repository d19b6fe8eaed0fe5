//! The rows of the table: the case that each row measures, the quantities, and
//! the targets.

use super::report::{Quantity, Subject, Target};

/// An operation to measure.
pub struct Row {
    pub group: &'static str,
    pub name: String,
    /// The name of the case in cases.lua and floor.c.
    pub case: String,
    /// Whether the row needs a real broker.
    pub needs_instance: bool,
    /// The quantities to report, each in a line of the table.
    pub lines: Vec<LineSpec>,
}

/// A quantity to report for a row.
pub struct LineSpec {
    pub quantity: Quantity,
    pub target: Option<Target>,
}

/// JSON: this many times faster than lua-cjson.
const JSON: Option<Target> = Some(Target::FasterThan(Subject::Cjson, 1.3));
/// Messages and timers without a broker: this many times faster than the C bindings.
const LOOP: Option<Target> = Some(Target::FasterThan(Subject::Original, 3.0));
/// Calls of a real broker: at most this many times the CPU time of the C floor.
const REAL: Option<Target> = Some(Target::WithinFloor(1.25));
/// Many requests in flight: at least as fast as the C bindings. Most of the cost is
/// JSON and Lua objects, which the C floor does not have.
const PIPELINE: Option<Target> = Some(Target::FasterThan(Subject::Original, 1.0));

/// All rows, in the order of the table.
pub fn rows() -> Vec<Row> {
    let mut rows = json();
    rows.extend(loopback());
    rows.extend(broker("real", "Real broker"));
    rows.extend(broker("embedded", "Embedded broker"));
    rows
}

fn json() -> Vec<Row> {
    let documents = ["twitter", "citm_catalog", "canada", "github_events"];
    let payloads = ["ping", "jobspec", "joblist", "strings"];
    let rows_of = |names: [&'static str; 4], quantity: Quantity| {
        let operations = [
            ("decode", "decode"),
            ("encode", "encode"),
            ("round", "encode and decode"),
        ];
        names.into_iter().flat_map(move |name| {
            operations.map(|(operation, title)| Row {
                group: "JSON",
                name: format!("{name}: {title}"),
                case: format!("json {operation} {name}"),
                needs_instance: false,
                lines: vec![LineSpec {
                    quantity,
                    target: JSON,
                }],
            })
        })
    };
    rows_of(documents, Quantity::Throughput)
        .chain(rows_of(payloads, Quantity::CpuTime))
        .collect()
}

fn loopback() -> Vec<Row> {
    let time = || LineSpec {
        quantity: Quantity::CpuTime,
        target: LOOP,
    };
    let leaked = LineSpec {
        quantity: Quantity::Leaked,
        target: Some(Target::AtMost(1.0)),
    };
    let row = |case: &str, name: &str, lines| Row {
        group: "Loopback",
        name: name.to_owned(),
        case: format!("loop {case}"),
        needs_instance: false,
        lines,
    };
    vec![
        row("send", "send, recvmsg, a field read", vec![time()]),
        row("respond", "send, respond, recv", vec![time()]),
        row("handler", "message handler called", vec![time()]),
        row("timer", "timer made and removed", vec![time(), leaked]),
    ]
}

fn broker(place: &str, group: &'static str) -> Vec<Row> {
    let operations = [
        ("rpc", "rpc"),
        ("pipeline", "send and recv, 64 in flight"),
        ("event", "event published and received"),
        ("put", "KVS put and commit"),
        ("get", "KVS get"),
    ];
    let lines = |case: &str| {
        let wall = LineSpec {
            quantity: Quantity::WallTime,
            target: None,
        };
        let cpu = LineSpec {
            quantity: Quantity::CpuTime,
            target: match (place, case) {
                ("real", "pipeline") => PIPELINE,
                ("real", _) => REAL,
                _ => None,
            },
        };
        // The embedded broker runs in this process, so both times are the same.
        match place {
            "real" => vec![wall, cpu],
            _ => vec![cpu],
        }
    };
    operations
        .into_iter()
        .map(|(case, name)| Row {
            group,
            name: name.to_owned(),
            case: format!("broker {place} {case}"),
            needs_instance: place == "real",
            lines: lines(case),
        })
        .collect()
}
