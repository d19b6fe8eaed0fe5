//! Tests of services that go away or never answer: broker modules that are
//! removed while requests wait, services whose handle was closed, and services
//! that keep requests without an answer.

use std::thread::sleep;
use std::time::Duration;

use crate::instance::Instance;
use crate::script::{Script, Target};
use crate::{check_calls_end, host};

/// The time for a script to get from its last message to the call that waits.
const SETTLE: Duration = Duration::from_millis(500);
/// How much longer than its timeout a call may sleep.
const LATE: Duration = Duration::from_millis(150);

#[test]
fn removing_the_kvs_module_ends_requests_that_wait_for_it() {
    Instance::each(1, &[], |instance| {
        let scripts = waiting(instance, &["rpc_to_the_kvs", "recv_from_the_kvs"]);
        instance.flux(&["module", "remove", "-f", "kvs"]);
        if instance.forgets_requests() {
            instance.kill(0);
        }
        let ended: Vec<_> = scripts.iter().map(Script::slept).collect();
        for (script, ended) in scripts.into_iter().zip(ended) {
            check_calls_end(script, ended);
        }
    });
}

/// The kvs-watch module does not tell its clients that it is removed, as `flux
/// kvs get --watch` shows, so existing watches end only with the broker.
#[test]
fn after_kvs_watch_is_removed_new_watches_fail_and_old_ones_end_with_the_broker() {
    Instance::each(1, &[], |instance| {
        let calls = ["kvs_watch", "watch_dir", "kvswatcher", "iowatcher_of_a_key"];
        let scripts = waiting(instance, &calls);
        instance.flux(&["module", "remove", "-f", "kvs-watch"]);
        for call in calls {
            let mut script = Script::start_in(instance, "services.lua", &[call]);
            script.says("ready");
            let begun = script.go();
            println!(
                "{call} after the module: {:?}",
                check_calls_end(script, begun)
            );
        }
        instance.kill(0);
        let killed: Vec<_> = scripts.iter().map(Script::slept).collect();
        for (script, killed) in scripts.into_iter().zip(killed) {
            check_calls_end(script, killed);
        }
    });
}

/// Starts a script for each call. Returns when all of them wait in their calls.
fn waiting(instance: &Instance, calls: &[&str]) -> Vec<Script> {
    let start = |call: &&str| Script::start_in(instance, "services.lua", &[call]);
    let mut scripts: Vec<_> = calls.iter().map(start).collect();
    for script in &mut scripts {
        script.says("ready");
        script.go();
    }
    sleep(SETTLE);
    assert!(
        scripts.iter().all(|script| script.is_silent()),
        "a call does not wait"
    );
    scripts
}

/// On a real instance, and on the embedded broker.
fn everywhere(test: impl Fn(&Target)) {
    test(&Target::embedded("embed://"));
    Instance::each(1, &[], |instance| test(instance.target()));
}

/// The script prints how long each call took, and its timeout. A call may take
/// longer if the machine is busy, but may not sleep longer.
#[test]
fn a_service_that_never_answers_ends_each_call_at_its_timeout() {
    everywhere(|target| {
        let mut script = Script::run(host::command("timeouts.lua", &[]), target, "timeouts.lua");
        let mut calls = 0;
        while let (begun, Some(_)) = script.says_either("calls", "closed") {
            let (ended, times) = script.says("took");
            let slept = ended - begun;
            let seconds = |word: &str| Duration::from_secs_f64(word.parse().expect("seconds"));
            let (took, due) = times.split_once(' ').expect("the line has two times");
            let (took, due) = (seconds(took), seconds(due));
            assert!(took >= due, "{target}: {took:?} is before {due:?}");
            assert!(
                slept < due + LATE,
                "{target}: it slept {slept:?} for {due:?}"
            );
            calls += 1;
        }
        assert_eq!(calls, 21);
        script.finish();
    });
}

#[test]
fn requests_to_a_service_whose_handle_was_closed_fail() {
    everywhere(|target| {
        let mut script = Script::start("taken_away.lua", &[], target);
        script.says("ready");
        let begun = script.go();
        println!("{target}: {:?}", check_calls_end(script, begun));
    });
}
