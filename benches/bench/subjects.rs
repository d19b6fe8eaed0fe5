//! Finds what is timed and starts it: an interpreter with cases.lua for each
//! module, and floor.c, which answer lines with lines.

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::installed::{self, Flux, lua, skipped};
use super::report::Who;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long an instance that is to end may take.
const GRACE: Duration = Duration::from_secs(10);

pub struct Subjects {
    place: Place,
    interpreter: PathBuf,
    programs: Vec<Program>,
    /// The broker that FLUX_URI is to name; ends with this.
    instance: Option<Instance>,
    /// What is not here, and why.
    pub skipped: Vec<String>,
    /// What is, and does not work.
    pub failures: Vec<String>,
}

pub struct Program {
    pub who: Who,
    command: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Subjects {
    pub fn find() -> io::Result<Subjects> {
        let place = Place::prepare()?;
        let built_in = || PathBuf::from(env!("CARGO_BIN_EXE_flux-lua"));
        let mut subjects = Subjects {
            interpreter: lua::find().unwrap_or_else(built_in),
            place,
            programs: Vec::new(),
            instance: None,
            skipped: Vec::new(),
            failures: Vec::new(),
        };
        let documents = subjects.documents()?;
        let flux = Flux::find();
        match &flux {
            Some(flux) => subjects.start_instance(flux),
            None => subjects.skip("no Flux with headers is in FLUX_PREFIX, pkg-config or PATH"),
        }
        let ours = subjects.place.folder.join("?.so");
        subjects.add_module(Who::Ours, Some(ours), &documents);
        for who in [Who::Cjson, Who::Rapidjson, Who::Simdjson] {
            subjects.add_module(who, None, &documents);
        }
        if let Some(flux) = &flux {
            subjects.add_original(flux, &documents);
            subjects.add_floor(flux);
        }
        Ok(subjects)
    }

    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter()
    }

    pub fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    pub fn find_program(&self, who: Who) -> Option<&Program> {
        self.programs.iter().find(|program| program.who == who)
    }

    /// The shared object that is measured.
    pub fn module(&self) -> PathBuf {
        self.place.folder.join("flux.so")
    }

    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    fn skip(&mut self, what: &str) {
        skipped(what);
        self.skipped.push(what.to_owned());
    }

    /// The folder of JSON documents: that of FLUX_LUA_JSON, or one with those
    /// that documents.lua makes.
    fn documents(&self) -> io::Result<OsString> {
        let given = env::var_os("FLUX_LUA_JSON").filter(|folder| !folder.is_empty());
        if let Some(folder) = given {
            return Ok(folder);
        }
        let folder = self.place.folder.join("documents");
        fs::create_dir(&folder)?;
        let script = benches().join("documents.lua");
        let done = Command::new(&self.interpreter)
            .arg(script)
            .arg(&folder)
            .status()?;
        match done.success() {
            true => Ok(folder.into()),
            false => Err(io::Error::other("documents.lua failed")),
        }
    }

    /// An interpreter that finds modules here first. Where this one is not to
    /// be found, it is left out.
    fn add_module(&mut self, who: Who, template: Option<PathBuf>, documents: &OsString) {
        let mut path = template.map_or_else(OsString::new, PathBuf::into_os_string);
        path.push(";;");
        let mut environment = vec![("LUA_CPATH", path), ("FLUX_LUA_JSON", documents.clone())];
        if let Some(instance) = &self.instance {
            environment.push(("FLUX_URI", instance.uri.clone().into()));
        }
        let program = Program {
            who,
            command: self.interpreter.clone(),
            arguments: vec![benches().join("cases.lua").into(), who.name().into()],
            environment,
        };
        match program.require() {
            Ok(()) => self.programs.push(program),
            // These are no packages of any distribution's: not a word on them.
            Err(_) if matches!(who, Who::Rapidjson | Who::Simdjson) => {}
            Err(error) if matches!(who, Who::Ours | Who::Original) => {
                self.failures.push(format!("{}: {error}", who.name()));
            }
            Err(_) => self.skip(&format!("no {} for {} is here", who.name(), lua::VERSION)),
        }
    }

    /// flux-core's own module, where it has one for this Lua.
    fn add_original(&mut self, flux: &Flux, documents: &OsString) {
        match original(flux) {
            Some(template) => self.add_module(Who::Original, Some(template), documents),
            None => self.skip(&format!(
                "this Flux has no flux.so of its own for {}",
                lua::VERSION
            )),
        }
    }

