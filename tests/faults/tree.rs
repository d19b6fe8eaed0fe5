//! Tests of instances of several brokers of which one is killed: the parent of a
//! script's broker, rank 0, or the leaf with the service that a script calls.

use std::thread::sleep;
use std::time::Duration;

use crate::instance::Instance;
use crate::script::Script;
use crate::{LIMIT, check_calls_end};

const SIZE: u32 = 4;
const LEAF: usize = 3;
/// The time for a script to get from its last message to the call that waits.
const SETTLE: Duration = Duration::from_millis(500);

#[test]
fn when_a_brokers_parent_is_killed_timeouts_still_end_calls_of_its_scripts() {
    lose(LEAF - 1);
}

#[test]
fn when_rank_0_is_killed_timeouts_still_end_calls_of_scripts_on_a_leaf() {
    lose(0);
}

/// Kills a broker above a leaf. The leaf's broker goes on and does not tell its
/// clients, so only timeouts, or its own end, end the calls of scripts there.
fn lose(rank: usize) {
    Instance::each(SIZE, &[], |instance| lose_one(instance, rank));
}

fn lose_one(instance: &Instance, rank: usize) {
    let leaf = &instance.brokers[LEAF].target;
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
    // The script makes two calls that nobody answers, with timeouts of half a
    // second.
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
        check_calls_end(script, killed);
    }
}

/// The time until the other brokers notice that a broker is gone: when they next
/// send it something, at the latest a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(2);

#[test]
fn a_request_to_a_broker_that_is_killed_fails() {
    Instance::each(SIZE, &[], |instance| {
        let leaf = &instance.brokers[LEAF].target.uri;
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
