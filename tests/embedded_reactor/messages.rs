//! Tests of message handlers.

use super::*;
use flux::backend::{MATCHTAG_NONE, NODEID_UPSTREAM, rpc_flags};

const REQUEST: i32 = msgtype::REQUEST;
const EVENT: i32 = msgtype::EVENT;

/// Sends a request to the handle itself, a loopback.
fn send(f: &dyn Handle, topic: &str) -> u32 {
    f.send(topic, None, NODEID_ANY).unwrap()
}

#[test]
fn each_iteration_handles_one_message() {
    let f = open("loop://");
    let seen = Seen::default();
    let _handler = noting(&*f, EVENT, "*", &seen, "event");
    for _ in 0..3 {
        f.send_event("a.b", None).unwrap();
    }
    for handled in 1..=3 {
        assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
        assert_eq!(seen.len(), handled);
    }
}

#[test]
fn a_request_goes_to_the_newest_matching_handler_only() {
    let f = open("loop://");
    let seen = Seen::default();
    let next = || {
        send(&*f, "svc.x");
        turns(&*f, 1);
        seen.take()
    };
    let _a = noting(&*f, msgtype::ANY, "svc.*", &seen, "a");
    let b = noting(&*f, msgtype::ANY, "svc.x", &seen, "b");
    let c = noting(&*f, REQUEST, "*", &seen, "c");
    let _other = noting(&*f, msgtype::ANY, "svc.y", &seen, "other");
    let _event = noting(&*f, EVENT, "*", &seen, "event");
    assert_eq!(next(), ["c"]);
    drop(c);
    assert_eq!(next(), ["b"]);
    drop(b);
    assert_eq!(next(), ["a"]);
}

#[test]
fn a_handler_with_an_exact_topic_comes_before_newer_patterns() {
    let f = open("loop://");
    let seen = Seen::default();
    let method = noting(&*f, REQUEST, "svc.x", &seen, "method");
    let newer_method = noting(&*f, REQUEST, "svc.x", &seen, "newer");
    let _pattern = noting(&*f, REQUEST, "svc.*", &seen, "pattern");
    let next = || {
        send(&*f, "svc.x");
        turns(&*f, 1);
        seen.take()
    };
    assert_eq!(next(), ["newer"]);
    drop(newer_method);
    assert_eq!(next(), ["method"]);
    drop(method);
    assert_eq!(next(), ["pattern"]);
}

#[test]
fn a_request_goes_to_the_newest_matching_pattern_of_any_form() {
    let f = open("loop://");
    let seen = Seen::default();
    let patterns = ["*", "svc.x*", "s*", "[s]vc.x", "svc\\.?", "svc.*", "svc.x?"];
    let mut handlers: Vec<_> = patterns
        .iter()
        .map(|pattern| noting(&*f, REQUEST, pattern, &seen, pattern))
        .collect();
    let next = || {
        send(&*f, "svc.x");
        turns(&*f, 1);
        seen.take()
    };
    // The newest pattern, "svc.x?", does not match.
    handlers.pop();
    for pattern in patterns[..patterns.len() - 1].iter().rev() {
        assert_eq!(next(), [*pattern]);
        handlers.pop();
    }
    assert!(next().is_empty());
}

#[test]
fn dropping_a_pattern_keeps_another_with_the_same_start() {
    let f = open("loop://");
    let seen = Seen::default();
    let older = noting(&*f, EVENT, "a.b*", &seen, "older");
    let _newer = noting(&*f, EVENT, "a.b?", &seen, "newer");
    drop(older);
    f.send_event("a.bc", None).unwrap();
    turns(&*f, 1);
    assert_eq!(seen.take(), ["newer"]);
}

#[test]
fn an_event_goes_to_all_matching_handlers_newest_first() {
    let f = open("loop://");
    let seen = Seen::default();
    let _a = noting(&*f, EVENT, "a.*", &seen, "a");
    let _b = noting(&*f, EVENT, "a.b", &seen, "b");
    let _c = noting(&*f, EVENT | REQUEST, "", &seen, "c");
    let _d = noting(&*f, REQUEST, "a.b", &seen, "d");
    let _e = noting(&*f, 0, "?.?", &seen, "e");
    let _f = noting(&*f, EVENT, "[!a].b", &seen, "f");
    f.send_event("a.b", None).unwrap();
    turns(&*f, 1);
    assert_eq!(seen.take(), ["e", "c", "b", "a"]);
}

