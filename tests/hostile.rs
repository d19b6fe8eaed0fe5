//! Runs scripts against a hostile peer: a service that sends wrong, huge and
//! malicious messages. The scripts, hostile/victim/*.lua, say what must hold.
//! They run on the embedded broker and, if Flux is installed, on a real
//! instance.

mod installed;

#[path = "hostile/impostor.rs"]
mod impostor;
#[path = "hostile/payloads.rs"]
mod payloads;
#[path = "hostile/peer.rs"]
mod peer;
#[path = "hostile/raw.rs"]
mod raw;

use std::env;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use flux::backend::{Handle, embedded};
use flux::lua::Interpreter;

use installed::{Flux, skipped};
use peer::{Embedded, GUEST};
use raw::Raw;

const SERVICE: &str = "hostile";
/// The time limit for each process, in seconds. A process that takes longer
/// hangs, even if the machine is busy.
const LIMIT: &str = "3600";

/// The parts of the script. Each runs in a process of its own, so that its use
/// of memory can be measured.
const CHAPTERS: &[&str] = &[
    "payloads",
    "errors",
    "responses",
    "events",
    "requests",
    "guests",
    "kvs",
    "large: strings",
    "large: arrays",
    "large: nesting",
    "large: numbers",
    "large: many names",
    "large: long names",
    "large: names of equal hash",
    "large: small arrays",
    "large: small objects",
    "large: a table after a large one",
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--list", ..] => return ExitCode::SUCCESS,
        ["victim", back_end, chapter] => victim(back_end, chapter),
        ["real"] => real(),
        ["impostor"] => impostor(),
        _ => drive(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tests that passed, failed and were skipped.
#[derive(Clone, Copy, Default)]
struct Counts([usize; 3]);

impl Counts {
    fn of(output: &str) -> Counts {
        let count = |word: &str| output.lines().filter(|line| line.starts_with(word)).count();
        Counts([count("ok "), count("not ok "), count("skip ")])
    }

    fn add(&mut self, other: Counts) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Counts([passed, failed, skipped]) = self;
        write!(f, "{passed} passed; {failed} failed; {skipped} ignored")
    }
}

/// The roles in which this program runs inside a real instance.
const INSIDE: &[&str] = &["real", "impostor"];

/// Runs all chapters on the embedded broker and on instances of each Flux.
fn drive() -> io::Result<bool> {
    let started = Instant::now();
    let mut total = Counts::default();
    for chapter in CHAPTERS {
        let mut command = this()?;
        command.args(["victim", "embedded", chapter]);
        total.add(run(&format!("embedded, {chapter}"), command)?);
    }
    let mut fluxes = Flux::all();
    fluxes.retain(|flux| flux.command().is_some());
    if fluxes.is_empty() {
        skipped(
            "no flux with headers is in FLUX_PREFIX, PATH or pkg-config, so no hostile peer ran \
             on a real instance",
        );
    }
    for flux in fluxes {
        let mut counts = Counts::default();
        for (role, options) in [
            ("real", &[][..]),
            // Without its modules an instance has no KVS, so that the
            // impostor can register that service.
            (
                "impostor",
                &["--broker-opts=-Sbroker.rc1_path=,-Sbroker.rc3_path="],
            ),
        ] {
            let mut command = limited(&flux.command().expect("a command"));
            command.args(["start", "--test-size=1"]).args(options);
            command.arg(env::current_exe()?).arg(role);
            command.envs(flux.environment()).env_remove("FLUX_URI");
            counts.add(run(&format!("{role} on {flux}"), command)?);
        }
        println!("# {flux}: {counts}");
        total.add(counts);
    }
    total.add(library_in_the_current_folder()?);
    total.add(library_in_each_prefix()?);
    let is_ok = total.0[1] == 0;
    println!(
        "test result: {}. {total}; 0 measured; 0 filtered out; finished in {:.2}s",
        if is_ok { "ok" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    Ok(is_ok)
}

/// Checks that libflux-core is not searched for in the current folder, even if
/// `PATH` and other variables have relative paths: another user may control that
/// folder.
fn library_in_the_current_folder() -> io::Result<Counts> {
    let name = "libflux-core is not searched for in the current folder";
    let prefix = env::temp_dir().join(format!("hostile-{}", std::process::id()));
    fs::create_dir_all(prefix.join("bin"))?;
    fs::write(prefix.join("bin/flux"), "")?;
    let script = "print(select(2, require 'flux'.new 'local:///nowhere'))";
    let output = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["-e", script])
        .current_dir(prefix.join("bin"))
        .env("PATH", ":.")
        .env("FLUX_PREFIX", "..")
        .env("FLUX_CONNECTOR_PATH", "../lib/flux/connectors")
        .output();
    fs::remove_dir_all(&prefix)?;
    let output = String::from_utf8_lossy(&output?.stdout).into_owned();
    // The error lists the places that were tried: only the loader's own path.
    let line = match output.contains("tried libflux-core.so.2: ") {
        true if output.contains("hostile-") || output.contains("../lib") => {
            format!("not ok {name}: {output}")
        }
        true => format!("ok {name}"),
        false => format!("skip {name}: the loader finds libflux-core by itself"),
    };
    println!("{line}");
    Ok(Counts::of(&line))
}

/// Checks that libflux-core is searched for in each prefix of `FLUX_PREFIX`, in
/// order. An empty prefix is skipped.
fn library_in_each_prefix() -> io::Result<Counts> {
    let name = "libflux-core is searched for in each prefix of FLUX_PREFIX";
    let script = "print(select(4, require 'flux'.new 'local:///nowhere'))";
    let output = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["-e", script])
        .env("PATH", "/nowhere")
        .env("FLUX_PREFIX", "/first::/second")
        .env_remove("FLUX_CONNECTOR_PATH")
        .output()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let tried: Vec<&str> = output
        .split([' ', ',', ')'])
        .filter(|word| word.starts_with('/') && word.ends_with("/lib/libflux-core.so.2"))
        .collect();
    let expected = [
        "/first/lib/libflux-core.so.2",
        "/second/lib/libflux-core.so.2",
    ];
    let line = match output.contains("was not found") {
        true if tried == expected => format!("ok {name}"),
        true => format!("not ok {name}: {output}"),
        false => format!("skip {name}: it is where the loader looks"),
    };
    println!("{line}");
    Ok(Counts::of(&line))
}

/// A command that runs this program with a time limit.
fn this() -> io::Result<Command> {
    Ok(limited(&env::current_exe()?))
}

fn limited(program: &std::path::Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", LIMIT]).arg(program);
    command
}

/// Runs a process that prints the results of its tests, and returns their
/// counts. A process that crashes or tests nothing counts as a failed test.
fn run(name: &str, mut command: Command) -> io::Result<Counts> {
    let started = Instant::now();
    let ended = command.stderr(Stdio::inherit()).output()?;
    let output = String::from_utf8_lossy(&ended.stdout);
    let mut counts = Counts::of(&output);
    let is_consistent = ended.status.success() == (counts.0[1] == 0);
    if !is_consistent || counts.0.iter().sum::<usize>() == 0 {
        println!("not ok {name}: it ended with {}", ended.status);
        counts.0[1] += 1;
    }
    // Inside an instance all lines are printed, for the outer process to read.
    // The outer process prints only failed, skipped and measuring tests.
    let role = env::args().nth(1).unwrap_or_default();
    let is_outer = !INSIDE.contains(&&*role);
    let is_shown = |line: &&str| !is_outer || !line.starts_with("ok ") || line.ends_with(')');
    output
        .lines()
        .filter(is_shown)
        .for_each(|line| println!("{line}"));
    println!("# {name}: {:.1} s", started.elapsed().as_secs_f64());
    io::stdout().flush()?;
    Ok(counts)
}

/// The role inside a real instance: serves as the hostile peer of each chapter.
fn real() -> io::Result<bool> {
    let peer = Raw::open(&[SERVICE]);
    serve_and_run(move || peer::serve(&peer), "real", CHAPTERS)
}

/// The role inside an instance without a KVS: serves as a fake KVS.
fn impostor() -> io::Result<bool> {
    let peer = Raw::open(&["kvs", "kvs-watch"]);
    serve_and_run(move || impostor::serve(&peer), "impostor", &["impostor"])
}

/// Starts the service in a thread, and runs each chapter in a process.
fn serve_and_run(
    serve: impl FnOnce() + Send + 'static,
    back_end: &str,
    chapters: &[&str],
) -> io::Result<bool> {
    thread::spawn(serve);
    let mut total = Counts::default();
    for chapter in chapters {
        let mut command = this()?;
        command.args(["victim", back_end, chapter]);
        total.add(run(&format!("{back_end}, {chapter}"), command)?);
    }
    Ok(total.0[1] == 0)
}

/// Runs one chapter of the script. On the embedded broker its peer is a thread
/// of this process; on a real instance it is another process.
fn victim(back_end: &str, chapter: &str) -> io::Result<bool> {
    let keeper = (back_end == "embedded").then(|| start_embedded("embed://hostile"));
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/victim/run.lua");
    let text = fs::read(run)?;
    let argv = [run, back_end, chapter, SERVICE].map(|word| word.as_bytes().to_vec());
    let played = play(&text, &argv);
    drop(keeper);
    match played {
        Ok(()) => Ok(true),
        Err(message) => {
            println!("not ok {chapter}: {message}");
            Ok(false)
        }
    }
}

/// Opens an embedded instance and starts its hostile peer in a thread. The
/// instance lives as long as the handle that is returned.
fn start_embedded(uri: &str) -> Box<dyn Handle> {
    // SAFETY: no other thread runs yet.
    unsafe {
        env::set_var("FLUX_HANDLE_USERID", GUEST.userid.to_string());
        env::set_var("FLUX_HANDLE_ROLEMASK", GUEST.rolemask.to_string());
    }
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let peers = uri.to_owned();
    thread::spawn(move || {
        let guest = embedded::open(&peers).expect("an embedded instance opens");
        let _ = ready.send(());
        let _ = may_go.recv();
        let peer = Embedded::open(&peers, SERVICE, guest);
        let _ = ready.send(());
        peer::serve(&peer);
    });
    let _ = is_ready.recv();
    // SAFETY: the other thread waits and reads no variable meanwhile.
    unsafe {
        env::remove_var("FLUX_HANDLE_USERID");
        env::remove_var("FLUX_HANDLE_ROLEMASK");
        env::set_var("FLUX_URI", uri);
    }
    let keeper = embedded::open(uri).expect("an embedded instance opens");
    let _ = go.send(());
    let _ = is_ready.recv();
    keeper
}

/// Runs the script in this process.
fn play(script: &[u8], argv: &[Vec<u8>]) -> Result<(), String> {
    let host = Interpreter::new().ok_or("not enough memory")?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"flux", Some(flux::luaopen_flux)) }?;
    // SAFETY: this is made for `require` to call.
    unsafe { host.preload(c"kvs", Some(flux::luaopen_kvs)) }?;
    host.set_arguments(argv)?;
    host.load(script, "=run.lua")?;
    host.call(0).map(|_| ())
}
