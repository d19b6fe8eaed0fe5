//! Tests of running the reactor: when a run ends, runs inside callbacks, and
//! what callbacks are allowed to do.

use super::*;

#[test]
fn a_reactor_with_nothing_to_wait_for_returns_at_once() {
    for uri in ["loop://", "embed://runs-nothing"] {
        let f = open(uri);
        for mode in [RunMode::Forever, RunMode::Once, RunMode::NoWait] {
            assert_eq!(f.reactor_run(mode).unwrap(), 0);
        }
    }
}

#[test]
fn once_waits_for_the_first_event_and_nowait_does_not_wait() {
    let f = open("loop://");
    let seen = Seen::default();
    let note = |name: &'static str| {
        let seen = seen.clone();
        move || seen.push(name)
    };
    let far = timer(&*f, 1e6, note("far"));
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
    assert_eq!(seen.len(), 0);
    let _a = timer(&*f, 0.01, note("a"));
    assert_eq!(f.reactor_run(RunMode::Once).unwrap(), 1);
    assert_eq!(seen.take(), ["a"]);
    drop(far);
    let _b = timer(&*f, 0.01, note("b"));
    assert_eq!(f.reactor_run(RunMode::Once).unwrap(), 0);
    assert_eq!(seen.take(), ["b"]);
}

#[test]
fn one_iteration_calls_signals_futures_messages_timers_descriptors_in_this_order() {
    use std::os::fd::AsRawFd;
    let f = open("embed://runs-order");
    let seen = Seen::default();
    let note = |name: &'static str| {
        let seen = seen.clone();
        move |_| seen.push(name)
    };
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let fd = Source::Fd {
        fd: file.as_raw_fd(),
        events: flux::backend::reactor::poll::IN,
    };
    let _d = watch(&*f, fd, note("descriptor"));
    let _t = timer(&*f, 0.0, {
        let seen = seen.clone();
        move || seen.push("timer")
    });
    let _m = noting(&*f, msgtype::EVENT, "*", &seen, "message");
    let future = f.lookup(None, 0, ".").unwrap();
    let continued = seen.clone();
    let _f = future
        .then(Rc::new(move |_| continued.push("future")))
        .unwrap();
    let _s = watch(&*f, Source::Signal(libc::SIGWINCH), note("signal"));
    f.subscribe("x").unwrap();
    f.send_event("x", None).unwrap();
    signals::raise(libc::SIGWINCH);
    turns(&*f, 1);
    let order = ["signal", "future", "message", "timer", "descriptor"];
    assert_eq!(seen.take(), order);
}

#[test]
fn stop_ends_all_nested_runs_after_their_pending_events() {
    let f = open("loop://");
    let seen = Seen::default();
    let _outer = timer(&*f, 0.0, {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move || {
            seen.push("in");
            assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
            seen.push("out");
        }
    });
    let _stop = timer(&*f, 0.0, {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move || {
            seen.push("stop");
            f.reactor_stop();
        }
    });
    let _pending = timer(&*f, 0.0, {
        let seen = seen.clone();
        move || seen.push("pending")
    });
    let _endless = timer(&*f, 1e6, || ());
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
    assert_eq!(seen.take(), ["in", "stop", "pending", "out"]);
}

#[test]
fn stop_error_fails_all_nested_runs() {
    let f = open("loop://");
    let seen = Seen::default();
    let _outer = timer(&*f, 0.0, {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move || seen.push(errnum(f.reactor_run(RunMode::Forever)).to_string())
    });
    let _stop = timer(&*f, 0.01, {
        let f = Rc::clone(&f);
        move || f.reactor_stop_error()
    });
    let _endless = timer(&*f, 1e6, || ());
    assert_eq!(errnum(f.reactor_run(RunMode::Forever)), libc::ECANCELED);
    assert_eq!(seen.take(), [libc::ECANCELED.to_string()]);
    // The next run is not affected.
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
}

#[test]
fn a_stop_before_a_run_has_no_effect_and_stop_replaces_stop_error() {
    let f = open("loop://");
    let seen = Seen::default();
    f.reactor_stop_error();
    let _timer = timer(&*f, 0.01, {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move || {
            seen.push("called");
            f.reactor_stop_error();
            f.reactor_stop();
        }
    });
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["called"]);
}

