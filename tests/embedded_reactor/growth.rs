//! Tests that the reactor stays fast and small: in long runs, and with many
//! watchers and threads.

use std::sync::mpsc;
use std::thread;

use super::*;
use flux::backend::kvs_flags;

/// Answers each event `own` with an event `other`, `count` times. Calls `begin`
/// once it is ready to receive.
fn play(own: &str, other: &'static str, count: usize, begin: impl FnOnce(&dyn Handle)) {
    let f = open("embed://growth-ping-pong");
    let seen = Rc::new(Cell::new(0));
    let _handler = handler(&*f, msgtype::EVENT, own, {
        let (f, seen) = (Rc::clone(&f), Rc::clone(&seen));
        move |_| {
            seen.set(seen.get() + 1);
            f.send_event(other, None).unwrap();
            if seen.get() == count {
                f.reactor_stop();
            }
        }
    });
    f.subscribe(own).unwrap();
    begin(&*f);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
    assert_eq!(seen.get(), count);
}

#[test]
fn two_threads_exchange_100_000_events() {
    let _instance = open("embed://growth-ping-pong");
    let (ready, is_ready) = mpsc::channel();
    let ping = thread::spawn(move || {
        play("ping", "pong", 50_000, |_| ready.send(()).unwrap());
    });
    // The first event is sent when the other thread has subscribed.
    is_ready.recv().unwrap();
    play("pong", "ping", 50_000, |f| {
        f.send_event("ping", None).unwrap()
    });
    ping.join().unwrap();
}

/// Makes `many` timers, lets them all fire, and checks their order. The exact
/// time at which a timer is due is not known, only its bounds: the clock just
/// before and just after the timer was made, plus its delay.
fn fire(many: u32) {
    let f = open("loop://");
    // The latest lower bound of the timers that have fired.
    let last = Rc::new(Cell::new(Instant::now()));
    let count = Rc::new(Cell::new(0));
    let mut timers = Vec::new();
    for i in 0..many {
        // Delays in a mixed order; many are equal.
        let after = Duration::from_millis(u64::from(i.wrapping_mul(2_654_435_761) % 1000));
        let (last, count) = (Rc::clone(&last), Rc::clone(&count));
        let latest = Rc::new(Cell::new(None));
        let due = Rc::clone(&latest);
        let earliest = Instant::now() + after;
        timers.push(timer(&*f, after.as_secs_f64(), move || {
            let latest: Instant = due.get().expect("the timer was made before it fired");
            assert!(
                latest >= last.get(),
                "a timer that was due later fired first"
            );
            last.set(last.get().max(earliest));
            count.set(count.get() + 1);
        }));
        latest.set(Some(Instant::now() + after));
    }
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(count.get(), many);
}

#[test]
fn a_hundred_thousand_timers_fire_in_order_and_without_quadratic_cost() {
    let few = measure::best_cpu_time_of(3, || fire(5_000));
    let many = measure::best_cpu_time_of(2, || fire(100_000));
    // Twenty times as many timers take somewhat more than twenty times as long.
    // With quadratic cost they would take 400 times as long.
    assert!(many < few * 100, "{few:?} {many:?}");
}

#[test]
fn a_message_is_compared_only_with_patterns_that_start_like_its_topic() {
    let handling = |patterns: usize| {
        let f = open("loop://");
        let count = Rc::new(Cell::new(0));
        let _handlers: Vec<_> = (0..patterns)
            .map(|i| {
                let count = Rc::clone(&count);
                let pattern = format!("service-{i}.*");
                handler(&*f, msgtype::REQUEST, &pattern, move |_| {
                    count.set(count.get() + 1)
                })
            })
            .collect();
        let used = measure::best_cpu_time_of(3, || {
            for _ in 0..500 {
                f.send("service-7.x", None, NODEID_ANY).unwrap();
                turns(&*f, 1);
            }
        });
        assert_eq!(count.get(), 1500);
        used
    };
    let (few, many) = (handling(20), handling(20_000));
    // Comparing each topic with every pattern would take a thousand times as
    // long.
    assert!(many < few * 20, "{few:?} {many:?}");
}

#[test]
fn a_handle_opens_no_descriptors_until_its_reactor_waits() {
    // Other tests open descriptors meanwhile, but not as many as a hundred.
    let open_fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_fds();
    let handles: Vec<_> = (0..200).map(|_| open("embed://growth-fds")).collect();
    for f in &handles {
        let _handler = noting(&**f, msgtype::EVENT, "*", &Seen::default(), "event");
        let _timer = timer(&**f, 0.0, || ());
        turns(&**f, 2);
    }
    assert!(open_fds() < before + 100);
    for f in &handles {
        let _handler = noting(&**f, msgtype::EVENT, "*", &Seen::default(), "event");
        let _timer = timer(&**f, 0.0001, || ());
        let _signal = watch(&**f, Source::Signal(libc::SIGTTIN), |_| ());
        f.reactor_run(RunMode::Once).unwrap();
    }
    drop(handles);
    assert!(open_fds() < before + 100);
}

#[test]
fn watchers_that_are_dropped_do_not_leak() {
    let f = open("embed://growth-watchers");
    let round = |count: usize| {
        for i in 0..count {
            let _timer = repeating(&*f, 100.0, 1.0, || ());
            let _handler = handler(&*f, msgtype::REQUEST, &format!("t.{i}"), |_| ());
            let _pattern = handler(&*f, msgtype::EVENT, &format!("t.{i}.*"), |_| ());
            let _signal = watch(&*f, Source::Signal(libc::SIGTTOU), |_| ());
            let ready = f.lookup(None, 0, ".").unwrap();
            let _ready = ready.then(Rc::new(|_| ())).unwrap();
            let stream = f.lookup(None, kvs_flags::WATCH, "k").unwrap();
            let _stream = stream.then(Rc::new(|_| ())).unwrap();
            if i % 10 == 0 {
                turns(&*f, 1);
            }
        }
    };
    round(1000);
    let before = measure::resident_mib();
    round(100_000);
    let grown = measure::resident_mib().saturating_sub(before);
    // Tests in other threads use memory too.
    assert!(grown < 150, "{grown} MiB");
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
}

#[test]
fn a_million_handled_messages_do_not_leak() {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let _handler = handler(&*f, msgtype::EVENT, "a.*", {
        let count = Rc::clone(&count);
        move |_| count.set(count.get() + 1)
    });
    let payload = [b'x'; 300];
    let before = measure::resident_mib();
    for _ in 0..1_000_000 {
        f.send_event("a.b", Some(&payload)).unwrap();
        turns(&*f, 1);
    }
    assert_eq!(count.get(), 1_000_000);
    let grown = measure::resident_mib().saturating_sub(before);
    assert!(grown < 150, "{grown} MiB");
}
