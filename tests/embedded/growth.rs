//! Tests that the embedded broker stays fast and small: in long runs, and with
//! many keys, ranks and threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Barrier};

use super::kvs::{append, change, put};
use super::*;
use flux::backend::kvs_flags::{READDIR, WATCH, WATCH_FULL};

#[test]
fn a_million_loopback_messages_do_not_leak() {
    let f = open("loop://");
    let payload = [b'x'; 300];
    let round = |count: usize| {
        for _ in 0..count {
            let tag = f.send("svc.x", Some(&payload), NODEID_ANY).unwrap();
            let request = f.recv(&Match::any(), NOW).unwrap();
            assert_eq!(request.matchtag().unwrap(), tag);
        }
    };
    round(1000);
    let before = measure::resident_mib();
    round(1_000_000);
    // If the messages were kept, they would take about 400 MiB. The limit is
    // above 0 because tests in other threads use memory too.
    let grown = measure::resident_mib().saturating_sub(before);
    assert!(grown < 200, "{grown} MiB");
}

#[test]
fn futures_dropped_without_an_answer_do_not_leak() {
    let f = open("embed://growth-given-up");
    f.subscribe("kvs").unwrap();
    f.unsubscribe("kvs").unwrap();
    put(&*f, "k", "1");
    let before = measure::resident_mib();
    for _ in 0..50_000 {
        drop(f.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap());
        drop(f.lookup(None, WATCH, "k").unwrap());
    }
    assert!(take(&*f, msgtype::ANY).is_none());
    let grown = measure::resident_mib().saturating_sub(before);
    assert!(grown < 200, "{grown} MiB");
}

#[test]
fn commits_to_a_directory_of_100_000_keys_stay_fast() {
    let f = open("embed://growth-keys");
    let put_range = |range: std::ops::Range<usize>| {
        let put_one = |i| put(&*f, &format!("d.key{i}"), "value");
        measure::cpu_time_of(|| range.for_each(put_one))
    };
    // The least of several times, as other programs slow down some of them.
    let put_ranges = |from: usize| {
        let ranges = (0..5).map(|n| put_range(from + n * 1_000..from + (n + 1) * 1_000));
        ranges.min().unwrap()
    };
    let first = put_ranges(0);
    put_range(5_000..95_000);
    let last = put_ranges(95_000);
    // The time grows with the logarithm, to about 1.4 times. If it grew with the
    // number of keys it would be 20 times.
    assert!(last < first * 6, "{first:?}, then {last:?}");
    let listing = f.lookup(None, READDIR, "d").unwrap();
    let entries = flux::backend::treeobj::dir_entries(listing.payload().unwrap().unwrap()).unwrap();
    assert_eq!(entries.len(), 100_000);

    // The same with a watch that compares each commit with the one before.
    let watch = f.lookup(None, WATCH | WATCH_FULL, "d.key0").unwrap();
    let watched = put_ranges(0);
    assert!(watched < first * 8, "{first:?}, watched {watched:?}");
    drop(watch);
}

/// Names in ascending order whose hashes also ascend, if the hash has the
/// standard library's fixed default key. They would make the tree behind a
/// directory as deep as it has names.
fn names_for_a_deep_tree(count: u64) -> Vec<String> {
    let hash = |name: &str| {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    };
    let band = u64::MAX / count;
    let ascending = |i: u64| {
        let mut names = (0u64..).map(|suffix| format!("n{i:06}-{suffix}"));
        names.find(|name| hash(name) / band == i)
    };
    (0..count).filter_map(ascending).collect()
}

#[test]
fn names_chosen_to_unbalance_a_directorys_tree_do_not_exhaust_the_stack() {
    let names = names_for_a_deep_tree(1000);
    assert_eq!(names.len(), 1000);
    let committing = std::thread::Builder::new().stack_size(256 << 10);
    let committed = committing.spawn(move || {
        let f = open("embed://growth-chosen-names");
        change(&*f, |t| {
            names.iter().try_for_each(|name| t.put(0, name, b"1"))
        })
        .unwrap();
        // This name comes first, so its insertion goes through the whole depth.
        put(&*f, "a", "1");
        let listing = f.lookup(None, READDIR, ".").unwrap();
        let entries = flux::backend::treeobj::dir_entries(listing.payload().unwrap().unwrap());
        entries.unwrap().len()
    });
    assert_eq!(committed.unwrap().join().unwrap(), 1001);
}

