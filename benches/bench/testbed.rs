//! Finds the subjects of the benchmark and prepares what they need: a folder with
//! the module, the JSON documents, the compiled C floor, and a real broker if Flux
//! is installed. `process` runs the subjects.

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::installed::{self, Flux, lua, skipped};
use super::process::{Process, Processor, pin};
use super::report::Subject;

/// How long a Flux instance may take to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// Everything that the benchmark runs.
pub struct Testbed {
    work: WorkFolder,
    interpreter: PathBuf,
    programs: Vec<Program>,
    /// The real broker, for FLUX_URI. Dropping it ends the instance.
    instance: Option<Instance>,
    /// The subjects that are not installed.
    pub skipped: Vec<String>,
    /// The subjects that are installed but do not work.
    pub failures: Vec<String>,
}

/// How to start a subject.
pub struct Program {
    pub subject: Subject,
    command: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Testbed {
    /// Find everything that is installed, and start the broker.
    pub fn find() -> io::Result<Testbed> {
        let work = WorkFolder::create()?;
        let built_in = || PathBuf::from(env!("CARGO_BIN_EXE_flux-lua"));
        let mut testbed = Testbed {
            interpreter: lua::find().unwrap_or_else(built_in),
            work,
            programs: Vec::new(),
            instance: None,
            skipped: Vec::new(),
            failures: Vec::new(),
        };
        let documents = testbed.documents()?;
        let flux = Flux::find();
        match &flux {
            Some(flux) => testbed.start_instance(flux),
            None => testbed.skip("no Flux with headers is in FLUX_PREFIX, pkg-config or PATH"),
        }
        let ours = testbed.work.folder.join("?.so");
        testbed.add_module(Subject::Ours, Some(ours), &documents);
        for subject in [Subject::Cjson, Subject::Rapidjson, Subject::Simdjson] {
            testbed.add_module(subject, None, &documents);
        }
        if let Some(flux) = &flux {
            testbed.add_original(flux, &documents);
            testbed.add_floor(flux);
        }
        Ok(testbed)
    }

    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter()
    }

    pub fn has_instance(&self) -> bool {
        self.instance.is_some()
    }

    pub fn find_program(&self, subject: Subject) -> Option<&Program> {
        self.programs
            .iter()
            .find(|program| program.subject == subject)
    }

    /// The path of our flux.so.
    pub fn module(&self) -> PathBuf {
        self.work.folder.join("flux.so")
    }

    /// A temporary folder.
    pub fn folder(&self) -> &Path {
        &self.work.folder
    }

    fn skip(&mut self, what: &str) {
        skipped(what);
        self.skipped.push(what.to_owned());
    }

    /// The folder of JSON documents: FLUX_LUA_JSON, or a new one with the documents
    /// that documents.lua generates.
    fn documents(&self) -> io::Result<OsString> {
        let given = env::var_os("FLUX_LUA_JSON").filter(|folder| !folder.is_empty());
        if let Some(folder) = given {
            return Ok(folder);
        }
        let folder = self.work.folder.join("documents");
        fs::create_dir(&folder)?;
        let script = scripts_folder().join("documents.lua");
        let done = Command::new(&self.interpreter)
            .arg(script)
            .arg(&folder)
            .status()?;
        match done.success() {
            true => Ok(folder.into()),
            false => Err(io::Error::other("documents.lua failed")),
        }
    }

    /// Add a Lua module, run by the interpreter. `template` is an entry of
    /// `package.cpath` that is searched first. Without the module, the subject is left
    /// out.
    fn add_module(&mut self, subject: Subject, template: Option<PathBuf>, documents: &OsString) {
        let mut path = template.map_or_else(OsString::new, PathBuf::into_os_string);
        path.push(";;");
        let mut environment = vec![("LUA_CPATH", path), ("FLUX_LUA_JSON", documents.clone())];
        if let Some(instance) = &self.instance {
            environment.push(("FLUX_URI", instance.uri.clone().into()));
        }
        let program = Program {
            subject,
            command: self.interpreter.clone(),
            arguments: vec![
                scripts_folder().join("cases.lua").into(),
                subject.name().into(),
            ],
            environment,
        };
        match program.check_loads() {
            Ok(()) => self.programs.push(program),
            // No distribution packages these two, so their absence is not reported.
            Err(_) if matches!(subject, Subject::Rapidjson | Subject::Simdjson) => {}
            Err(error) if matches!(subject, Subject::Ours | Subject::Original) => {
                self.failures.push(format!("{}: {error}", subject.name()));
            }
            Err(_) => self.skip(&format!(
                "{} for {} is not installed",
                subject.name(),
                lua::VERSION
            )),
        }
    }

