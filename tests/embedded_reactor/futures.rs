//! Tests of futures with a continuation: a callback that runs in the reactor
//! when the answer arrives.

use super::*;
use flux::backend::{Future, kvs_flags, rpc_flags};

/// Commits a value.
fn put(f: &dyn Handle, key: &str, value: &str) {
    let mut transaction = f.transaction().unwrap();
    transaction.put(0, key, value.as_bytes()).unwrap();
    let future = f.commit(None, 0, &mut *transaction).unwrap();
    future.wait(None).unwrap();
}

/// The payload of a future as text, or the errno of its error.
fn outcome(future: &dyn Future) -> String {
    match future.payload() {
        Ok(payload) => String::from_utf8(payload.unwrap_or_default().to_vec()).unwrap(),
        Err(error) => error.errnum.to_string(),
    }
}

/// Gives a future a continuation that adds its outcome to the list.
fn then(future: Box<dyn Future>, seen: &Seen) -> Box<dyn Watcher> {
    let seen = seen.clone();
    future
        .then(Rc::new(move |future| seen.push(outcome(future))))
        .unwrap()
}

#[test]
fn a_continuation_runs_once_and_its_watcher_becomes_inactive() {
    let f = open("embed://futures-call");
    put(&*f, "a", "1");
    let seen = Seen::default();
    let ping = f.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap();
    let _ping = then(ping, &seen);
    let _unknown = then(f.rpc("no.such", None, NODEID_ANY, 0).unwrap(), &seen);
    let _lookup = then(f.lookup(None, 0, "a").unwrap(), &seen);
    let _missing = then(f.lookup(None, 0, "b").unwrap(), &seen);
    assert_eq!(seen.len(), 0);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    let mut outcomes = seen.take();
    outcomes.sort();
    assert_eq!(outcomes[..3], ["1", "2", "38"]);
    assert!(outcomes[3].contains("rolemask"), "{outcomes:?}");
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.len(), 0);
}

#[test]
fn continuations_run_in_the_order_of_the_answers() {
    let f = open("embed://futures-order");
    let seen = Seen::default();
    let _watchers: Vec<_> = (0..5)
        .map(|i| {
            put(&*f, "k", &i.to_string());
            then(f.lookup(None, 0, "k").unwrap(), &seen)
        })
        .collect();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_continuation_runs_even_if_the_answer_arrived_before() {
    let f = open("embed://futures-waited");
    let seen = Seen::default();
    let future = f.rpc("no.such", None, NODEID_ANY, 0).unwrap();
    future.wait(None).unwrap();
    let _watcher = then(future, &seen);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), [libc::ENOSYS.to_string()]);
}

#[test]
fn the_continuation_of_a_kvs_watch_gets_every_value_in_order() {
    let f = open("embed://futures-watch");
    let writer = open("embed://futures-watch");
    put(&*f, "k", "0");
    let seen = Seen::default();
    let watcher = then(f.lookup(None, kvs_flags::WATCH, "k").unwrap(), &seen);
    for i in 1..100 {
        put(&*writer, "k", &i.to_string());
    }
    while seen.len() < 100 {
        assert_eq!(f.reactor_run(RunMode::Once).unwrap(), 1);
    }
    let expected: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    assert_eq!(seen.take(), expected);
    drop(watcher);
    put(&*writer, "k", "late");
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.len(), 0);
    assert_eq!(errnum(f.recv(&Match::any(), NOW)), libc::ETIMEDOUT);
}

#[test]
fn the_continuation_of_a_stream_gets_each_response_and_the_final_error() {
    let f = open("embed://futures-end");
    let seen = Seen::default();
    let request = br#"{"follow":false}"#;
    f.log(6, "one\ntwo").unwrap();
    let flags = rpc_flags::STREAMING;
    let log = f.rpc("log.dmesg", Some(request), NODEID_ANY, flags);
    let _watcher = then(log.unwrap(), &seen);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    let lines = seen.take();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("one") && lines[1].contains("two"));
    assert_eq!(lines[2], libc::ENODATA.to_string());
}

#[test]
fn a_continuation_that_drops_its_watcher_ends_the_stream() {
    let f = open("embed://futures-self");
    put(&*f, "k", "0");
    let seen = Seen::default();
    let kept = Kept::default();
    let future = f.lookup(None, kvs_flags::WATCH, "k").unwrap();
    let continuation = {
        let (seen, kept) = (seen.clone(), kept.clone());
        move |future: &dyn Future| {
            kept.drop_all();
            // The future stays valid while the continuation runs.
            seen.push(outcome(future));
        }
    };
    kept.keep(future.then(Rc::new(continuation)).unwrap());
    put(&*f, "k", "1");
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    put(&*f, "k", "2");
    turns(&*f, 3);
    assert_eq!(seen.take(), ["0"]);
}

#[test]
fn a_continuation_is_not_entered_again_by_a_reactor_run_inside_it() {
    let f = open("embed://futures-nested");
    put(&*f, "k", "0");
    let seen = Seen::default();
    let future = f.lookup(None, kvs_flags::WATCH, "k").unwrap();
    let continuation = {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move |future: &dyn Future| {
            seen.push(format!("<{}", outcome(future)));
            if outcome(future) == "0" {
                put(&*f, "k", "1");
                put(&*f, "k", "2");
            }
            turns(&*f, 5);
            seen.push(format!("{}>", outcome(future)));
        }
    };
    let _watcher = future.then(Rc::new(continuation)).unwrap();
    turns(&*f, 10);
    assert_eq!(seen.take(), ["<0", "0>", "<1", "1>", "<2", "2>"]);
}

#[test]
fn the_last_continuation_can_run_the_reactor() {
    let f = open("embed://futures-last");
    let seen = Seen::default();
    let future = f.rpc("no.such", None, NODEID_ANY, 0).unwrap();
    let continuation = {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move |_: &dyn Future| {
            let active = f.reactor_run(RunMode::Forever).unwrap();
            seen.push(active.to_string());
        }
    };
    let _watcher = future.then(Rc::new(continuation)).unwrap();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["0"]);
}

#[test]
fn a_continuation_can_send_the_next_request() {
    fn next(f: &Rc<dyn Handle>, kept: &Kept, count: &Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        if count.get() == 1000 {
            return;
        }
        let future = f.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap();
        let (g, k, c) = (Rc::clone(f), kept.clone(), Rc::clone(count));
        let watcher = future.then(Rc::new(move |_| next(&g, &k, &c))).unwrap();
        kept.keep(watcher);
    }
    let f = open("embed://futures-chain");
    let kept = Kept::default();
    let count = Rc::new(Cell::new(0));
    next(&f, &kept, &count);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(count.get(), 1000);
    kept.drop_all();
}