#[test]
fn appends_to_a_long_value_stay_fast() {
    let f = open("embed://growth-append");
    let run = |count: usize| {
        measure::cpu_time_of(|| (0..count).for_each(|_| append(&*f, "log", "line\n")))
    };
    let best = || (0..5).map(|_| run(1_000)).min().unwrap();
    let first = best();
    run(40_000);
    let last = best();
    assert!(last < first * 6, "{first:?}, then {last:?}");
    let log = f.lookup(None, 0, "log").unwrap();
    assert_eq!(log.payload().unwrap().unwrap().len(), 50_000 * 5);
    change(&*f, |t| t.unlink("log")).unwrap();
}

#[test]
fn ten_thousand_ranks_take_no_longer_to_open_than_ten() {
    let opening = |ranks: usize| {
        measure::best_cpu_time_of(20, || {
            drop(open(&format!("embed://growth-{ranks}?size={ranks}")))
        })
    };
    let (ten, many) = (opening(10), opening(10_000));
    assert!(many < ten * 20, "{ten:?} {many:?}");
    let f = open("embed://growth-ranks?size=10000&rank=9999");
    let pong = call_at(&*f, 5000, "broker.ping", json!({})).unwrap();
    assert_eq!(pong["rank"], 5000);
    assert_eq!(f.attr_get("tbon.level").unwrap(), "13");
}

#[test]
fn an_rpc_stays_fast_while_many_events_are_queued() {
    let f = open("embed://growth-queue");
    let calling = || {
        measure::best_cpu_time_of(5, || {
            for _ in 0..200 {
                call(&*f, "broker.ping", json!({})).unwrap();
            }
        })
    };
    let before = calling();
    f.subscribe("e").unwrap();
    (0..50_000).for_each(|_| f.send_event("e", None).unwrap());
    let queued = calling();
    assert!(queued < before * 10, "{before:?} {queued:?}");
    assert_eq!(std::iter::from_fn(|| take_event(&*f)).count(), 50_000);
}

const THREADS: usize = 16;
const ROUNDS: usize = 200;

/// The work of one thread: commits, appends, requests and events.
fn hammer(thread: usize, subscribed: &Barrier) {
    let rank = thread % 4;
    let f = open(&format!("embed://growth-threads?rank={rank}"));
    f.subscribe("done.").unwrap();
    subscribed.wait();
    for round in 0..ROUNDS {
        put(&*f, &format!("t{thread}.k{round}"), "x");
        append(&*f, "shared", "x");
        let request = json!({ "seq": round });
        assert_eq!(call(&*f, "counter.add", request).unwrap()["seq"], round);
    }
    f.send_event(&format!("done.{thread}"), None).unwrap();
    for _ in 0..THREADS {
        f.recv(&Match::of(msgtype::EVENT), None).unwrap();
    }
}

#[test]
fn no_commit_request_or_event_of_sixteen_threads_is_lost() {
    let f = open("embed://growth-threads?size=4");
    add_service(&*f, "counter").unwrap();
    let subscribed = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let subscribed = Arc::clone(&subscribed);
            std::thread::spawn(move || hammer(thread, &subscribed))
        })
        .collect();
    let mut counted = 0;
    let mut gone = 0;
    while gone < THREADS {
        let request = f.recv(&Match::of(msgtype::REQUEST), None).unwrap();
        if topic(&*request) == "counter.disconnect" {
            gone += 1;
        } else {
            counted += 1;
            f.respond(&*request, request.payload()).unwrap();
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(counted, THREADS * ROUNDS);
    let root = call(&*f, "kvs.getroot", json!({ "namespace": "primary" })).unwrap();
    assert_eq!(root["rootseq"], 2 * THREADS * ROUNDS);
    let shared = f.lookup(None, 0, "shared").unwrap();
    assert_eq!(shared.payload().unwrap().unwrap().len(), THREADS * ROUNDS);
    for thread in 0..THREADS {
        let listing = f.lookup(None, READDIR, &format!("t{thread}")).unwrap();
        let entries = flux::backend::treeobj::dir_entries(listing.payload().unwrap().unwrap());
        assert_eq!(entries.unwrap().len(), ROUNDS);
    }
}