#[test]
fn a_run_inside_a_callback_handles_other_events() {
    let f = open("loop://");
    let seen = Seen::default();
    let _handler = handler(&*f, msgtype::EVENT, "*", {
        let (f, seen) = (Rc::clone(&f), seen.clone());
        move |message| {
            let topic = topic(message);
            seen.push(format!("<{topic}"));
            f.reactor_run(RunMode::NoWait).unwrap();
            seen.push(format!("{topic}>"));
        }
    });
    for topic in ["a", "b", "c"] {
        f.send_event(topic, None).unwrap();
    }
    turns(&*f, 1);
    assert_eq!(seen.take(), ["<a", "<b", "<c", "c>", "b>", "a>"]);
}

#[test]
fn a_watcher_dropped_while_its_event_is_pending_is_not_called() {
    let f = open("loop://");
    let seen = Seen::default();
    let kept = Kept::default();
    let _first = timer(&*f, 0.0, {
        let (seen, kept) = (seen.clone(), kept.clone());
        move || {
            seen.push("first");
            kept.drop_all();
        }
    });
    for _ in 0..10 {
        let seen = seen.clone();
        kept.keep(timer(&*f, 0.0, move || seen.push("dropped")));
    }
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["first"]);
}

#[test]
fn a_callback_that_drops_its_own_watcher_keeps_what_it_owns_until_it_returns() {
    struct NotesDrop(Seen, #[expect(dead_code)] Option<Box<dyn Watcher>>);
    impl Drop for NotesDrop {
        fn drop(&mut self) {
            self.0.push("dropped");
        }
    }
    let f = open("loop://");
    let seen = Seen::default();
    let kept = Kept::default();
    // The callback owns a second watcher, whose callback owns a value.
    let inner = NotesDrop(seen.clone(), None);
    let inner = timer(&*f, 10.0, move || inner.0.push("never"));
    let owned = NotesDrop(seen.clone(), Some(inner));
    kept.keep(repeating(&*f, 0.0, 1.0, {
        let (seen, kept) = (seen.clone(), kept.clone());
        move || {
            kept.drop_all();
            seen.push("called");
            owned.0.push("still there");
        }
    }));
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    let expected = ["called", "still there", "dropped", "dropped"];
    assert_eq!(seen.take(), expected);
}

#[test]
fn a_refused_watcher_drops_its_callback_and_the_watchers_that_it_owns() {
    let f = open("loop://");
    let owned = timer(&*f, 10.0, || ());
    let refused = Source::Signal(0);
    let result = try_watch(&*f, refused, move |_| {
        let _owned = &owned;
    });
    assert_eq!(errnum(result), libc::EINVAL);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
}

#[test]
fn watchers_can_outlive_their_handle() {
    let f = open("embed://runs-outlive");
    let seen = Seen::default();
    let _timer = timer(&*f, 0.0, {
        let seen = seen.clone();
        move || seen.push("called")
    });
    let _handler = noting(&*f, msgtype::EVENT, "*", &seen, "event");
    let _signal = watch(&*f, Source::Signal(libc::SIGURG), |_| ());
    let future = f.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap();
    let late = f.lookup(None, 0, ".").unwrap();
    let _future = future.then(Rc::new(|_| ())).unwrap();
    drop(f);
    assert_eq!(seen.len(), 0);
    assert_eq!(errnum(late.then(Rc::new(|_| ()))), libc::EPIPE);
}

#[test]
fn a_panic_in_a_callback_is_logged_and_the_reactor_goes_on() {
    let f = open("embed://runs-panic");
    let seen = Seen::default();
    let _bad = timer(&*f, 0.0, || panic!("on purpose"));
    let _good = timer(&*f, 0.01, {
        let seen = seen.clone();
        move || seen.push("good")
    });
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["good"]);
    let request = br#"{"follow":false}"#;
    let log = f.rpc("log.dmesg", Some(request), NODEID_ANY, 2).unwrap();
    let line = String::from_utf8_lossy(log.payload().unwrap().unwrap()).into_owned();
    let text = "a reactor callback panicked: on purpose";
    assert!(line.contains(text), "{line}");
}
