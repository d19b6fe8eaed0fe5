//! Times a row: its subjects by turns, round after round, so that what else
//! the machine does meets them all; the medians are the row's.

use std::time::Duration;

use super::Effort;
use super::report::{Line, Quantity, Report, Who};
use super::rows::Row;
use super::subjects::{Process, Run, Subjects};

/// Rounds grow by this until they are long enough.
const STEP: u64 = 4;

/// Measure a row and report its lines. A subject that fails is left out, and
/// is reported so.
pub fn row(subjects: &Subjects, row: &Row, effort: &Effort, report: &mut Report) {
    if row.needs_instance && !subjects.has_instance() {
        return;
    }
    let effort = match row.needs_instance {
        true => effort.in_short_turns(),
        false => *effort,
    };
    let mut runners = open(subjects, row, &effort, report);
    report.failures.extend(different(row, &runners));
    let mut failed = Vec::new();
    for _ in 0..effort.rounds {
        runners.retain_mut(|runner| match runner.round() {
            Ok(()) => true,
            Err(error) => {
                failed.push(failure(row, runner.who, &error));
                false
            }
        });
    }
    report.failures.extend(failed);
    for told in &row.lines {
        let figures: Vec<(Who, f64)> = runners
            .iter()
            .filter_map(|runner| Some((runner.who, runner.figure(told.quantity)?)))
            .collect();
        if !figures.is_empty() {
            report.lines.push(Line {
                group: row.group,
                name: row.name.clone(),
                quantity: told.quantity,
                figures,
                aim: told.aim,
            });
        }
    }
}

/// The subjects that have such a thing, ready to be timed.
fn open(subjects: &Subjects, row: &Row, effort: &Effort, report: &mut Report) -> Vec<Runner> {
    let mut runners = Vec::new();
    for program in subjects.programs() {
        let who = program.who;
        let opened = program.open(&row.case).and_then(|process| match process {
            Some(process) => Runner::prepare(who, process, effort).map(Some),
            None if who == Who::Ours => Err("there is no such case".to_owned()),
            None => Ok(None),
        });
        match opened {
            Ok(runner) => runners.extend(runner),
            Err(error) => report.failures.push(failure(row, who, &error)),
        }
    }
    runners
}

fn failure(row: &Row, who: Who, error: &str) -> String {
    format!("{}, {}, of {}: {error}", row.group, row.name, who.name())
}

/// Those whose operation gives something else than ours does. C's has no
/// values to compare: it checks them itself.
fn different(row: &Row, runners: &[Runner]) -> Vec<String> {
    let Some(ours) = runners.iter().find(|runner| runner.who == Who::Ours) else {
        return Vec::new();
    };
    let others = runners.iter().filter(|runner| runner.who != Who::Floor);
    others
        .filter(|other| other.result != ours.result)
        .map(|other| {
            let what = format!("it gives {}, and ours {}", other.result, ours.result);
            failure(row, other.who, &what)
        })
        .collect()
}

/// A subject at one row.
struct Runner {
    who: Who,
    process: Process,
    result: String,
    /// Operations of a round.
    count: u64,
    before_kib: f64,
    after_kib: f64,
    runs: Vec<Run>,
}

impl Runner {
    /// Check that it does what it should, and find how often it is to be run.
    fn prepare(who: Who, mut process: Process, effort: &Effort) -> Result<Runner, String> {
        let result = process.check()?;
        let count = long_enough(&mut process, effort.round)?;
        let before_kib = process.settle()?;
        Ok(Runner {
            who,
            process,
            result,
            count,
            before_kib,
            after_kib: before_kib,
            runs: Vec::new(),
        })
    }

    fn round(&mut self) -> Result<(), String> {
        self.runs.push(self.process.run(self.count)?);
        self.after_kib = self.process.settle()?;
        Ok(())
    }

    fn figure(&self, quantity: Quantity) -> Option<f64> {
        let each = |of: fn(&Run) -> f64| {
            let one = self.runs.iter().map(|run| of(run) / self.count as f64);
            median(one.collect())
        };
        match quantity {
            Quantity::CpuTime => each(|run| run.cpu),
            Quantity::WallTime => each(|run| run.wall),
            Quantity::Throughput => each(|run| run.cpu).map(|ns| 1e9 * self.process.bytes / ns),
            Quantity::Lost => {
                let operations = self.count as f64 * self.runs.len() as f64;
                let grown = (self.after_kib - self.before_kib) * 1024.0;
                Some(grown.max(0.0) / operations)
            }
            Quantity::Size => None,
        }
    }
}

/// How many operations take about that much processor time; 1 where none is
/// asked for. Also what fills caches before anything is measured.
pub fn long_enough(process: &mut Process, time: Duration) -> Result<u64, String> {
    let wanted = time.as_nanos() as f64;
    let mut count = 1;
    loop {
        if time.is_zero() {
            return Ok(count);
        }
        let run = process.run(count)?;
        process.settle()?;
        // A subject that waits for a broker uses little of the processor.
        if run.cpu >= wanted / STEP as f64 || run.wall >= wanted * STEP as f64 {
            let more = wanted / run.cpu.max(1.0);
            let most = STEP as f64;
            return Ok(((count as f64 * more.min(most)) as u64).max(1));
        }
        count *= STEP;
    }
}

/// None of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => Some(values[middle]),
        _ => Some((values.get(middle)? + values[middle - 1]) / 2.0),
    }
}