#[test]
fn a_handler_without_a_topic_gets_messages_of_every_topic() {
    let f = open("loop://");
    let seen = Seen::default();
    let noting = seen.clone();
    let source = Source::Message {
        typemask: msgtype::ANY,
        topic_glob: None,
        rolemask: ROLE_OWNER,
    };
    let _handler = watch(&*f, source, move |event| match event {
        Event::Message(message) => noting.push(topic(&*message)),
        _ => panic!("not a message"),
    });
    send(&*f, "a");
    f.send_event("b.c", None).unwrap();
    turns(&*f, 2);
    assert_eq!(seen.take(), ["a", "b.c"]);
    let source = Source::Message {
        typemask: msgtype::ANY,
        topic_glob: Some("a\0"),
        rolemask: ROLE_OWNER,
    };
    assert_eq!(errnum(try_watch(&*f, source, |_| ())), libc::EINVAL);
}

#[test]
fn an_unhandled_request_gets_an_enosys_response_unless_it_wants_none() {
    let f = open("loop://");
    let handler = noting(&*f, EVENT, "other", &Seen::default(), "event");
    let tag = send(&*f, "svc.nothing");
    turns(&*f, 1);
    drop(handler);
    let response = f.recv(&Match::any(), NOW).unwrap();
    assert_eq!(response.msgtype(), msgtype::RESPONSE);
    assert_eq!(response.matchtag().unwrap(), tag);
    assert_eq!(response.errnum().unwrap(), libc::ENOSYS);
    let text = b"Unknown service method 'svc.nothing'";
    assert_eq!(response.payload().unwrap(), text);

    let _handler = noting(&*f, EVENT, "other", &Seen::default(), "event");
    f.rpc("svc.nothing", None, NODEID_ANY, rpc_flags::NORESPONSE)
        .unwrap();
    turns(&*f, 1);
    assert_eq!(errnum(f.recv(&Match::any(), NOW)), libc::ETIMEDOUT);
}

#[test]
fn handlers_consume_messages_that_none_matches_and_without_handlers_they_stay() {
    let f = open("loop://");
    f.send_event("kept", None).unwrap();
    let _timer = timer(&*f, 0.0, || ());
    turns(&*f, 2);
    assert_eq!(topic(&*f.recv(&Match::any(), NOW).unwrap()), "kept");

    let handler = noting(&*f, REQUEST, "svc.x", &Seen::default(), "request");
    f.send_event("lost", None).unwrap();
    turns(&*f, 1);
    assert_eq!(errnum(f.recv(&Match::any(), NOW)), libc::ETIMEDOUT);
    drop(handler);
    f.send_event("kept", None).unwrap();
    turns(&*f, 1);
    assert_eq!(topic(&*f.recv(&Match::any(), NOW).unwrap()), "kept");
}

