//! Instances of several brokers of which one is killed: the one that a script
//! on a leaf goes through, rank 0, and a leaf.

use std::thread::sleep;
use std::time::Duration;

use crate::instance::Instance;
use crate::script::Script;
use crate::{LIMIT, judge};

const SIZE: u32 = 4;
const LEAF: usize = 3;
/// What a script is given to come from its last word to the call that waits.
const SETTLE: Duration = Duration::from_millis(500);

#[test]
fn scripts_on_a_leaf_whose_parent_was_killed_keep_their_timeouts_and_end_with_their_broker() {
    lose(LEAF - 1);
}

#[test]
fn scripts_on_a_leaf_of_an_instance_without_rank_0_keep_their_timeouts_and_end_with_their_broker() {
    lose(0);
}

/// A broker does not tell its clients that its own parent is gone, and goes on.
fn lose(rank: usize) {
    Instance::each(SIZE, &[], |instance| lose_one(instance, rank));
}

fn lose_one(instance: &Instance, rank: usize) {
    let leaf = &instance.brokers[LEAF].place;
    let start = |call: &str| {
        let mut script = Script::start("waits.lua", &[call], leaf);
        script.says("ready");
        script.go();
        script
    };
    let calls = [
        "rpc",
        "recv_event",
        "kvs_watch_of_what_is_not_there",
        "reactor_with_a_timer",
    ];
    let waiting: Vec<_> = calls.into_iter().map(start).collect();
    let mut asking = Script::start("upstream.lua", &[], leaf);
    asking.says("ready");
    sleep(SETTLE);
    instance.kill(rank);
    // Two requests, half a second each, that nobody answers any more.
    let begun = asking.go();
    let (ended, why) = asking.says("ended");
    let took = ended - begun;
    assert!(took < LIMIT + LIMIT / 2, "{took:?}");
    println!("rank {rank} killed: upstream ended after {took:?}: {why}");
    asking.finish();
    let told = waiting.iter().filter(|script| !script.is_silent()).count();
    println!(
        "{told} of {} scripts ended before their broker",
        waiting.len()
    );
    instance.kill(LEAF);
    let killed: Vec<_> = waiting.iter().map(Script::slept).collect();
    for (script, killed) in waiting.into_iter().zip(killed) {
        judge(script, killed);
    }
}

/// The other brokers notice with what they send it next, at the latest their
/// heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);

#[test]
fn a_request_to_a_leaf_that_was_killed_fails() {
    Instance::each(SIZE, &[], |instance| {
        let leaf = &instance.brokers[LEAF].place.uri;
        let mut script = Script::start_in(instance, "downstream.lua", &[leaf]);
        script.says("ready");
        script.go();
        sleep(SETTLE);
        instance.kill(LEAF);
        let killed = script.slept();
        let (ended, why) = script.says("ended");
        let took = ended.saturating_sub(killed);
        assert!(took < HEARTBEAT + LIMIT, "{took:?}");
        println!("ended after {took:?}: {why}");
        script.finish();
    });
}
