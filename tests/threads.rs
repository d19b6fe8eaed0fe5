//! Runs sixteen threads, each with a Lua state, on one embedded instance. They
//! call the API at the same time; nothing may be lost or done twice, and all
//! must agree on the results. The threads run threads/*.lua; this file starts
//! them, notices when they are stuck, and checks their counts.

mod under;

use std::cell::RefCell;
use std::env;
use std::ffi::CStr;
use std::fmt::Write;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flux::backend::{Handle, embedded};
use flux::lua::{Error, Integer, Interpreter, Result, State, lua_CFunction};
use flux::lua_functions;
use serde_json::Value;

const COUNT: usize = 16;

/// A thread that does nothing new for so long is stuck, even if the machine is busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// The step that a thread last announced, and when.
type Step = Arc<Mutex<(String, Instant)>>;

thread_local! {
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
}

/// `note(text)` announces the next step of this thread.
fn note(state: State<'_>) -> Result<()> {
    let text = state
        .bytes(1)
        .ok_or_else(|| Error::expected(state, 1, "string"))?;
    let text = String::from_utf8_lossy(text).into_owned();
    STEP.with_borrow(|step| {
        if let Some(step) = step {
            *step.lock().unwrap() = (text, Instant::now());
        }
    });
    Ok(())
}

fn integer(state: State<'_>) -> Result<i64> {
    state
        .integer(1)
        .ok_or_else(|| Error::expected(state, 1, "number"))
}

/// `signal(signum)` sends a signal to this process.
fn signal(state: State<'_>) -> Result<()> {
    let signum = integer(state)?;
    // SAFETY: kill and getpid have no preconditions.
    let sent = unsafe { libc::kill(libc::getpid(), signum as c_int) };
    match sent {
        0 => Ok(()),
        _ => Err(Error::raise(std::io::Error::last_os_error().to_string())),
    }
}

/// `arrive(n)` adds n to a count that all threads share, and returns the count.
fn arrive(state: State<'_>) -> Result<Integer> {
    static ARRIVED: AtomicI64 = AtomicI64::new(0);
    let more = integer(state)?;
    Ok(Integer(ARRIVED.fetch_add(more, Ordering::SeqCst) + more))
}

lua_functions! {
    lua_note => note;
    lua_signal => signal;
    lua_arrive => arrive;
}

const TOOLS: [(&CStr, lua_CFunction); 3] = [
    (c"note", Some(lua_note)),
    (c"signal", Some(lua_signal)),
    (c"arrive", Some(lua_arrive)),
];

/// The script that the threads of a test run, and its arguments.
#[derive(Clone, Copy)]
struct Job {
    script: &'static [u8],
    name: &'static str,
    uri: &'static str,
    /// Seconds for worker.lua, rounds for barrier.lua.
    amount: u64,
}

impl Job {
    /// Runs the script in this thread. Returns the counts that it reports.
    fn run(self, number: usize) -> std::result::Result<Value, String> {
        let host = Interpreter::new().ok_or("no memory for a state")?;
        // SAFETY: this is made for `require` to call.
        unsafe { host.preload(c"flux", Some(flux::luaopen_flux)) }?;
        host.load(self.script, self.name)?;
        let pushed = host.state().protect(0, |writer| {
            writer.integer(number as i64);
            writer.integer(COUNT as i64);
            writer.bytes(self.uri.as_bytes());
            writer.integer(self.amount as i64);
            writer.table(0, TOOLS.len());
            for (name, function) in TOOLS {
                // SAFETY: Lua may call this function.
                unsafe { writer.function(function) };
                writer.set_field(-2, name);
            }
            5
        });
        pushed.map_err(|_| "no memory for the arguments")?;
        host.call(5)?;
        let counts = host.display(-1);
        serde_json::from_str(&counts).map_err(|error| format!("{error}: {counts}"))
    }

    /// Runs the script in all threads. Returns the counts of each, by number.
    fn run_all(self) -> Vec<Value> {
        let (ended, outcomes) = channel();
        let steps: Vec<Step> = (0..COUNT)
            .map(|_| Arc::new(Mutex::new(("start".to_owned(), Instant::now()))))
            .collect();
        for (number, step) in steps.iter().enumerate() {
            start(self, number, Arc::clone(step), ended.clone());
        }
        drop(ended);
        gather(&outcomes, &steps, PATIENCE * under::slowdown())
    }
}

type Outcome = (usize, std::result::Result<Value, String>);

fn start(job: Job, number: usize, step: Step, ended: Sender<Outcome>) {
    thread::spawn(move || {
        STEP.set(Some(step));
        let outcome = job.run(number);
        // The receiver is gone if another thread has failed.
        let _ = ended.send((number, outcome));
    });
}

