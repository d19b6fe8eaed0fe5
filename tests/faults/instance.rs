//! A Flux instance to break: its brokers' processes and sockets, in a folder
//! of its own. What runs against it is `script`'s.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::asleep;
use crate::installed::Flux;
use crate::script::{self, Place};

/// What an instance that nothing is wrong with may take to end.
const GRACE: Duration = Duration::from_secs(60);

pub struct Instance {
    flux: Flux,
    starter: Child,
    /// The initial program ends with it.
    stdin: Option<ChildStdin>,
    pub brokers: Vec<Broker>,
    folder: PathBuf,
    /// It will not end of itself.
    is_broken: Cell<bool>,
}

pub struct Broker {
    pid: libc::pid_t,
    pub place: Place,
}

impl Instance {
    /// Do this with an instance of each Flux there is; loudly nothing where
    /// there is none.
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
        let folder = new_folder();
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

    /// Whether this broker leaves the requests that a module holds without an
    /// answer when the module is removed; loudly if so.
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

    pub fn place(&self) -> &Place {
        &self.brokers[0].place
    }

    /// Rank 0 stops where it is, with all its threads.
    pub fn stop(&self) {
        self.signal(0, libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.brokers[0].pid);
        let has_stopped = || {
            let mut tasks = fs::read_dir(&tasks).expect("a /proc").flatten();
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

    /// Returns when the broker is gone, and its sockets are closed.
    pub fn kill(&self, rank: usize) {
        self.signal(rank, libc::SIGKILL);
        while asleep::is_asleep(self.brokers[rank].pid as u32).is_some() {
            sleep(Duration::from_millis(1));
        }
    }

    /// Its brokers' processes.
    pub fn pids(&self) -> Vec<u32> {
        let pids = self.brokers.iter().map(|broker| broker.pid as u32);
        pids.collect()
    }

    fn signal(&self, rank: usize, signal: i32) {
        self.is_broken.set(true);
        let pid = self.brokers[rank].pid;
        // SAFETY: kill takes no pointer. The broker is this instance's, and is
        // not waited for before its starter ends.
        assert_eq!(
            unsafe { libc::kill(pid, signal) },
            0,
            "broker {rank} is gone"
        );
    }

    /// Run a command of Flux's; what it says.
    pub fn flux(&self, arguments: &[&str]) -> String {
        let said = Command::new(self.flux.command().expect("a command"))
            .args(arguments)
            .envs(self.place().environment())
            .output()
            .expect("a command of flux's");
        let output = String::from_utf8_lossy(&said.stdout).into_owned();
        let why = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "flux {arguments:?}: {output}{why}");
        output
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }
}

impl Broker {
    fn parse(line: &str, flux: &Flux) -> Broker {
        let (pid, uri) = line.split_once(' ').expect("a pid and a uri");
        Broker {
            pid: pid.parse().expect("a number"),
            place: Place {
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
                // SAFETY: kill takes no pointer; while the starter runs the
                // brokers' ids are theirs.
                unsafe { libc::kill(broker.pid, libc::SIGKILL) };
            }
            if !ends(&mut self.starter, GRACE) {
                let _ = self.starter.kill();
                let _ = self.starter.wait();
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether the child ends in time.
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

/// A folder with a short name, as sockets need it.
pub fn new_folder() -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let count = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("fl-{}-{count}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Say what was not tried, and how many there were by now.
pub fn skipped(why: &str) {
    static SKIPPED: AtomicU32 = AtomicU32::new(0);
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    crate::installed::skipped(&format!("{name}: {why} ({count} faults by now)"));
}
