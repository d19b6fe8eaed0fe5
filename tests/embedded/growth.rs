//! That it stays fast and small: long runs, many keys, many ranks, many
//! threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Barrier};

use super::kvs::{append, change, put};
use super::*;
use flux::backend::kvs_flags::{READDIR, WATCH, WATCH_FULL};

/// The process's resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

const MIB: usize = 1 << 20;

#[test]
fn a_million_loop_messages_leave_no_memory_behind() {
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
    let before = resident();
    round(1_000_000);
    // Other tests run meanwhile; the messages would be 400 MiB.
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 200, "{grown} MiB");
}

#[test]
fn futures_given_up_leave_no_memory_behind() {
    let f = open("embed://growth-given-up");
    f.subscribe("kvs").unwrap();
    f.unsubscribe("kvs").unwrap();
    put(&*f, "k", "1");
    let before = resident();
    for _ in 0..50_000 {
        drop(f.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap());
        drop(f.lookup(None, WATCH, "k").unwrap());
    }
    assert!(take(&*f, msgtype::ANY).is_none());
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 200, "{grown} MiB");
}

#[test]
fn a_directory_of_100_000_keys_takes_changes_as_fast_as_a_small_one() {
    let f = open("embed://growth-keys");
    let put_range = |range: std::ops::Range<usize>| {
        let put_one = |i| put(&*f, &format!("d.key{i}"), "value");
        cpu::of(|| range.for_each(put_one))
    };
    // The best of as many as there are, as other programs disturb some.
    let put_ranges = |from: usize| {
        let ranges = (0..5).map(|n| put_range(from + n * 1_000..from + (n + 1) * 1_000));
        ranges.min().unwrap()
    };
    let first = put_ranges(0);
    put_range(5_000..95_000);
    let last = put_ranges(95_000);
    // Logarithmic, so about 1.4 times; linear would be 20 times.
    assert!(last < first * 6, "{first:?}, then {last:?}");
    let listing = f.lookup(None, READDIR, "d").unwrap();
    let entries = flux::backend::treeobj::dir_entries(listing.payload().unwrap().unwrap()).unwrap();
    assert_eq!(entries.len(), 100_000);

    // A watcher that looks at every commit, and at a snapshot of its own.
    let watch = f.lookup(None, WATCH | WATCH_FULL, "d.key0").unwrap();
    let watched = put_ranges(0);
    assert!(watched < first * 8, "{first:?}, watched {watched:?}");
    drop(watch);
}

/// Names in ascending order whose hashes by a key that everybody knows ascend.
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
fn names_chosen_against_a_directorys_hash_do_not_exhaust_the_stack() {
    let names = names_for_a_deep_tree(1000);
    assert_eq!(names.len(), 1000);
    let committing = std::thread::Builder::new().stack_size(256 << 10);
    let committed = committing.spawn(move || {
        let f = open("embed://growth-chosen-names");
        change(&*f, |t| {
            names.iter().try_for_each(|name| t.put(0, name, b"1"))
        })
        .unwrap();
        // Before all others: as deep as the tree is.
        put(&*f, "a", "1");
        let listing = f.lookup(None, READDIR, ".").unwrap();
        let entries = flux::backend::treeobj::dir_entries(listing.payload().unwrap().unwrap());
        entries.unwrap().len()
    });
    assert_eq!(committed.unwrap().join().unwrap(), 1001);
}

#[test]
fn appending_does_not_slow_down() {
    let f = open("embed://growth-append");
    let run = |count: usize| cpu::of(|| (0..count).for_each(|_| append(&*f, "log", "line\n")));
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
        cpu::at_best(20, || {
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
fn a_queue_of_many_events_does_not_slow_down_an_rpc() {
    let f = open("embed://growth-queue");
    let calling = || {
        cpu::at_best(5, || {
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

/// What each thread does: everything at once.
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
fn sixteen_threads_agree_on_what_they_did() {
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
