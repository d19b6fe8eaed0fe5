//! The rows of the table: what is timed in them, of whom, and what is aimed at.

use super::report::{Aim, Quantity, Who};

pub struct Row {
    pub group: &'static str,
    pub name: String,
    /// What cases.lua and floor.c call it.
    pub case: String,
    /// Whether it is nothing without a broker outside this process.
    pub needs_instance: bool,
    /// What is told of it, a line of the table each.
    pub lines: Vec<Told>,
}

pub struct Told {
    pub quantity: Quantity,
    pub aim: Option<Aim>,
}

/// The factor by which JSON is to be faster than lua-cjson's.
const JSON: Option<Aim> = Some(Aim::Faster(Who::Cjson, 1.3));
/// And messages without a broker than the C bindings'.
const LOOP: Option<Aim> = Some(Aim::Faster(Who::Original, 3.0));
/// How much more processor time than C takes it may be where a broker is asked.
const REAL: Option<Aim> = Some(Aim::WithinFloor(1.25));
/// With many requests in flight a call is little but its JSON and its objects,
/// of which the floor has none: no more than the C bindings take.
const PIPELINE: Option<Aim> = Some(Aim::Faster(Who::Original, 1.0));

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
    let of = |names: [&'static str; 4], quantity: Quantity| {
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
                lines: vec![Told {
                    quantity,
                    aim: JSON,
                }],
            })
        })
    };
    of(documents, Quantity::Throughput)
        .chain(of(payloads, Quantity::CpuTime))
        .collect()
}

fn loopback() -> Vec<Row> {
    let time = || Told {
        quantity: Quantity::CpuTime,
        aim: LOOP,
    };
    let lost = Told {
        quantity: Quantity::Lost,
        aim: Some(Aim::AtMost(1.0)),
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
        row("timer", "timer made and removed", vec![time(), lost]),
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
        let wall = Told {
            quantity: Quantity::WallTime,
            aim: None,
        };
        let cpu = Told {
            quantity: Quantity::CpuTime,
            aim: match (place, case) {
                ("real", "pipeline") => PIPELINE,
                ("real", _) => REAL,
                _ => None,
            },
        };
        // An embedded broker runs in the process: both times are the same.
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