    fn add_floor(&mut self, flux: &Flux) {
        let program = self.place.folder.join("floor");
        let mut args: Vec<OsString> = vec!["-O2".into(), benches().join("floor.c").into()];
        args.extend(["-o".into(), program.clone().into_os_string()]);
        args.extend(["-I".into(), flux.include().into_os_string()]);
        args.extend(flux.link().into_iter().map(OsString::from));
        if let Err(error) = installed::cc(args) {
            self.failures.push(format!("the C floor: {error}"));
            return;
        }
        let uri = self.instance.as_ref().map(|instance| &instance.uri);
        self.programs.push(Program {
            who: Who::Floor,
            command: program,
            arguments: Vec::new(),
            environment: uri
                .map(|uri| ("FLUX_URI", uri.into()))
                .into_iter()
                .collect(),
        });
    }

    fn start_instance(&mut self, flux: &Flux) {
        match flux.command().map(|command| Instance::start(&command)) {
            Some(Ok(instance)) => self.instance = Some(instance),
            Some(Err(error)) => self.failures.push(format!("a real broker: {error}")),
            None => self.skip("a real broker: this Flux has no command"),
        }
    }
}

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// Where the flux.so of flux-core for this Lua is, as Lua's paths say it: in
/// its prefix, or where `flux` has its scripts look.
fn original(flux: &Flux) -> Option<PathBuf> {
    let version = lua::VERSION.strip_prefix("Lua ")?;
    let command = flux.command()?;
    let prefix = command.ancestors().nth(2)?;
    let in_prefix = ["lib", "lib64"].map(|lib| prefix.join(lib).join("lua").join(version));
    let said = Command::new(&command)
        .args(["env", "printenv", "LUA_CPATH"])
        .env_remove("LUA_CPATH")
        .env_remove("FLUX_LUA_CPATH_PREPEND")
        .output()
        .ok()?;
    let by_command = String::from_utf8_lossy(&said.stdout).into_owned();
    let by_command = by_command
        .split(';')
        .filter_map(|template| template.trim().strip_suffix("/?.so"))
        .map(PathBuf::from);
    in_prefix
        .into_iter()
        .chain(by_command)
        .filter(|folder| folder.ends_with(Path::new("lua").join(version)))
        .find(|folder| folder.join("flux.so").exists())
        .map(|folder| folder.join("?.so"))
}

