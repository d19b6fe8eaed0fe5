//! Runs the specification, tests/spec/*.lua: in flux-lua and in the
//! distribution's interpreter, on the embedded broker and, if Flux is installed,
//! on real instances.

mod installed;
mod support;
mod under;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use installed::{Flux, lua, skipped};
use support::TestFolder;

/// A test that takes longer hangs, even if the machine is busy.
const LIMIT: Duration = Duration::from_secs(600);
/// How long a run that is terminated may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// The embedded brokers, by URI, and the real instances, by option.
const EMBEDDED: [&str; 2] = ["embed://", "embed://spec?size=4"];
const REAL: [&str; 2] = ["--test-size=1", "--test-size=4"];

fn main() -> ExitCode {
    let mut chapters: Vec<OsString> = Vec::new();
    for argument in env::args_os().skip(1) {
        match argument.to_str() {
            Some("--list") => return ExitCode::SUCCESS,
            Some(name) if name.ends_with(".lua") => chapters.push(argument),
            Some(filter) if !filter.starts_with('-') && !"spec".contains(filter) => {
                println!(
                    "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out"
                );
                return ExitCode::SUCCESS;
            }
            _ => {}
        }
    }
    match run_all(&chapters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spec: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scripts in each interpreter on each broker: all scripts, or those
/// that are named.
fn run_all(chapters: &[OsString]) -> io::Result<bool> {
    let started = Instant::now();
    let place = Place::prepare();
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    let mut add = |back_end: &str, of_run: Counts| {
        counts.entry(back_end.to_owned()).or_default().add(of_run);
    };
    let builtin = Path::new(env!("CARGO_BIN_EXE_flux-lua"));
    let system = lua::find();
    let fluxes = Flux::all_with_command();
    for lua in [Some(builtin), system.as_deref()] {
        let Some(lua) = lua else {
            let runs = EMBEDDED.len() + REAL.len() * fluxes.len();
            skipped(&format!(
                "no interpreter of {} is in PATH ({runs} runs)",
                lua::VERSION
            ));
            continue;
        };
        for uri in EMBEDDED {
            let mut command = under::command(lua);
            command.envs(place.environment()).env("FLUX_URI", uri);
            let name = format!("{} on {uri}", lua.display());
            add("embed://", place.run(&name, command, chapters, None)?);
        }
        if fluxes.is_empty() {
            skipped(&format!(
                "no flux is in FLUX_PREFIX, pkg-config or PATH, so nothing ran on a real \
                 instance ({} runs)",
                REAL.len()
            ));
        }
        for flux in &fluxes {
            for size in REAL {
                let command = place.in_instance(flux, size, lua);
                let name = format!("{} in flux start {size}, {flux}", lua.display());
                add(
                    &flux.to_string(),
                    place.run(&name, command, chapters, Some(flux))?,
                );
            }
        }
    }
    let mut total = Counts::default();
    println!();
    for (back_end, counts) in counts {
        println!("{back_end}: {counts}");
        total.add(counts);
    }
    println!("spec: {total}");
    println!(
        "test result: {}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s",
        if total.failed == 0 { "ok" } else { "FAILED" },
        total.passed,
        total.failed,
        total.skipped,
        started.elapsed().as_secs_f64()
    );
    Ok(total.failed == 0)
}

/// Tests that passed, failed and were skipped.
#[derive(Clone, Copy, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    /// Parses the last line of run.lua: `N passed, N failed, N skipped`.
    fn parse(line: &str) -> Option<Counts> {
        let mut parts = line.split(", ");
        let mut count = |what| parts.next()?.strip_suffix(what)?.trim_end().parse().ok();
        Some(Counts {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("skipped")?,
        })
    }

    fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// A folder with the module and the output of the runs.
struct Place {
    folder: TestFolder,
    runs: Cell<usize>,
}

impl Place {
    fn prepare() -> Place {
        Place {
            folder: TestFolder::with_module("spec"),
            runs: Cell::new(0),
        }
    }

    /// The variables by which Lua finds the module of this build.
    fn environment(&self) -> [(&'static str, OsString); 3] {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        [
            ("LUA_CPATH", self.folder.join("?.so").into()),
            ("LUA_PATH", repository.join("lua/?.lua").into()),
            ("SPEC_CURRENT", self.current().into()),
        ]
    }

    /// The file in which a run writes the name of its current test.
    fn current(&self) -> PathBuf {
        self.folder.join("current")
    }

    /// A command that runs the interpreter in a new instance. It sets the
    /// variables inside the instance, since `flux start` puts folders of its own
    /// before those in LUA_PATH.
    fn in_instance(&self, flux: &Flux, size: &str, lua: &Path) -> Command {
        let mut command = Command::new(flux.command().expect("a command"));
        // Tests run flux commands, and scripts load libflux-core.
        command
            .envs(flux.environment())
            // The last broker may end late on a busy machine. By default it is
            // killed after 20 seconds.
            .args(["start", size, "--test-exit-timeout=600s", "env"]);
        for (name, value) in self.environment() {
            let mut setting = OsString::from(name);
            setting.push("=");
            setting.push(value);
            command.arg(setting);
        }
        command.args(under::words()).arg(lua).env_remove("FLUX_URI");
        command
    }

    /// Adds run.lua and the scripts to a command and runs it. A run that crashes
    /// or hangs counts as a failed test, and so does one that loads another
    /// libflux-core than that of `flux`.
    fn run(
        &self,
        name: &str,
        mut command: Command,
        chapters: &[OsString],
        flux: Option<&Flux>,
    ) -> io::Result<Counts> {
        // Each run has a file of its own, since processes that a run leaves
        // behind may still write.
        let output = self.folder.join(format!("output-{}", self.runs.get()));
        self.runs.set(self.runs.get() + 1);
        let _ = fs::remove_file(self.current());
        let stdout = File::create(&output)?;
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/run.lua"))
            .args(chapters)
            .stdout(stdout.try_clone()?)
            .stderr(stdout)
            .process_group(0);
        // End the run when this program ends. SAFETY: prctl is safe between fork
        // and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            })
        };
        for version in ["", "_5_2", "_5_3", "_5_4", "_5_5"] {
            command.env_remove(format!("LUA_INIT{version}"));
            if !version.is_empty() {
                command.env_remove(format!("LUA_PATH{version}"));
                command.env_remove(format!("LUA_CPATH{version}"));
            }
        }
        let started = Instant::now();
        let status = self.wait(&mut command.spawn()?)?;
        let output = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        let seconds = started.elapsed().as_secs_f64();
        Ok(match self.judge(status, &output, flux) {
            Ok(counts) => {
                println!("\n{name}: {counts} ({seconds:.1} s)");
                show(&output, counts.failed > 0);
                counts
            }
            Err((counts, why)) => {
                println!("\n{name}: FAILED: {why} ({seconds:.1} s)");
                show(&output, true);
                Counts {
                    failed: counts.failed + 1,
                    ..counts
                }
            }
        })
    }

    /// Waits for the child. If one of its tests takes too long, terminates the
    /// child's process group and returns None.
    fn wait(&self, child: &mut Child) -> io::Result<Option<ExitStatus>> {
        let current = || fs::read_to_string(self.current()).unwrap_or_default();
        let (mut last, mut since) = (current(), Instant::now());
        while since.elapsed() < limit() {
            if let Some(status) = wait_for(child, Duration::from_secs(1))? {
                return Ok(Some(status));
            }
            let now = current();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            // SAFETY: kill has no preconditions. The child was not waited for,
            // so the id still belongs to its process group.
            unsafe { libc::kill(-(child.id() as libc::pid_t), signal) };
            if wait_for(child, GRACE)?.is_some() {
                break;
            }
        }
        Ok(None)
    }

    /// The counts of a run. An error says why the run counts as failed even so.
    fn judge(
        &self,
        status: Option<ExitStatus>,
        output: &str,
        flux: Option<&Flux>,
    ) -> Result<Counts, (Counts, String)> {
        let counts = output.lines().rev().find_map(Counts::parse);
        let at = fs::read_to_string(self.current()).unwrap_or_default();
        let at = at.trim_end();
        let (Some(status), Some(counts)) = (status, counts) else {
            let why = match status {
                Some(status) => format!("it ended early ({status}) in {at}"),
                None => format!("it hung for {} s in {at}", limit().as_secs()),
            };
            return Err((counts.unwrap_or_default(), why));
        };
        let ours = format!("flux-lua {} for ", env!("CARGO_PKG_VERSION"));
        let Some(loaded) = output.lines().find(|line| line.starts_with(&ours)) else {
            return Err((counts, "another module was loaded".to_owned()));
        };
        if let Some(version) = flux.and_then(Flux::version)
            && !loaded.contains(&format!(", libflux-core {version}, "))
        {
            return Err((counts, format!("another libflux-core was loaded: {loaded}")));
        }
        if counts.passed + counts.failed == 0 {
            return Err((counts, "no test ran".to_owned()));
        }
        if status.success() != (counts.failed == 0) {
            return Err((counts, format!("it ended with {status} after {at}")));
        }
        Ok(counts)
    }
}

/// The time limit of one test.
fn limit() -> Duration {
    LIMIT * under::slowdown()
}

/// Prints a run's output without the counts. Unless `is_all`, prints only the
/// reasons for which tests were skipped.
fn show(output: &str, is_all: bool) {
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for line in output.lines().filter(|line| Counts::parse(line).is_none()) {
        match line
            .strip_prefix("skip ")
            .and_then(|rest| rest.rsplit_once(": "))
        {
            Some((_, reason)) => *skipped.entry(reason).or_default() += 1,
            None if is_all => println!("    {line}"),
            None => {}
        }
    }
    for (reason, count) in skipped {
        println!("    {count} skipped: {reason}");
    }
}

/// Waits for the child for a limited time. None if it still runs.
fn wait_for(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(None)
}