    /// Add the C bindings of flux-core, if there are any for this Lua.
    fn add_original(&mut self, flux: &Flux, documents: &OsString) {
        match original_template(flux) {
            Some(template) => self.add_module(Subject::Original, Some(template), documents),
            None => self.skip(&format!("this Flux has no C bindings for {}", lua::VERSION)),
        }
    }

    /// Compile and add the C floor.
    fn add_floor(&mut self, flux: &Flux) {
        let program = self.work.folder.join("floor");
        let mut args: Vec<OsString> = vec!["-O2".into(), scripts_folder().join("floor.c").into()];
        args.extend(["-o".into(), program.clone().into_os_string()]);
        args.extend(["-I".into(), flux.include().into_os_string()]);
        args.extend(flux.link().into_iter().map(OsString::from));
        if let Err(error) = installed::cc(args) {
            self.failures.push(format!("the C floor: {error}"));
            return;
        }
        let uri = self.instance.as_ref().map(|instance| &instance.uri);
        self.programs.push(Program {
            subject: Subject::Floor,
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

fn scripts_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// The `package.cpath` entry of flux-core's own flux.so for this Lua. Looks in the
/// prefix of Flux and in the LUA_CPATH that `flux env` sets.
fn original_template(flux: &Flux) -> Option<PathBuf> {
    let version = lua::VERSION.strip_prefix("Lua ")?;
    let command = flux.command()?;
    let prefix = command.ancestors().nth(2)?;
    let in_prefix = ["lib", "lib64"].map(|lib| prefix.join(lib).join("lua").join(version));
    let output = Command::new(&command)
        .args(["env", "printenv", "LUA_CPATH"])
        .env_remove("LUA_CPATH")
        .env_remove("FLUX_LUA_CPATH_PREPEND")
        .output()
        .ok()?;
    let by_command = String::from_utf8_lossy(&output.stdout).into_owned();
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

    /// The command of a process that loads the module and ends. If `is_bare`, it
    /// only ends.
    pub fn loader(&self, is_bare: bool) -> Command {
        let module = match self.subject {
            Subject::Ours | Subject::Original => "flux",
            Subject::Cjson => "cjson",
            Subject::Rapidjson => "rapidjson",
            Subject::Simdjson => "simdjson",
            Subject::Floor => "",
        };
        // The flux-lua interpreter has the module built in. This loads the shared
        // object instead.
        let script = format!("package.preload.flux = nil; require '{module}'");
        let mut command = self.new_command();
        command.args(["-e", if is_bare { "" } else { &script }]);
        command
    }

    /// Whether the module can be loaded.
    fn check_loads(&self) -> Result<(), String> {
        let output = self.loader(false).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(first_line(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Start a process and open a case. Returns `None` if the subject does not have it.
    pub fn open(&self, case: &str) -> Result<Option<Process>, String> {
        let mut command = self.new_command();
        command.args(&self.arguments);
        let mut process = Process::start(command).map_err(|error| error.to_string())?;
        Ok(process.open(case)?.then_some(process))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A Flux instance of one rank. It ends when the standard input of its initial
/// program ends.
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
        pin(&mut command, Processor::First);
        let mut child = command.spawn()?;
        let mut uri = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut uri)?;
        }
        let uri = uri.trim_end().to_owned();
        // From here on, dropping the instance ends it.
        let instance = Instance { child, uri };
        match instance.uri.contains("://") {
            true => Ok(instance),
            false => Err(io::Error::other("flux start printed no URI")),
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
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

/// A temporary folder with a link to our flux.so. Dropping it removes the folder.
struct WorkFolder {
    folder: PathBuf,
}

impl WorkFolder {
    fn create() -> io::Result<WorkFolder> {
        let name = format!("bench-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder)?;
        let work = WorkFolder { folder };
        // The module that was built together with this program is in the same folder.
        // The one in the parent folder is from the last `cargo build`.
        let module = env::current_exe()?
            .with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
            .canonicalize()?;
        symlink(module, work.folder.join("flux.so"))?;
        Ok(work)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
