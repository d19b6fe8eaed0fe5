//! Measures loading: the time that `require` adds to a new process, and the size of
//! `flux.so`.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Effort;
use super::measure::median;
use super::report::{Line, Quantity, Report, Subject, Target};
use super::testbed::{Program, Testbed};

pub const GROUP: &str = "Loading";

const MILLISECOND: f64 = 1e6;

pub fn measure(testbed: &Testbed, effort: &Effort, report: &mut Report) -> io::Result<()> {
    let mut loaders: Vec<Loader> = testbed
        .programs()
        .filter(|program| program.subject != Subject::Floor)
        .map(Loader::new)
        .collect();
    for _ in 0..effort.processes {
        for loader in &mut loaders {
            loader.run_pair()?;
        }
    }
    let quantities = [
        (Quantity::WallTime, Some(Target::AtMost(MILLISECOND))),
        (Quantity::CpuTime, None),
    ];
    for (quantity, target) in quantities {
        let figures = loaders
            .iter()
            .filter_map(|loader| Some((loader.program.subject, loader.median_extra(quantity)?)))
            .collect();
        report.lines.push(Line {
            group: GROUP,
            name: "require".to_owned(),
            quantity,
            figures,
            target,
        });
    }
    match stripped_size(testbed) {
        Ok(size) => report.lines.push(Line {
            group: GROUP,
            name: "flux.so, stripped".to_owned(),
            quantity: Quantity::Size,
            figures: vec![(Subject::Ours, size)],
            target: None,
        }),
        Err(error) => report.skipped.push(format!("the stripped size: {error}")),
    }
    Ok(())
}

struct Loader<'a> {
    program: &'a Program,
    /// The extra cost of a process that loads the module, for each pair of processes.
    extra: Vec<Cost>,
}

/// The cost of a process from its start to its end, in nanoseconds.
struct Cost {
    wall: f64,
    cpu: f64,
}

impl<'a> Loader<'a> {
    fn new(program: &'a Program) -> Loader<'a> {
        Loader {
            program,
            extra: Vec::new(),
        }
    }

    /// Run a process that loads the module and one that does not. The order
    /// alternates from pair to pair.
    fn run_pair(&mut self) -> io::Result<()> {
        let one = |is_bare| run_to_end(&mut self.program.loader(is_bare));
        let (with, without) = if self.extra.len().is_multiple_of(2) {
            let without = one(true)?;
            (one(false)?, without)
        } else {
            (one(false)?, one(true)?)
        };
        self.extra.push(Cost {
            wall: with.wall - without.wall,
            cpu: with.cpu - without.cpu,
        });
        Ok(())
    }

    /// The median of the extra cost, or `None` if it is not positive, that is, below
    /// the noise.
    fn median_extra(&self, quantity: Quantity) -> Option<f64> {
        let of = |cost: &Cost| match quantity {
            Quantity::WallTime => cost.wall,
            _ => cost.cpu,
        };
        median(self.extra.iter().map(of).collect()).filter(|extra| *extra > 0.0)
    }
}

/// Run a process to its end and measure it.
fn run_to_end(command: &mut Command) -> io::Result<Cost> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: rusage is a plain C structure, for which all zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals. Nothing else waits for the child, so its
    // process id is still valid; dropping a `Child` does not wait.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage) };
    let wall = started.elapsed().as_nanos() as f64;
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    if status != 0 {
        return Err(io::Error::other(format!("{command:?} failed: {status}")));
    }
    let nanoseconds = |time: libc::timeval| time.tv_sec as f64 * 1e9 + time.tv_usec as f64 * 1e3;
    let cpu = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
    Ok(Cost { wall, cpu })
}

/// The size in bytes of the module without symbols.
fn stripped_size(testbed: &Testbed) -> io::Result<f64> {
    let stripped = testbed.folder().join("stripped.so");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(testbed.module())
        .status()?;
    match done.success() {
        true => Ok(fs::metadata(&stripped)?.len() as f64),
        false => Err(io::Error::other("strip failed")),
    }
}
