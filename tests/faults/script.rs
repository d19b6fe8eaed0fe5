//! A Lua process with the module, that a fault befalls. It says on its output
//! how far it is; each line is noted with how long the process had slept.

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::asleep::Asleep;
use crate::installed::{Flux, lua};
use crate::instance::{Instance, ends};

/// A script that says nothing for so long hangs, even if the machine is busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// What runs a script of this folder: the distribution's own interpreter, else
/// the one built here.
pub fn command(file: &str) -> [PathBuf; 2] {
    [interpreter().clone(), folder().join(file)]
}

/// One of C has SIGPIPE as the system has it, deadly.
pub fn interpreter() -> &'static PathBuf {
    static LUA: OnceLock<PathBuf> = OnceLock::new();
    LUA.get_or_init(|| lua::find().unwrap_or_else(|| env!("CARGO_BIN_EXE_flux-lua").into()))
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// By which a script finds this module, and no other.
pub fn environment() -> [(&'static str, OsString); 1] {
    [("FAULT_MODULE", module().into())]
}

/// The broker of a script.
pub struct Place {
    pub uri: String,
    /// Whose library leads there; none for an embedded broker.
    pub flux: Option<Flux>,
}

impl Place {
    pub fn embedded(uri: &str) -> Place {
        Place {
            uri: uri.to_owned(),
            flux: None,
        }
    }

    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![("FLUX_URI", self.uri.clone().into())];
        environment.extend(self.flux.iter().flat_map(Flux::environment));
        environment
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.flux {
            Some(flux) => write!(f, "{flux}"),
            None => f.write_str(&self.uri),
        }
    }
}

/// Beside this very program: one folder up is what `cargo build` last made.
pub fn module() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    test.with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
}

pub struct Script {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Duration, String)>,
    asleep: Asleep,
}

impl Script {
    /// Start a script of this folder.
    pub fn start(file: &str, arguments: &[&str], place: &Place) -> Script {
        let [lua, path] = command(file);
        let mut command = Command::new(lua);
        command.arg(path).args(arguments);
        Script::run(command, place, &format!("{file} {}", arguments.join(" ")))
    }

    /// The same on rank 0 of an instance whose brokers have to act before the
    /// script can notice the fault.
    pub fn start_in(instance: &Instance, file: &str, arguments: &[&str]) -> Script {
        let [lua, path] = command(file);
        let mut command = Command::new(lua);
        command.arg(path).args(arguments);
        let name = format!("{file} {}", arguments.join(" "));
        Script::launch(command, instance.place(), &name, instance.pids())
    }

    pub fn run(command: Command, place: &Place, name: &str) -> Script {
        Script::launch(command, place, name, Vec::new())
    }

    fn launch(mut command: Command, place: &Place, name: &str, others: Vec<u32>) -> Script {
        let mut child = command
            .envs(environment())
            .envs(place.environment())
            .env_remove("LUA_INIT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("an interpreter");
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        let asleep = Asleep::watch(child.id(), others);
        let errors = sender.clone();
        let (slept, slept_too) = (asleep.reader(), asleep.reader());
        thread::spawn(move || note(stdout, &sender, slept));
        thread::spawn(move || note(stderr, &errors, slept_too));
        Script {
            name: format!("{name} on {place}"),
            stdin: child.stdin.take(),
            child,
            lines,
            asleep,
        }
    }

    /// How long it has slept by now.
    pub fn slept(&self) -> Duration {
        self.asleep.so_far()
    }

    /// Let it go on from where it reads a line. How long it had slept by then.
    pub fn go(&mut self) -> Duration {
        let stdin = self.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"go\n").expect("a script that reads");
        self.slept()
    }

    /// The first word with what follows it, or the second alone.
    pub fn says_either(&mut self, word: &str, end: &str) -> (Duration, Option<String>) {
        let (when, line) = self.says("");
        if line == end {
            return (when, None);
        }
        let rest = line.strip_prefix(word);
        let rest = rest.unwrap_or_else(|| panic!("{}: {line}", self.name));
        (when, Some(rest.trim_start().to_owned()))
    }

    /// The next line, which is to begin with this word: how long the script had
    /// slept when it came, and what else it says.
    pub fn says(&mut self, word: &str) -> (Duration, String) {
        let Ok((when, line)) = self.lines.recv_timeout(PATIENCE) else {
            let state = self.state();
            panic!(
                "{}: no '{word}' came within {PATIENCE:?}; {state}",
                self.name
            );
        };
        let name = &self.name;
        let Some(rest) = line.strip_prefix(word) else {
            let rest: Vec<_> = self.lines.try_iter().map(|(_, line)| line).collect();
            panic!("{name}: '{word}' expected, got '{line}' {rest:?}");
        };
        (when, rest.trim_start().to_owned())
    }

    /// Whether it has said its next line, which is to begin with this word.
    pub fn has_said(&mut self, word: &str) -> bool {
        let Ok((_, line)) = self.lines.try_recv() else {
            return false;
        };
        assert!(line.starts_with(word), "'{word}' expected, got '{line}'");
        true
    }

    /// Nothing was said so far.
    pub fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// It ends as a script should that has met no fault that it did not see.
    pub fn finish(mut self) {
        self.says("done");
        self.stdin.take();
        assert!(ends(&mut self.child, PATIENCE), "{}: it hangs", self.name);
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// What the system says of it.
    fn state(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => format!("it ended with {status}"),
            _ => "it still runs".to_owned(),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn note(output: impl Read, to: &Sender<(Duration, String)>, slept: impl Fn() -> Duration) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // What this test program says as an interpreter.
        if line.is_empty() || line.starts_with("running ") {
            continue;
        }
        if to.send((slept(), line)).is_err() {
            return;
        }
    }
}
