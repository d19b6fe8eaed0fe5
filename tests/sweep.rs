//! Makes each allocation of Lua fail in turn. Scripts that together call the
//! whole API run once for each of their allocations, in a new state. A run must
//! end with Lua's memory error or succeed, and leave the state usable. After the
//! state is closed, no memory of Lua or Rust, no descriptor and no thread may be
//! left.
//!
//! The scripts are sweep/*.lua. An argument selects scripts by a part of their
//! names: `cargo test --test sweep -- timer`.

#[path = "sweep/allocator.rs"]
mod allocator;
#[path = "sweep/machine.rs"]
mod machine;
#[path = "sweep/resources.rs"]
mod resources;

use std::collections::BTreeSet;
use std::env;
use std::ffi::CString;
use std::process::ExitCode;
use std::time::Instant;

use allocator::Refuse;
use machine::{End, Machine};
use resources::Resources;

struct Script {
    name: &'static str,
    text: &'static str,
    /// Whether the script calls `require` itself, so that loading the modules is
    /// part of the test.
    requires: bool,
    /// The brokers on which it runs.
    uris: &'static [&'static str],
}

macro_rules! scripts {
    ($($name:literal $requires:literal $uris:expr;)*) => {
        &[$(Script {
            name: $name,
            text: include_str!(concat!("sweep/", $name, ".lua")),
            requires: $requires,
            uris: &$uris,
        }),*]
    };
}

const ONE: &str = "embed://";
const FOUR: &str = "embed://sweep?size=4&rank=1";
const LOOP: &str = "loop://";

const SCRIPTS: &[Script] = scripts! {
    "module" true [ONE, LOOP];
    "handle" false [ONE, FOUR];
    "rpc" false [ONE, FOUR];
    "event" false [ONE, FOUR];
    "loop" false [LOOP];
    "message" false [ONE, FOUR];
    "kvs" false [ONE, FOUR];
    "kvsdir" false [ONE, FOUR];
    "kz" false [ONE, FOUR];
    "barrier" false [ONE, FOUR];
    "json" false [ONE];
    "timer" false [ONE, LOOP];
    "msghandler" false [ONE, FOUR];
    "statwatcher" false [ONE, LOOP];
    "fdwatcher" false [ONE, LOOP];
    "iowatcher" false [ONE, LOOP];
    "stream" false [ONE, FOUR];
    "sighandler" false [ONE, LOOP];
    "kvswatcher" false [ONE, FOUR];
    "reactor" false [ONE, LOOP];
    "errors" false [ONE, FOUR];
    "arguments" false [ONE, LOOP];
    "collect" false [ONE, FOUR];
};

const PROBE: &str = include_str!("sweep/probe.lua");
const COVERAGE: &str = include_str!("sweep/coverage.lua");

/// Which allocations fail: one of them, or one and others after it.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    refuse: Refuse,
    /// Whether allocations still fail during `lua_close`, which then follows the
    /// script directly.
    closes: bool,
}

const MODES: &[Mode] = &[
    // Lua 5.1 and LuaJIT do not collect garbage when an allocation fails.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    Mode {
        name: "once, until a collection",
        refuse: Refuse::OneRequest,
        closes: false,
    },
    Mode {
        name: "one allocation",
        refuse: Refuse::One,
        closes: false,
    },
    Mode {
        name: "one allocation and all later ones",
        refuse: Refuse::AllFrom,
        closes: false,
    },
    Mode {
        name: "one allocation and all later ones, also while the state is closed",
        refuse: Refuse::AllFrom,
        closes: true,
    },
];

