//! Tests of calls that wait for a broker when it is killed. A script for each
//! call waits on the same instance, whose broker is killed once; each test
//! checks one of the scripts.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use crate::check_calls_end;
use crate::installed::Flux;
use crate::instance::{Instance, skipped};
use crate::script::Script;

/// The time for a script to get from its last message to the call that waits.
const SETTLE: Duration = Duration::from_secs(1);

/// Makes a test for each call: the test's name and the script's case. A running
/// broker answers the calls in `at_once` at once, so it is stopped before they
/// are made.
macro_rules! calls {
    (waiting { $($waiting:ident => $wait:literal;)* } at_once { $($asking:ident => $call:literal;)* }) => {
        const WAITING: &[&str] = &[$($wait),*];
        const AT_ONCE: &[&str] = &[$($call),*];
        $(#[test] fn $waiting() { outcome($wait); })*
        $(#[test] fn $asking() { outcome($call); })*
    };
}

calls! {
    waiting {
        rpc_ends_when_the_broker_is_killed => "rpc";
        rpc_with_a_later_timeout_ends_when_the_broker_is_killed => "rpc_with_a_timeout";
        recv_of_one_response_ends_when_the_broker_is_killed => "recv_of_one_response";
        recv_with_a_later_deadline_ends_when_the_broker_is_killed => "recv_of_a_response_with_a_timeout";
        recv_of_any_response_ends_when_the_broker_is_killed => "recv";
        recvmsg_ends_when_the_broker_is_killed => "recvmsg";
        recv_event_ends_when_the_broker_is_killed => "recv_event";
        barrier_with_a_missing_process_ends_when_the_broker_is_killed => "barrier";
        barrier_with_two_of_three_processes_ends_for_the_first_when_the_broker_is_killed => "barrier_of_others";
        barrier_with_two_of_three_processes_ends_for_the_second_when_the_broker_is_killed => "barrier_of_others_too";
        kvs_watch_of_an_absent_key_ends_when_the_broker_is_killed => "kvs_watch_of_what_is_not_there";
        kvs_watch_of_a_change_ends_when_the_broker_is_killed => "kvs_watch_of_a_change";
        watch_dir_ends_when_the_broker_is_killed => "watch_dir";
        reactor_with_a_msghandler_ends_when_the_broker_is_killed => "reactor_with_a_msghandler";
        reactor_with_only_a_timer_ends_when_the_broker_is_killed => "reactor_with_a_timer";
        reactor_with_a_repeating_timer_ends_when_the_broker_is_killed => "reactor_with_a_repeating_timer";
        reactor_with_only_an_fdwatcher_ends_when_the_broker_is_killed => "reactor_with_an_fdwatcher";
        reactor_with_only_an_iowatcher_ends_when_the_broker_is_killed => "reactor_with_an_iowatcher";
        reactor_with_an_iowatcher_of_a_key_ends_when_the_broker_is_killed => "reactor_with_an_iowatcher_of_a_key";
        reactor_with_only_a_statwatcher_ends_when_the_broker_is_killed => "reactor_with_a_statwatcher";
        reactor_with_only_a_sighandler_ends_when_the_broker_is_killed => "reactor_with_a_sighandler";
        reactor_with_a_kvswatcher_ends_when_the_broker_is_killed => "reactor_with_a_kvswatcher";
        reactor_once_ends_when_the_broker_is_killed => "reactor_once";
        reactor_nowait_fails_once_the_broker_is_killed => "reactor_nowait_again_and_again";
        reactor_in_a_handler_ends_when_the_broker_is_killed => "reactor_in_a_handler";
        rpc_in_a_handler_ends_when_the_broker_is_killed => "rpc_in_a_handler";
        rpc_in_a_coroutine_ends_when_the_broker_is_killed => "rpc_in_a_coroutine";
    }
    at_once {
        the_first_call_of_a_handle_ends_when_the_broker_is_killed => "call_of_a_new_handle";
        getattr_ends_when_the_broker_is_killed => "getattr";
        subscribe_ends_when_the_broker_is_killed => "subscribe";
        unsubscribe_ends_when_the_broker_is_killed => "unsubscribe";
        barrier_of_one_process_ends_when_the_broker_is_killed => "barrier_entry";
        kvs_get_ends_when_the_broker_is_killed => "kvs_get";
        kvs_commit_ends_when_the_broker_is_killed => "kvs_commit";
        kvs_type_ends_when_the_broker_is_killed => "kvs_type";
        kvsdir_ends_when_the_broker_is_killed => "kvsdir";
        indexing_a_kvsdir_ends_when_the_broker_is_killed => "dir_index";
        commit_of_a_kvsdir_ends_when_the_broker_is_killed => "dir_commit";
        kvswatcher_ends_when_the_broker_is_killed => "kvswatcher";
        kz_open_ends_when_the_broker_is_killed => "kz_open";
        kz_write_ends_when_the_broker_is_killed => "kz_write";
        kz_read_ends_when_the_broker_is_killed => "kz_read";
        kz_close_ends_when_the_broker_is_killed => "kz_close";
    }
}

/// For each call, how long its script took to notice the fault, or what failed.
type Outcomes = HashMap<&'static str, Result<Duration, String>>;

/// Checks the scripts that made this call, one on each Flux.
fn outcome(call: &str) {
    static OUTCOMES: OnceLock<Vec<(String, Result<Outcomes, String>)>> = OnceLock::new();
    let outcomes = OUTCOMES.get_or_init(|| {
        let fluxes = Flux::all();
        let kill = |flux: &Flux| caught(|| kill_under_all(flux));
        let outcomes = fluxes.iter().map(|flux| (flux.to_string(), kill(flux)));
        outcomes.collect()
    });
    if outcomes.is_empty() {
        skipped("no flux is in FLUX_PREFIX, PATH or pkg-config");
    }
    for (flux, outcomes) in outcomes {
        let outcomes = outcomes.as_ref();
        match &outcomes.unwrap_or_else(|why| panic!("{flux}: {why}"))[call] {
            Ok(took) => println!("{call} on {flux} ended after a sleep of {took:?}"),
            Err(why) => panic!("{flux}: {why}"),
        }
    }
}

/// Runs a script for each call on one instance, kills its broker, and checks the
/// scripts.
fn kill_under_all(flux: &Flux) -> Outcomes {
    let instance = Instance::start(flux.clone(), 1, &[]);
    let start = |call: &&'static str| {
        let mut script = Script::start("waits.lua", &[call], instance.target());
        script.says("ready");
        (*call, script)
    };
    let mut waiting: Vec<_> = WAITING.iter().map(start).collect();
    let mut asking: Vec<_> = AT_ONCE.iter().map(start).collect();
    for (_, script) in &mut waiting {
        script.go();
    }
    sleep(SETTLE);
    instance.stop();
    for (_, script) in &mut asking {
        script.go();
    }
    sleep(SETTLE);
    waiting.append(&mut asking);
    let silent: Vec<_> = waiting
        .iter()
        .map(|(_, script)| script.is_silent())
        .collect();
    instance.kill(0);
    let killed: Vec<_> = waiting.iter().map(|(_, script)| script.slept()).collect();
    let checked = waiting.into_iter().zip(silent).zip(killed);
    let checked = checked.map(|(((call, script), is_silent), killed)| {
        let check_calls_end = || {
            assert!(is_silent, "{call} does not wait");
            check_calls_end(script, killed)
        };
        (call, caught(check_calls_end))
    });
    checked.collect()
}

/// Turns a panic into an error with its text.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|why| match why.downcast_ref::<String>() {
        Some(why) => why.clone(),
        None => "it panicked".to_owned(),
    })
}
