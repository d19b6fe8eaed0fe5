//! `cargo bench` measures flux-lua and compares it with other modules. This file
//! holds the command line and the order of the measurements. doc/performance.md
//! describes the rows and the method.

#[path = "../tests/installed/mod.rs"]
mod installed;

#[path = "bench/growth.rs"]
mod growth;
#[path = "bench/loading.rs"]
mod loading;
#[path = "bench/measure.rs"]
mod measure;
#[path = "bench/plot.rs"]
mod plot;
#[path = "bench/process.rs"]
mod process;
#[path = "bench/report.rs"]
mod report;
#[path = "bench/rows.rs"]
mod rows;
#[path = "bench/table.rs"]
mod table;
#[path = "bench/testbed.rs"]
mod testbed;

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use report::Report;
use testbed::Testbed;

const USAGE: &str = "\
Usage: cargo bench -- [--update] [WORD...]
Measure the rows whose group or name contains one of the WORDs. Without
a WORD, measure all rows.

  --update   also write the table and the plot to doc/

FLUX_LUA_BENCH=quick runs everything once, as a test of the benchmark.
FLUX_LUA_JSON=FOLDER uses the JSON documents in FOLDER.";

/// How long and how often each row is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// The number of rounds. In each round, every subject runs once.
    pub rounds: usize,
    /// The CPU time of a subject in one round. If zero, it runs one operation.
    pub round: Duration,
    /// The largest size at which growth is measured.
    pub largest: f64,
    /// The number of processes started to measure loading.
    pub processes: usize,
}

impl Effort {
    /// The same time in more and shorter rounds, for rows that wait for a broker: the
    /// cost of a response depends on the load of the broker's processor at that
    /// moment.
    pub fn with_short_rounds(self) -> Effort {
        const PARTS: usize = 4;
        match self.round.is_zero() {
            true => self,
            false => Effort {
                rounds: self.rounds * PARTS,
                round: self.round / PARTS as u32,
                ..self
            },
        }
    }
}

const FULL: Effort = Effort {
    rounds: 7,
    round: Duration::from_millis(20),
    largest: f64::INFINITY,
    processes: 40,
};

const QUICK: Effort = Effort {
    rounds: 1,
    round: Duration::ZERO,
    largest: 1000.0,
    processes: 2,
};

struct Options {
    update: bool,
    words: Vec<String>,
}

fn main() -> ExitCode {
    let mut options = Options {
        update: false,
        words: Vec::new(),
    };
    for argument in env::args().skip(1) {
        match &argument[..] {
            "--list" => return ExitCode::SUCCESS,
            "--bench" => {}
            "--update" => options.update = true,
            option if option.starts_with('-') => {
                println!("{USAGE}");
                return ExitCode::FAILURE;
            }
            word => options.words.push(word.to_lowercase()),
        }
    }
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("bench: {failures} failures");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measure and report. Returns the number of failures.
fn run(options: &Options) -> io::Result<usize> {
    let started = Instant::now();
    let is_quick = env::var("FLUX_LUA_BENCH").is_ok_and(|mode| mode == "quick");
    let effort = if is_quick { QUICK } else { FULL };
    let is_wanted = |group: &str, name: &str| {
        let name = format!("{group} {name}").to_lowercase();
        options.words.is_empty() || options.words.iter().any(|word| name.contains(word))
    };
    let testbed = Testbed::find()?;
    let mut report = Report::new(&testbed, is_quick);
    for row in rows::rows() {
        if is_wanted(row.group, &row.name) {
            measure::row(&testbed, &row, &effort, &mut report);
        }
    }
    if is_wanted(loading::GROUP, "") {
        loading::measure(&testbed, &effort, &mut report)?;
    }
    for curve in growth::CURVES {
        if is_wanted(growth::GROUP, &curve.full_name()) {
            growth::measure(&testbed, curve, &effort, &mut report);
        }
    }
    if report.lines.is_empty() && report.curves.is_empty() {
        return Err(io::Error::other("no row matches"));
    }
    publish(&report, options)?;
    println!("{:.0} s", started.elapsed().as_secs_f64());
    Ok(report.failures.len())
}

/// Print the report and write it to files.
fn publish(report: &Report, options: &Options) -> io::Result<()> {
    let text = table::markdown(report);
    println!("{text}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let json = folder.join("bench.json");
    let json_text = serde_json::to_string_pretty(&report.to_json())?;
    fs::write(&json, json_text + "\n")?;
    let svg = folder.join("bench.svg");
    let picture = plot::svg(report);
    fs::write(&svg, &picture)?;
    println!("written: {}, {}", json.display(), svg.display());
    if options.update && report.is_quick {
        println!("not written to doc/: a quick run measures only the first use of everything");
    } else if options.update {
        let doc = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc");
        table::update(&doc.join("performance.md"), &text)?;
        fs::write(doc.join("performance.svg"), picture)?;
    }
    for failure in &report.failures {
        println!("FAILED: {failure}");
    }
    Ok(())
}