fn main() -> ExitCode {
    let filters: Vec<String> = env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    warm_up();
    let (mut passed, mut failed) = (0, 0);
    let mut report = |name: &str, outcome: Result<String, Vec<String>>| match outcome {
        Ok(summary) => {
            passed += 1;
            println!("test {name} ... ok ({summary})");
        }
        Err(faults) => {
            failed += 1;
            println!("test {name} ... FAILED");
            for line in faults {
                println!("    {line}");
            }
        }
    };
    if is_wanted("every_function_is_called") {
        report("every_function_is_called_by_some_script", coverage());
    }
    for script in SCRIPTS.iter().filter(|script| is_wanted(script.name)) {
        for uri in script.uris {
            for mode in MODES {
                let name = format!("{} on {uri}, refused: {}", script.name, mode.name);
                report(&name, sweep(script, uri, mode));
            }
        }
    }
    println!(
        "test result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered \
         out; finished in {:.2}s",
        if failed == 0 { "ok" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Makes the allocations that the process keeps on purpose, so that they do not
/// look like leaks. First, an entry for each handle with a signal watcher: a
/// signal handler may be reading these entries, so they are never freed.
/// Second, a buffer for the longest JSON text: how it grows depends on the order
/// of a table's keys, which differs from state to state.
fn warm_up() {
    let machine = Machine::new();
    machine.load(
        "local flux, all = require 'flux', {}
        for n = 1, 20 do
          all[n] = assert(flux.new 'loop://')
          assert(all[n]:sighandler { sigmask = { 10 }, handler = print })
        end
        local long = { text = ('x'):rep(0x10000) }
        assert(#flux.json.encode(long) > 0x10000)
        assert(all[1]:send('warm.up', long))
        return true",
        c"=warm_up",
    );
    assert_eq!(machine.call(0), End::Done);
}

/// A sweep stops after so many faults.
const MAX_FAULTS: usize = 8;

/// Makes each allocation of a script fail in turn, until a run has no more.
/// Returns a summary, or the faults that were found.
fn sweep(script: &Script, uri: &str, mode: &Mode) -> Result<String, Vec<String>> {
    let started = Instant::now();
    // The first runs make the allocations that are made once in a process.
    for _ in 0..2 {
        attempt(script, uri, mode, u64::MAX).map_err(|why| vec![why])?;
    }
    let (mut tried, mut survived) = (0, 0);
    let mut faults = BTreeSet::new();
    loop {
        let n = tried + 1;
        match attempt(script, uri, mode, n) {
            Ok(Attempt { refused: false, .. }) => break,
            Ok(Attempt { end, .. }) => survived += u64::from(end == End::Done),
            Err(why) => {
                faults.insert((n, why));
            }
        }
        tried = n;
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    if !faults.is_empty() {
        return Err(faults
            .into_iter()
            .map(|(n, why)| format!("allocation {n}: {why}"))
            .collect());
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(format!(
        "{tried} allocations failed, the script succeeded {survived} times; {seconds:.1} s"
    ))
}

/// How a run of a script ended, and whether any allocation was refused.
struct Attempt {
    end: End,
    refused: bool,
}

/// Runs a script while its `n`th allocation fails. An error says what is wrong.
fn attempt(script: &Script, uri: &str, mode: &Mode, n: u64) -> Result<Attempt, String> {
    let count = || Resources::count().map_err(|error| error.to_string());
    let before = count()?;
    let machine = Machine::new();
    watch(script.name, n);
    let outcome = run_and_probe(&machine, script, uri, mode, n);
    let allocator = machine.close();
    let (blocks, bytes, refused) = (
        allocator.live_blocks,
        allocator.live_bytes,
        allocator.refused > 0,
    );
    machine::tidy();
    let end = outcome?;
    match end {
        End::Done => {}
        End::OutOfMemory if refused => {}
        end => return Err(format!("the script ended with {end:?}")),
    }
    if (blocks, bytes) != (0, 0) {
        return Err(format!("Lua leaks {bytes} bytes in {blocks} blocks"));
    }
    let after = count()?;
    // Only the first runs, in which nothing is refused (`n` is u64::MAX), may
    // make allocations that stay in the process.
    if after != before && n != u64::MAX {
        return Err(format!("before the run: {before:?}, after it: {after:?}"));
    }
    Ok(Attempt { end, refused })
}

/// Runs the script while an allocation fails, then a probe that uses the state.
fn run_and_probe(
    machine: &Machine,
    script: &Script,
    uri: &str,
    mode: &Mode,
    n: u64,
) -> Result<End, String> {
    if !script.requires {
        machine.load(
            "return require 'flux' and require 'kvs' and true",
            c"=require",
        );
        assert_eq!(machine.call(0), End::Done);
    }
    machine.load(PROBE, c"=probe");
    let name = CString::new(format!("={}", script.name)).expect("no NUL");
    machine.load(&format!("local uri = {uri:?} {}", script.text), &name);
    machine.allocator(|allocator| allocator.start_refusing(mode.refuse, n));
    let end = machine.call(0);
    if mode.closes {
        return Ok(end);
    }
    machine.allocator(|allocator| allocator.stop_refusing());
    match machine.call(0) {
        End::Done => Ok(end),
        other => Err(format!("the probe ended with {other:?} after {end:?}")),
    }
}

/// Sets up signal handlers that print the script and the allocation if the run
/// hangs or crashes.
fn watch(name: &'static str, n: u64) {
    use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};
    static NAME: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(0);
    static N: AtomicU64 = AtomicU64::new(0);
    extern "C" fn report(_: libc::c_int) {
        let mut digits = [b'0'; 20];
        let mut n = N.load(Relaxed);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (n % 10) as u8;
            n /= 10;
        }
        // SAFETY: write and _exit are safe in a signal handler, and the name is
        // static.
        unsafe {
            libc::write(2, NAME.load(Relaxed).cast(), LEN.load(Relaxed));
            let text = b" hangs or crashes at allocation ";
            libc::write(2, text.as_ptr().cast(), text.len());
            libc::write(2, digits.as_ptr().cast(), digits.len());
            libc::write(2, c"\n".as_ptr().cast(), 1);
            libc::_exit(3);
        }
    }
    NAME.store(name.as_ptr().cast_mut(), Relaxed);
    LEN.store(name.len(), Relaxed);
    N.store(n, Relaxed);
    // SAFETY: the handler calls only functions that are safe in a handler.
    unsafe {
        for signum in [libc::SIGALRM, libc::SIGABRT, libc::SIGSEGV] {
            libc::signal(signum, report as *const () as libc::sighandler_t);
        }
        // A run takes milliseconds; the machine may be busy.
        libc::alarm(300);
    }
}

/// Checks that the scripts call each function of the modules and classes.
/// An error lists the functions that none calls.
fn coverage() -> Result<String, Vec<String>> {
    for script in SCRIPTS.iter().filter(|script| !script.requires) {
        for uri in script.uris {
            let machine = Machine::new();
            watch(script.name, 0);
            machine.load(COVERAGE, c"=coverage");
            let end = machine.call(0);
            assert_eq!(end, End::Done, "coverage.lua");
            machine.load(&format!("local uri = {uri:?} {}", script.text), c"=script");
            if let End::Other(why) = machine.call(0) {
                return Err(vec![format!("{} on {uri}: {why}", script.name)]);
            }
            machine.close();
            machine::tidy();
        }
    }
    let listed = machine::LISTED.lock().expect("no thread has panicked");
    let called = machine::CALLED.lock().expect("no thread has panicked");
    let mut missing: Vec<String> = listed.difference(&called).cloned().collect();
    missing.extend(fields().difference(&called).cloned());
    match missing.is_empty() {
        true => Ok(format!("{} functions and fields", called.len())),
        false => Err(missing),
    }
}

/// The fields that classes compute. No table lists them, so they are read from
/// the declarations for editors, which tests/types.rs checks.
fn fields() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    let mut class = "";
    for line in include_str!("../lua/types/flux.lua").lines() {
        if let Some(name) = line.strip_prefix("---@class ") {
            class = match name {
                "flux.Handle" => "FLUX.handle",
                "flux.Message" => "CMB.zmsgi",
                _ => "",
            };
        } else if let Some(field) = line.strip_prefix("---@field ")
            && !class.is_empty()
        {
            let name = field.split([' ', '?']).next().unwrap_or_default();
            fields.insert(format!("{class}.{name}"));
        }
    }
    fields
}
