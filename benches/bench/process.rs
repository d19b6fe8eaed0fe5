//! The process of a subject and the protocol with it: a line of text to its
//! standard input for each command, and a line back as the answer. cases.lua
//! describes the commands.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The time limit for an answer.
const LIMIT: Duration = Duration::from_secs(120);

/// Up to two numbers after `word`, the first word of an answer. Missing ones are 0.
fn parse_numbers(answer: &str, word: &str) -> Result<[f64; 2], String> {
    let mut words = answer.split(' ');
    if words.next() != Some(word) {
        return Err(answer.to_owned());
    }
    let mut next = || words.next().map_or(Some(0.0), |text| text.parse().ok());
    match (next(), next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(answer.to_owned()),
    }
}

/// A running subject with an open case. Dropping it kills the process.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    /// The number of operations that running the case once performs.
    pub operations: f64,
    /// The number of bytes that an operation processes.
    pub bytes: f64,
}

/// The cost of a run.
pub struct Run {
    /// Wall time in nanoseconds.
    pub wall: f64,
    /// CPU time in nanoseconds.
    pub cpu: f64,
    /// The largest memory seen during the run, in KiB.
    pub peak_kib: f64,
}

impl Process {
    /// Start the command, on the last processor.
    pub fn start(mut command: Command) -> io::Result<Process> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        pin(&mut command, Processor::Last);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a child without pipes"));
        };
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process {
            child,
            stdin,
            answers,
            operations: 0.0,
            bytes: 0.0,
        })
    }

    /// Open a case. Returns false if the subject does not have it.
    pub fn open(&mut self, case: &str) -> Result<bool, String> {
        let answer = self.request(&format!("open {case}"))?;
        if answer == "none" {
            return Ok(false);
        }
        [self.operations, self.bytes] = parse_numbers(&answer, "ready")?;
        Ok(true)
    }

    /// Send a command and wait for the answer.
    fn request(&mut self, line: &str) -> Result<String, String> {
        let sent = self.stdin.write_all(format!("{line}\n").as_bytes());
        sent.map_err(|error| format!("{line}: {error}"))?;
        match self.answers.recv_timeout(LIMIT) {
            Ok(answer) => match answer.strip_prefix("error ") {
                Some(error) => Err(error.to_owned()),
                None => Ok(answer),
            },
            Err(_) => match self.child.try_wait() {
                Ok(Some(status)) => Err(format!("{line}: the process ended, {status}")),
                _ => Err(format!("{line}: no answer in {} s", LIMIT.as_secs())),
            },
        }
    }

    /// Run the operation once. Returns its result as text, the same for all subjects.
    pub fn check(&mut self) -> Result<String, String> {
        let answer = self.request("check")?;
        match answer.strip_prefix("is ") {
            Some(result) => Ok(result.to_owned()),
            None => Err(answer),
        }
    }

    /// Run the case `rounds` times.
    pub fn run(&mut self, rounds: u64) -> Result<Run, String> {
        let started = Instant::now();
        let answer = self.request(&format!("run {rounds}"))?;
        let wall = started.elapsed().as_nanos() as f64;
        let [cpu, peak_kib] = parse_numbers(&answer, "ran")?;
        Ok(Run {
            wall,
            cpu,
            peak_kib,
        })
    }

    /// Collect garbage. Returns the memory of the process in KiB.
    pub fn settle(&mut self) -> Result<f64, String> {
        let answer = self.request("settle")?;
        Ok(parse_numbers(&answer, "settled")?[0])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killing fails if the process has ended. It must be waited for in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A processor among those that this process may use.
#[derive(Clone, Copy)]
pub enum Processor {
    First,
    Last,
}

/// Make the command's process run on one processor, and end when this process ends.
///
/// The broker and its client run on different processors. The distance between
/// them determines the cost of a response, so it must be the same in every run.
pub fn pin(command: &mut Command, processor: Processor) {
    // SAFETY: the closure runs between fork and exec. It only makes system calls that
    // are safe there, with pointers to locals, and does not allocate.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            if libc::sched_getaffinity(0, size, &mut set) != 0 {
                return Err(io::Error::last_os_error());
            }
            let mut allowed = (0..libc::CPU_SETSIZE as usize).filter(|&n| libc::CPU_ISSET(n, &set));
            let chosen = match processor {
                Processor::First => allowed.next(),
                Processor::Last => allowed.next_back(),
            };
            if let Some(chosen) = chosen {
                libc::CPU_ZERO(&mut set);
                libc::CPU_SET(chosen, &mut set);
                libc::sched_setaffinity(0, size, &set);
            }
            Ok(())
        })
    };
}
