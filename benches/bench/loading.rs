//! What it takes to load a module: the time of fresh processes with it, less
//! that of those without; and how large it is.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Effort;
use super::measure::median;
use super::report::{Aim, Line, Quantity, Report, Who};
use super::subjects::{Program, Subjects};

pub const GROUP: &str = "Loading";

const MILLISECOND: f64 = 1e6;

pub fn measure(subjects: &Subjects, effort: &Effort, report: &mut Report) -> io::Result<()> {
    let mut loaders: Vec<Loader> = subjects
        .programs()
        .filter(|program| program.who != Who::Floor)
        .map(Loader::new)
        .collect();
    for _ in 0..effort.processes {
        for loader in &mut loaders {
            loader.round()?;
        }
    }
    let quantities = [
        (Quantity::WallTime, Some(Aim::AtMost(MILLISECOND))),
        (Quantity::CpuTime, None),
    ];
    for (quantity, aim) in quantities {
        let figures = loaders
            .iter()
            .filter_map(|loader| Some((loader.program.who, loader.figure(quantity)?)))
            .collect();
        report.lines.push(Line {
            group: GROUP,
            name: "require".to_owned(),
            quantity,
            figures,
            aim,
        });
    }
    match stripped_size(subjects) {
        Ok(size) => report.lines.push(Line {
            group: GROUP,
            name: "flux.so, stripped".to_owned(),
            quantity: Quantity::Size,
            figures: vec![(Who::Ours, size)],
            aim: None,
        }),
        Err(error) => report.skipped.push(format!("the stripped size: {error}")),
    }
    Ok(())
}

struct Loader<'a> {
    program: &'a Program,
    /// What a process with the module took more than one right beside it.
    more: Vec<Took>,
}

/// Nanoseconds of a process, from its start to its end.
struct Took {
    wall: f64,
    cpu: f64,
}

impl<'a> Loader<'a> {
    fn new(program: &'a Program) -> Loader<'a> {
        Loader {
            program,
            more: Vec::new(),
        }
    }

    /// The two processes of a round take turns at being first.
    fn round(&mut self) -> io::Result<()> {
        let one = |is_empty| time(&mut self.program.loader(is_empty));
        let (with, without) = if self.more.len().is_multiple_of(2) {
            let without = one(true)?;
            (one(false)?, without)
        } else {
            (one(false)?, one(true)?)
        };
        self.more.push(Took {
            wall: with.wall - without.wall,
            cpu: with.cpu - without.cpu,
        });
        Ok(())
    }

    /// None where it is lost in what else the machine does.
    fn figure(&self, quantity: Quantity) -> Option<f64> {
        let of = |took: &Took| match quantity {
            Quantity::WallTime => took.wall,
            _ => took.cpu,
        };
        median(self.more.iter().map(of).collect()).filter(|more| *more > 0.0)
    }
}

/// Run a process to its end.
fn time(command: &mut Command) -> io::Result<Took> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: all zeros are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are this frame's. The child is waited for only here:
    // dropping a Child does not.
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
    Ok(Took { wall, cpu })
}

fn stripped_size(subjects: &Subjects) -> io::Result<f64> {
    let stripped = subjects.folder().join("stripped.so");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(subjects.module())
        .status()?;
    match done.success() {
        true => Ok(fs::metadata(&stripped)?.len() as f64),
        false => Err(io::Error::other("strip failed")),
    }
}