impl Program {
    fn new_command(&self) -> Command {
        let mut command = Command::new(&self.command);
        for version in ["", "_5_2", "_5_3", "_5_4", "_5_5"] {
            for name in ["LUA_INIT", "LUA_PATH", "LUA_CPATH"] {
                command.env_remove(format!("{name}{version}"));
            }
        }
        command.env_remove("FLUX_URI");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A process that loads the module and ends; where `is_empty`, only ends.
    pub fn loader(&self, is_empty: bool) -> Command {
        let module = match self.who {
            Who::Ours | Who::Original => "flux",
            Who::Cjson => "cjson",
            Who::Rapidjson => "rapidjson",
            Who::Simdjson => "simdjson",
            Who::Floor => "",
        };
        // The shared object, where the interpreter has the module built in.
        let script = format!("package.preload.flux = nil; require '{module}'");
        let mut command = self.new_command();
        command.args(["-e", if is_empty { "" } else { &script }]);
        command
    }

    /// Whether the module can be loaded.
    fn require(&self) -> Result<(), String> {
        let said = self.loader(false).output();
        let said = said.map_err(|error| error.to_string())?;
        match said.status.success() {
            true => Ok(()),
            false => Err(first_line(&String::from_utf8_lossy(&said.stderr))),
        }
    }

    /// Start it with a case; None where it has no such thing.
    pub fn open(&self, case: &str) -> Result<Option<Process>, String> {
        let mut process = Process::start(self).map_err(|error| error.to_string())?;
        let answer = process.ask(&format!("open {case}"))?;
        if answer == "none" {
            return Ok(None);
        }
        let numbers = numbers(&answer, "ready")?;
        process.operations = numbers[0];
        process.bytes = numbers[1];
        Ok(Some(process))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What follows the word of an answer.
fn numbers(answer: &str, word: &str) -> Result<[f64; 2], String> {
    let mut words = answer.split(' ');
    if words.next() != Some(word) {
        return Err(answer.to_owned());
    }
    let mut number = || words.next().map_or(Some(0.0), |text| text.parse().ok());
    match (number(), number()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(answer.to_owned()),
    }
}

/// A subject that runs, with a case open.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    /// Of a round.
    pub operations: f64,
    /// That an operation goes through.
    pub bytes: f64,
}

/// What a run took, in nanoseconds, and the memory that it was in.
pub struct Run {
    pub wall: f64,
    pub cpu: f64,
    pub peak_kib: f64,
}

impl Process {
    fn start(program: &Program) -> io::Result<Process> {
        let mut command = program.new_command();
        command
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        tie(&mut command, Processor::Last);
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

    fn ask(&mut self, line: &str) -> Result<String, String> {
        let asked = self.stdin.write_all(format!("{line}\n").as_bytes());
        asked.map_err(|error| format!("{line}: {error}"))?;
        match self.answers.recv_timeout(LIMIT) {
            Ok(answer) => match answer.strip_prefix("error ") {
                Some(error) => Err(error.to_owned()),
                None => Ok(answer),
            },
            Err(_) => match self.child.try_wait() {
                Ok(Some(status)) => Err(format!("{line}: it broke off, {status}")),
                _ => Err(format!("{line}: no answer in {} s", LIMIT.as_secs())),
            },
        }
    }

    /// What the operation gives, the same for all subjects.
    pub fn check(&mut self) -> Result<String, String> {
        let answer = self.ask("check")?;
        match answer.strip_prefix("is ") {
            Some(result) => Ok(result.to_owned()),
            None => Err(answer),
        }
    }

    pub fn run(&mut self, rounds: u64) -> Result<Run, String> {
        let started = Instant::now();
        let answer = self.ask(&format!("run {rounds}"))?;
        let wall = started.elapsed().as_nanos() as f64;
        let [cpu, peak_kib] = numbers(&answer, "ran")?;
        Ok(Run {
            wall,
            cpu,
            peak_kib,
        })
    }

    /// Collect garbage; the KiB of it that stay in memory.
    pub fn settle(&mut self) -> Result<f64, String> {
        let answer = self.ask("settle")?;
        Ok(numbers(&answer, "settled")?[0])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or is told to; it is waited for in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which of the processors that this process may run on.
#[derive(Clone, Copy)]
enum Processor {
    First,
    Last,
}

/// Let the command's process not outlive this one, however that ends, and run
/// on one processor. The broker has another than who asks it: how far apart
/// they are decides what an answer costs, and must not be left to chance.
fn tie(command: &mut Command, processor: Processor) {
    // SAFETY: prctl and the affinity's calls are safe between fork and exec;
    // the set is this frame's.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            if libc::sched_getaffinity(0, size, &mut set) != 0 {
                return Err(io::Error::last_os_error());
            }
            let mut allowed = (0..libc::CPU_SETSIZE as usize).filter(|&n| libc::CPU_ISSET(n, &set));
            let one = match processor {
                Processor::First => allowed.next(),
                Processor::Last => allowed.next_back(),
            };
            if let Some(one) = one {
                libc::CPU_ZERO(&mut set);
                libc::CPU_SET(one, &mut set);
                libc::sched_setaffinity(0, size, &set);
            }
            Ok(())
        })
    };
}

/// A broker of one rank, which runs until its initial program's input ends.
struct Instance {
    child: Child,
    uri: String,
}

impl Instance {
    fn start(flux: &Path) -> io::Result<Instance> {
        let mut command = Command::new(flux);
        let script = "echo \"$FLUX_URI\"; exec cat";
        command
            .args(["start", "--test-size=1", "sh", "-c", script])
            .env_remove("FLUX_URI")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        tie(&mut command, Processor::First);
        let mut child = command.spawn()?;
        let mut uri = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut uri)?;
        }
        let uri = uri.trim_end().to_owned();
        // Its drop ends the instance.
        let instance = Instance { child, uri };
        match instance.uri.contains("://") {
            true => Ok(instance),
            false => Err(io::Error::other("flux start gave no URI")),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder in which Lua finds this module, and in which files are made.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn prepare() -> io::Result<Place> {
        let name = format!("bench-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder)?;
        let place = Place { folder };
        // Beside this very program: one folder up is what `cargo build` last made.
        let module = env::current_exe()?
            .with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
            .canonicalize()?;
        symlink(module, place.folder.join("flux.so"))?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