/// Collects the counts of the threads, by number. Panics when a thread fails or
/// when they are stuck, with the step of each thread.
fn gather(outcomes: &Receiver<Outcome>, steps: &[Step], patience: Duration) -> Vec<Value> {
    let mut counts = vec![Value::Null; steps.len()];
    let mut left = steps.len();
    while left > 0 {
        match outcomes.recv_timeout(Duration::from_millis(200)) {
            Ok((number, Ok(counted))) => {
                counts[number] = counted;
                left -= 1;
            }
            Ok((_, Err(why))) => panic!("{why}\n{}", progress(steps)),
            Err(RecvTimeoutError::Disconnected) => panic!("a thread panicked\n{}", progress(steps)),
            Err(RecvTimeoutError::Timeout) => {
                // The threads wait for each other, so they are stuck only if
                // none of them has begun a new step for a long time.
                let idle = steps.iter().map(|step| step.lock().unwrap().1.elapsed());
                assert!(
                    idle.min() < Some(patience),
                    "the threads are stuck\n{}",
                    progress(steps)
                );
            }
        }
    }
    counts
}

/// A text that says what each thread does.
fn progress(steps: &[Step]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        let step = step.lock().unwrap();
        let idle = step.1.elapsed().as_secs_f32();
        let _ = writeln!(text, "thread {number}, for {idle:.1} s: {}", step.0);
    }
    text
}

/// How long the threads work: FLUX_LUA_THREADS_SECONDS, or 3.
fn seconds() -> u64 {
    let Ok(text) = env::var("FLUX_LUA_THREADS_SECONDS") else {
        return 3;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("FLUX_LUA_THREADS_SECONDS={text} is not a number"))
}

fn lookup(handle: &dyn Handle, key: &str) -> String {
    let future = handle.lookup(None, 0, key).unwrap();
    let value = future.payload().unwrap().unwrap_or_default();
    String::from_utf8(value.to_vec()).unwrap()
}

#[test]
fn a_barrier_counts_only_the_processes_that_entered_the_current_round() {
    let uri = "embed://threads-barrier";
    // Keeps the instance alive.
    let _handle = embedded::open(&format!("{uri}?size=4")).unwrap();
    let job = Job {
        script: include_bytes!("threads/barrier.lua"),
        name: "@tests/threads/barrier.lua",
        uri,
        amount: 100,
    };
    for counts in job.run_all() {
        assert_eq!(counts["rounds"], 100);
    }
}

#[test]
fn sixteen_threads_lose_nothing_and_do_nothing_twice() {
    let uri = "embed://threads";
    let handle = embedded::open(&format!("{uri}?size=4")).unwrap();
    let job = Job {
        script: include_bytes!("threads/worker.lua"),
        name: "@tests/threads/worker.lua",
        uri,
        amount: seconds(),
    };
    let counts = job.run_all();
    let rounds = agree(&counts);
    // The KVS has what the threads wrote: each line of the log exactly once.
    for number in 0..COUNT {
        assert_eq!(
            lookup(&*handle, &format!("threads.count.{number}")),
            rounds.to_string()
        );
    }
    let log = lookup(&*handle, "threads.log");
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    let numbers = 0..COUNT;
    let expected: Vec<String> = numbers
        .flat_map(|number| (1..=rounds).map(move |round| format!("{number:04}:{round:06}")))
        .collect();
    assert_eq!(lines, expected);
    println!(
        "{rounds} rounds of {COUNT} threads; each thread: {}",
        counts[0]
    );
}

/// Checks that each thread's counts fit the number of rounds, which it returns.
fn agree(counts: &[Value]) -> u64 {
    let rounds = counts[0]["rounds"].as_u64().expect("a number of rounds");
    assert!(rounds >= 1);
    let others = COUNT as u64 - 1;
    let orphans = rounds - rounds / COUNT as u64;
    for (number, count) in counts.iter().enumerate() {
        let expected = [
            ("rounds", rounds),
            ("answered", rounds * others * 3),
            ("served", rounds * others * 3),
            ("received", rounds * COUNT as u64 * 4),
            ("watched", rounds),
            ("fired", rounds * 4),
            ("signals", rounds),
            ("called", rounds * 5),
            ("calls_done", rounds),
            ("orphans", orphans),
            ("disconnects", orphans + rounds),
        ];
        for (what, expected) in expected {
            assert_eq!(count[what], expected, "{what} of thread {number}");
        }
        // A digest of the events in the order in which the thread received them.
        assert_eq!(count["order"], counts[0]["order"], "thread {number}");
    }
    let refused: u64 = counts
        .iter()
        .filter_map(|count| count["refused"].as_u64())
        .sum();
    assert!(refused > 0);
    rounds
}