#[test]
fn a_rolemask_never_excludes_the_owner() {
    let f = open("embed://messages-owner");
    let seen = Seen::default();
    let service = f.rpc("service.add", Some(br#"{"service":"svc"}"#), NODEID_ANY, 0);
    service.unwrap().wait(None).unwrap();
    for rolemask in [0, 2, u32::MAX] {
        let noting = seen.clone();
        let source = Source::Message {
            typemask: REQUEST,
            topic_glob: Some("svc.x"),
            rolemask,
        };
        let _handler = watch(&*f, source, move |_| noting.push("called"));
        f.send("svc.x", None, NODEID_ANY).unwrap();
        turns(&*f, 1);
        assert_eq!(seen.take(), ["called"], "{rolemask}");
    }
}

#[test]
fn a_handler_dropped_by_another_is_not_called_for_the_same_message() {
    let f = open("loop://");
    let seen = Seen::default();
    let kept = Kept::default();
    kept.keep(noting(&*f, EVENT, "*", &seen, "old"));
    let _new = handler(&*f, EVENT, "*", {
        let (kept, seen) = (kept.clone(), seen.clone());
        move |_| {
            seen.push("new");
            kept.drop_all();
        }
    });
    f.send_event("x", None).unwrap();
    turns(&*f, 1);
    assert_eq!(seen.take(), ["new"]);
}

#[test]
fn a_handler_can_drop_itself_and_make_another() {
    let f = open("loop://");
    let seen = Seen::default();
    let kept = Kept::default();
    kept.keep(handler(&*f, EVENT, "*", {
        let (f, kept, seen) = (Rc::clone(&f), kept.clone(), seen.clone());
        move |_| {
            seen.push("first");
            kept.drop_all();
            kept.keep(noting(&*f, EVENT, "*", &seen, "made"));
        }
    }));
    f.send_event("x", None).unwrap();
    f.send_event("y", None).unwrap();
    turns(&*f, 1);
    assert_eq!(seen.take(), ["first"]);
    turns(&*f, 1);
    assert_eq!(seen.take(), ["made"]);
    kept.drop_all();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
}

#[test]
fn a_loopback_with_only_message_handlers_refuses_to_wait() {
    let f = open("loop://");
    let seen = Seen::default();
    let handler = noting(&*f, EVENT, "*", &seen, "event");
    assert_eq!(errnum(f.reactor_run(RunMode::Forever)), libc::EDEADLK);
    assert_eq!(errnum(f.reactor_run(RunMode::Once)), libc::EDEADLK);
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
    // Queued messages are handled before the refusal.
    f.send_event("x", None).unwrap();
    assert_eq!(errnum(f.reactor_run(RunMode::Forever)), libc::EDEADLK);
    assert_eq!(seen.take(), ["event"]);
    // With a timer it waits, since the timer's callback could send.
    let _timer = timer(&*f, 0.01, {
        let f = Rc::clone(&f);
        move || f.reactor_stop()
    });
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
    drop(handler);
}

#[test]
fn a_handler_can_answer_its_request() {
    let f = open("embed://messages-service?size=3");
    let answer = f.rpc("service.add", Some(br#"{"service":"svc"}"#), NODEID_ANY, 0);
    answer.unwrap().wait(None).unwrap();
    let _handler = handler(&*f, REQUEST, "svc.*", {
        let f = Rc::clone(&f);
        move |request| f.respond(request, request.payload()).unwrap()
    });
    let client = open("embed://messages-service?rank=2");
    let future = client
        .rpc("svc.echo", Some(b"{}"), NODEID_UPSTREAM, 0)
        .unwrap();
    turns(&*f, 1);
    assert_eq!(future.payload().unwrap(), Some(&b"{}"[..]));
    assert_ne!(client.send("svc.echo", None, 0).unwrap(), MATCHTAG_NONE);
    turns(&*f, 1);
    assert!(client.recv(&Match::any(), NOW).is_ok());
}

#[test]
fn dispatch_stays_fast_with_a_hundred_thousand_handlers() {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let make = |typemask, i: usize| {
        let count = Rc::clone(&count);
        handler(&*f, typemask, &format!("t.{i}"), move |_| {
            count.set(count.get() + 1)
        })
    };
    let round = || {
        for i in 0..1000 {
            send(&*f, &format!("t.{i}"));
            f.send_event(&format!("t.{i}"), None).unwrap();
        }
        measure::cpu_time_of(|| turns(&*f, 2000))
    };
    let at_best = || (0..3).map(|_| round()).min().unwrap();
    let mut handlers: Vec<_> = (0..1000).map(|i| make(EVENT, i)).collect();
    handlers.extend((0..1000).map(|i| make(REQUEST, i)));
    let few = at_best();
    handlers.extend((1000..50_000).map(|i| make(EVENT, i)));
    handlers.extend((1000..50_000).map(|i| make(REQUEST, i)));
    let many = at_best();
    assert_eq!(count.get(), 12_000);
    // There are fifty times as many handlers.
    assert!(many < few * 20, "{few:?} {many:?}");
}
