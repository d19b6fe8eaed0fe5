//! Modules that are removed with requests pending, services that another
//! handle offered and does no more, and services that never answer.

use std::thread::sleep;
use std::time::Duration;

use crate::instance::Instance;
use crate::script::{Place, Script};
use crate::{host, judge};

/// What a script is given to come from its last word to the call that waits.
const SETTLE: Duration = Duration::from_millis(500);
/// How much longer than its timeout a call may sleep.
const LATE: Duration = Duration::from_millis(150);

#[test]
fn removing_the_kvs_module_ends_the_requests_that_it_holds() {
    Instance::each(1, &[], |instance| {
        let scripts = waiting(instance, &["rpc_to_the_kvs", "recv_from_the_kvs"]);
        instance.flux(&["module", "remove", "-f", "kvs"]);
        if instance.forgets_requests() {
            instance.kill(0);
        }
        let ended: Vec<_> = scripts.iter().map(Script::slept).collect();
        for (script, ended) in scripts.into_iter().zip(ended) {
            judge(script, ended);
        }
    });
}

/// kvs-watch goes without a word to those who watch, as `flux kvs get --watch`
/// shows; so that a watch ends only with the broker.
#[test]
fn removing_the_kvs_watch_module_fails_new_watches_and_leaves_old_ones_to_the_broker() {
    Instance::each(1, &[], |instance| {
        let calls = ["kvs_watch", "watch_dir", "kvswatcher", "iowatcher_of_a_key"];
        let scripts = waiting(instance, &calls);
        instance.flux(&["module", "remove", "-f", "kvs-watch"]);
        for call in calls {
            let mut script = Script::start_in(instance, "services.lua", &[call]);
            script.says("ready");
            let begun = script.go();
            println!("{call} after the module: {:?}", judge(script, begun));
        }
        instance.kill(0);
        let killed: Vec<_> = scripts.iter().map(Script::slept).collect();
        for (script, killed) in scripts.into_iter().zip(killed) {
            judge(script, killed);
        }
    });
}

fn waiting(instance: &Instance, calls: &[&str]) -> Vec<Script> {
    let start = |call: &&str| Script::start_in(instance, "services.lua", &[call]);
    let mut scripts: Vec<_> = calls.iter().map(start).collect();
    for script in &mut scripts {
        script.says("ready");
        script.go();
    }
    sleep(SETTLE);
    assert!(scripts.iter().all(|script| script.is_silent()), "they wait");
    scripts
}

/// On a real instance, and on the embedded broker.
fn everywhere(test: impl Fn(&Place)) {
    test(&Place::embedded("embed://"));
    Instance::each(1, &[], |instance| test(instance.place()));
}

/// The script times itself: `took`, how long, and how long was right. It is not
/// given the processor at once when it has slept that long.
#[test]
fn a_service_that_never_answers_ends_each_call_at_its_timeout() {
    everywhere(|place| {
        let mut script = Script::run(host::command("timeouts.lua", &[]), place, "timeouts.lua");
        let mut calls = 0;
        while let (begun, Some(_)) = script.says_either("calls", "closed") {
            let (ended, times) = script.says("took");
            let slept = ended - begun;
            let seconds = |word: &str| Duration::from_secs_f64(word.parse().expect("seconds"));
            let (took, due) = times.split_once(' ').expect("two times");
            let (took, due) = (seconds(took), seconds(due));
            assert!(took >= due, "{place}: {took:?} is before {due:?}");
            assert!(
                slept < due + LATE,
                "{place}: it slept {slept:?} for {due:?}"
            );
            calls += 1;
        }
        assert_eq!(calls, 21);
        script.finish();
    });
}

#[test]
fn a_service_that_its_handle_took_away_is_not_there() {
    everywhere(|place| {
        let mut script = Script::start("taken_away.lua", &[], place);
        script.says("ready");
        let begun = script.go();
        println!("{place}: {:?}", judge(script, begun));
    });
}
