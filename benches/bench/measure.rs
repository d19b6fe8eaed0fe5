//! Measures a row of the table. The subjects take turns, round after round, so
//! that other load on the machine affects all of them. The figures are medians of
//! the rounds.

use std::time::Duration;

use super::Effort;
use super::process::{Process, Run};
use super::report::{Line, Quantity, Report, Subject};
use super::rows::Row;
use super::testbed::Testbed;

/// The factor by which the number of operations grows during calibration.
const GROWTH: u64 = 4;

/// Measure a row and report its lines. A subject that fails is reported and left
/// out.
pub fn row(testbed: &Testbed, row: &Row, effort: &Effort, report: &mut Report) {
    if row.needs_instance && !testbed.has_instance() {
        return;
    }
    let effort = match row.needs_instance {
        true => effort.with_short_rounds(),
        false => *effort,
    };
    let mut runners = start_runners(testbed, row, &effort, report);
    report.failures.extend(mismatches(row, &runners));
    let mut failed = Vec::new();
    for _ in 0..effort.rounds {
        runners.retain_mut(|runner| match runner.round() {
            Ok(()) => true,
            Err(error) => {
                failed.push(failure(row, runner.subject, &error));
                false
            }
        });
    }
    report.failures.extend(failed);
    for spec in &row.lines {
        let figures: Vec<(Subject, f64)> = runners
            .iter()
            .filter_map(|runner| Some((runner.subject, runner.figure(spec.quantity)?)))
            .collect();
        if !figures.is_empty() {
            report.lines.push(Line {
                group: row.group,
                name: row.name.clone(),
                quantity: spec.quantity,
                figures,
                target: spec.target,
            });
        }
    }
}

/// Start the subjects that have this case.
fn start_runners(
    testbed: &Testbed,
    row: &Row,
    effort: &Effort,
    report: &mut Report,
) -> Vec<Runner> {
    let mut runners = Vec::new();
    for program in testbed.programs() {
        let subject = program.subject;
        let opened = program.open(&row.case).and_then(|process| match process {
            Some(process) => Runner::new(subject, process, effort).map(Some),
            None if subject == Subject::Ours => Err("no such case".to_owned()),
            None => Ok(None),
        });
        match opened {
            Ok(runner) => runners.extend(runner),
            Err(error) => report.failures.push(failure(row, subject, &error)),
        }
    }
    runners
}

fn failure(row: &Row, subject: Subject, error: &str) -> String {
    format!("{}, {}, {}: {error}", row.group, row.name, subject.name())
}

/// The failures of subjects whose operation has a different result than ours. The C
/// floor returns no result; it checks its operations itself.
fn mismatches(row: &Row, runners: &[Runner]) -> Vec<String> {
    let Some(ours) = runners
        .iter()
        .find(|runner| runner.subject == Subject::Ours)
    else {
        return Vec::new();
    };
    let others = runners
        .iter()
        .filter(|runner| runner.subject != Subject::Floor);
    others
        .filter(|other| other.result != ours.result)
        .map(|other| {
            let what = format!("the result is {}, ours is {}", other.result, ours.result);
            failure(row, other.subject, &what)
        })
        .collect()
}

/// One subject of a row.
struct Runner {
    subject: Subject,
    process: Process,
    /// The result of the operation, as text.
    result: String,
    /// The number of operations in a round.
    count: u64,
    /// The memory of the process before the first round, in KiB.
    before_kib: f64,
    /// The memory after the last round, in KiB.
    after_kib: f64,
    runs: Vec<Run>,
}

impl Runner {
    /// Check the result of the operation, and calibrate the number of operations.
    fn new(subject: Subject, mut process: Process, effort: &Effort) -> Result<Runner, String> {
        let result = process.check()?;
        let count = calibrate(&mut process, effort.round)?;
        let before_kib = process.settle()?;
        Ok(Runner {
            subject,
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

    /// The median of the rounds, per operation.
    fn figure(&self, quantity: Quantity) -> Option<f64> {
        let each = |of: fn(&Run) -> f64| {
            let one = self.runs.iter().map(|run| of(run) / self.count as f64);
            median(one.collect())
        };
        match quantity {
            Quantity::CpuTime => each(|run| run.cpu),
            Quantity::WallTime => each(|run| run.wall),
            Quantity::Throughput => each(|run| run.cpu).map(|ns| 1e9 * self.process.bytes / ns),
            Quantity::Leaked => {
                let operations = self.count as f64 * self.runs.len() as f64;
                let grown = (self.after_kib - self.before_kib) * 1024.0;
                Some(grown.max(0.0) / operations)
            }
            Quantity::Size => None,
        }
    }
}

/// How many operations take about `time` of CPU time, or 1 if `time` is zero. Also
/// warms up the caches.
pub fn calibrate(process: &mut Process, time: Duration) -> Result<u64, String> {
    let wanted = time.as_nanos() as f64;
    let mut count = 1;
    loop {
        if time.is_zero() {
            return Ok(count);
        }
        let run = process.run(count)?;
        process.settle()?;
        // A subject that waits for a broker uses little CPU time, so the wall time
        // is limited too.
        if run.cpu >= wanted / GROWTH as f64 || run.wall >= wanted * GROWTH as f64 {
            let factor = wanted / run.cpu.max(1.0);
            let limit = GROWTH as f64;
            return Ok(((count as f64 * factor.min(limit)) as u64).max(1));
        }
        count *= GROWTH;
    }
}

/// The median of the values, or `None` if there are none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => Some(values[middle]),
        _ => Some((values.get(middle)? + values[middle - 1]) / 2.0),
    }
}
