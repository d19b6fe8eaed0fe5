//! Starts Flux instances whose brokers the tests stop and kill.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::asleep;
use crate::installed::Flux;
use crate::script::{self, Target};
use crate::support::TestFolder;

/// How long an instance may take to shut down.
const GRACE: Duration = Duration::from_secs(60);

pub struct Instance {
    flux: Flux,
    starter: Child,
    /// The input of the initial program, which ends when this is closed.
    stdin: Option<ChildStdin>,
    pub brokers: Vec<Broker>,
    folder: TestFolder,
    /// Whether a broker was stopped or killed, so that the instance cannot shut
    /// down by itself.
    is_broken: Cell<bool>,
}

pub struct Broker {
    pid: libc::pid_t,
    pub target: Target,
}

impl Instance {
    /// Runs a test on an instance of each Flux. Reports a skipped test if there
    /// is none.
    pub fn each(size: u32, options: &[&str], test: impl Fn(&Instance)) {
        let mut fluxes = Flux::all();
        fluxes.retain(|flux| flux.command().is_some());
        if fluxes.is_empty() {
            skipped("no flux is in FLUX_PREFIX, PATH or pkg-config");
        }
        for flux in fluxes {
            println!("{flux}");
            test(&Instance::start(flux, size, options));
        }
    }

    pub fn start(flux: Flux, size: u32, options: &[&str]) -> Instance {
        let folder = TestFolder::short();
        let mut starter = Command::new(flux.command().expect("a command"))
            .arg("start")
            .arg(format!("--test-size={size}"))
            .args([
                "--test-exit-timeout=60s",
                "--broker-opts=-Stbon.topo=kary:1",
            ])
            .args(options)
            .args(script::command("instance.lua"))
            .envs(script::environment())
            .envs(flux.environment())
            .env("TMPDIR", &folder)
            .env_remove("FLUX_URI")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.join("stderr")).expect("a file for the log"))
            .process_group(0)
            .spawn()
            .expect("flux start");
        let stdout = BufReader::new(starter.stdout.take().expect("a pipe"));
        let brokers: Vec<_> = stdout
            .lines()
            .map_while(Result::ok)
            .take_while(|line| line != "ready")
            .map(|line| Broker::parse(&line, &flux))
            .collect();
        let stdin = starter.stdin.take();
        let instance = Instance {
            flux,
            starter,
            stdin,
            brokers,
            folder,
            is_broken: Cell::new(false),
        };
        assert_eq!(instance.brokers.len(), size as usize, "{}", instance.log());
        instance
    }

    /// Whether requests that wait for a module stay unanswered when the module is
    /// removed. Reports it if so.
    pub fn forgets_requests(&self) -> bool {
        let forgets = self.flux.is_before(65);
        if forgets {
            skipped(&format!(
                "{} does not answer the requests that a removed module holds (0.65 does)",
                self.flux
            ));
        }
        forgets
    }

    pub fn target(&self) -> &Target {
        &self.brokers[0].target
    }

    /// Stops the broker of rank 0. Returns when all its threads have stopped.
    pub fn stop(&self) {
        self.signal(0, libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.brokers[0].pid);
        let has_stopped = || {
            let mut tasks = fs::read_dir(&tasks).expect("/proc is mounted").flatten();
            tasks.all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_some_and(|(_, state)| state.starts_with('T'))
            })
        };
        while !has_stopped() {
            sleep(Duration::from_millis(1));
        }
    }

    /// Kills a broker. Returns when its process is gone and its sockets are
    /// closed.
    pub fn kill(&self, rank: usize) {
        self.signal(rank, libc::SIGKILL);
        while asleep::is_asleep(self.brokers[rank].pid as u32).is_some() {
            sleep(Duration::from_millis(1));
        }
    }

    /// The process ids of the brokers.
    pub fn pids(&self) -> Vec<u32> {
        let pids = self.brokers.iter().map(|broker| broker.pid as u32);
        pids.collect()
    }

    fn signal(&self, rank: usize, signal: i32) {
        self.is_broken.set(true);
        let pid = self.brokers[rank].pid;
        // SAFETY: the call takes no pointer. `flux start` waits for its brokers
        // only when it ends, so the id still belongs to the broker.
        assert_eq!(
            unsafe { libc::kill(pid, signal) },
            0,
            "broker {rank} is gone"
        );
    }

    /// Runs a subcommand of `flux`, which must succeed. Returns its output.
    pub fn flux(&self, arguments: &[&str]) -> String {
        let said = Command::new(self.flux.command().expect("a command"))
            .args(arguments)
            .envs(self.target().environment())
            .output()
            .expect("the flux command can be run");
        let output = String::from_utf8_lossy(&said.stdout).into_owned();
        let why = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "flux {arguments:?}: {output}{why}");
        output
    }

    /// The errors that the instance printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }
}

impl Broker {
    fn parse(line: &str, flux: &Flux) -> Broker {
        let (pid, uri) = line.split_once(' ').expect("a pid and a uri");
        Broker {
            pid: pid.parse().expect("a number"),
            target: Target {
                uri: uri.to_owned(),
                flux: Some(flux.clone()),
            },
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stdin.take();
        if self.is_broken.get() || !ends(&mut self.starter, GRACE) {
            for broker in &self.brokers {
                // SAFETY: the call takes no pointer. While `flux start` runs, the
                // ids still belong to its brokers.
                unsafe { libc::kill(broker.pid, libc::SIGKILL) };
            }
            if !ends(&mut self.starter, GRACE) {
                let _ = self.starter.kill();
                let _ = self.starter.wait();
            }
        }
    }
}

/// Waits for a child. Whether it ended within the limit.
pub fn ends(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    false
}

/// Reports a skipped test, and how many were skipped so far.
pub fn skipped(why: &str) {
    static SKIPPED: AtomicU32 = AtomicU32::new(0);
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    crate::installed::skipped(&format!(
        "{name}: {why} ({count} tests of faults skipped so far)"
    ));
}
