//! Runs a Lua script that meets a fault. The script prints its progress; each
//! line is kept with the time that the process had slept until then.

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
use crate::support;

/// A script that prints nothing for so long hangs, even if the machine is busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// The command line for a script of this folder.
pub fn command(file: &str) -> [PathBuf; 2] {
    [interpreter().clone(), folder().join(file)]
}

/// The distribution's interpreter, or flux-lua. The distribution's is preferred
/// because SIGPIPE ends a C program, whereas a Rust program ignores it.
pub fn interpreter() -> &'static PathBuf {
    static LUA: OnceLock<PathBuf> = OnceLock::new();
    LUA.get_or_init(|| lua::find().unwrap_or_else(|| env!("CARGO_BIN_EXE_flux-lua").into()))
}

/// The folder with the scripts.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// The variable by which scripts find the module.
pub fn environment() -> [(&'static str, OsString); 1] {
    [("FAULT_MODULE", support::module().into())]
}

/// The broker that a script uses.
pub struct Target {
    pub uri: String,
    /// The Flux of the broker. None for the embedded broker.
    pub flux: Option<Flux>,
}

impl Target {
    pub fn embedded(uri: &str) -> Target {
        Target {
            uri: uri.to_owned(),
            flux: None,
        }
    }

    /// The variables by which a script finds the broker and its libflux-core.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut environment = vec![("FLUX_URI", self.uri.clone().into())];
        environment.extend(self.flux.iter().flat_map(Flux::environment));
        environment
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.flux {
            Some(flux) => write!(f, "{flux}"),
            None => f.write_str(&self.uri),
        }
    }
}

/// A running script.
pub struct Script {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Duration, String)>,
    asleep: Asleep,
}

impl Script {
    /// Start a script of this folder.
    pub fn start(file: &str, arguments: &[&str], target: &Target) -> Script {
        let [lua, path] = command(file);
        let mut command = Command::new(lua);
        command.arg(path).args(arguments);
        Script::run(command, target, &format!("{file} {}", arguments.join(" ")))
    }

    /// Starts a script of this folder on rank 0 of an instance. The script counts
    /// as asleep only while the brokers are asleep too, since they may have to act
    /// before it can notice a fault.
    pub fn start_in(instance: &Instance, file: &str, arguments: &[&str]) -> Script {
        let [lua, path] = command(file);
        let mut command = Command::new(lua);
        command.arg(path).args(arguments);
        let name = format!("{file} {}", arguments.join(" "));
        Script::launch(command, instance.target(), &name, instance.pids())
    }

    pub fn run(command: Command, target: &Target, name: &str) -> Script {
        Script::launch(command, target, name, Vec::new())
    }

    fn launch(mut command: Command, target: &Target, name: &str, others: Vec<u32>) -> Script {
        let mut child = command
            .envs(environment())
            .envs(target.environment())
            .env_remove("LUA_INIT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the interpreter can be run");
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let asleep = Asleep::watch(child.id(), others);
        let errors = sender.clone();
        let (slept, slept_too) = (asleep.reader(), asleep.reader());
        thread::spawn(move || note(stdout, &sender, slept));
        thread::spawn(move || note(stderr, &errors, slept_too));
        Script {
            name: format!("{name} on {target}"),
            stdin: child.stdin.take(),
            child,
            lines,
            asleep,
        }
    }

    /// How long the script has slept so far.
    pub fn slept(&self) -> Duration {
        self.asleep.so_far()
    }

    /// Sends the line for which the script waits. Returns how long the script had
    /// slept until then.
    pub fn go(&mut self) -> Duration {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(b"go\n").expect("the script reads");
        self.slept()
    }

    /// Waits for the next line, which must begin with `word` or be `end`. Returns
    /// how long the script had slept until then, and the text after `word`: None
    /// for `end`.
    pub fn says_either(&mut self, word: &str, end: &str) -> (Duration, Option<String>) {
        let (when, line) = self.says("");
        if line == end {
            return (when, None);
        }
        let rest = line.strip_prefix(word);
        let rest = rest.unwrap_or_else(|| panic!("{}: {line}", self.name));
        (when, Some(rest.trim_start().to_owned()))
    }

    /// Waits for the next line, which must begin with `word`. Returns how long the
    /// script had slept until then, and the text after `word`.
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

    /// Takes the next line if there is one. It must begin with `word`. Returns
    /// whether there was a line.
    pub fn has_said(&mut self, word: &str) -> bool {
        let Ok((_, line)) = self.lines.try_recv() else {
            return false;
        };
        assert!(line.starts_with(word), "'{word}' expected, got '{line}'");
        true
    }

    /// Whether the script has printed nothing more.
    pub fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Waits for the script's end, which must be a success.
    pub fn finish(mut self) {
        self.says("done");
        self.stdin.take();
        assert!(ends(&mut self.child, PATIENCE), "{}: it hangs", self.name);
        let status = self.child.wait().expect("the child can be waited for");
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// A text that says whether the script still runs.
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

/// Sends each line of the output, with the time that the script had slept.
fn note(output: impl Read, to: &Sender<(Duration, String)>, slept: impl Fn() -> Duration) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // Skips the lines that libtest prints when this program is the
        // interpreter.
        if line.is_empty() || line.starts_with("running ") {
            continue;
        }
        if to.send((slept(), line)).is_err() {
            return;
        }
    }
}
