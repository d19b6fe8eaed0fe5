//! Tests of `loop://`, a handle that receives what it sends.

use super::*;
use flux::backend::{MATCHTAG_NONE, NODEID_UPSTREAM, rpc_flags};

#[test]
fn a_handle_receives_its_own_request_and_response() {
    let f = open("loop://");
    let tag = f.send("svc.hello", Some(br#"{"a":1}"#), 7).unwrap();
    let request = f.recv(&Match::any(), None).unwrap();
    assert_eq!(request.msgtype(), msgtype::REQUEST);
    assert_eq!(topic(&*request), "svc.hello");
    assert_eq!(request.payload().unwrap(), br#"{"a":1}"#);
    assert_eq!(request.matchtag().unwrap(), tag);
    assert_eq!(request.nodeid().unwrap(), 7);
    assert_eq!(request.rolemask().unwrap(), 1);
    assert_eq!(errnum(request.errnum()), libc::EPROTO);

    f.respond(&*request, Some(br#"{"b":2}"#)).unwrap();
    let response = f.recv(&Match::any(), None).unwrap();
    assert_eq!(response.msgtype(), msgtype::RESPONSE);
    assert_eq!(topic(&*response), "svc.hello");
    assert_eq!(response.errnum().unwrap(), 0);
    assert_eq!(response.matchtag().unwrap(), tag);
    assert_eq!(response.payload().unwrap(), br#"{"b":2}"#);
    assert_eq!(errnum(response.nodeid()), libc::EPROTO);
}

#[test]
fn a_handle_receives_its_own_event_without_a_subscription() {
    let f = open("loop://");
    f.send_event("any.thing", Some(b"not JSON")).unwrap();
    let event = take_event(&*f).unwrap();
    assert_eq!(topic(&*event), "any.thing");
    assert_eq!(event.payload().unwrap(), b"not JSON");
    assert_eq!(errnum(event.matchtag()), libc::EPROTO);
    assert_eq!(errnum(event.nodeid()), libc::EPROTO);
}

#[test]
fn messages_that_a_receive_skips_keep_their_order() {
    let f = open("loop://");
    f.send("one", None, NODEID_ANY).unwrap();
    f.send_event("two", None).unwrap();
    f.send("three", None, NODEID_ANY).unwrap();
    f.send_event("four", None).unwrap();
    assert_eq!(topic(&*take_event(&*f).unwrap()), "two");
    let rest: Vec<String> = std::iter::from_fn(|| take(&*f, msgtype::ANY))
        .map(|message| topic(&*message).to_owned())
        .collect();
    assert_eq!(rest, ["one", "three", "four"]);
}

#[test]
fn a_receive_by_matchtag_returns_the_request_or_response_with_it() {
    let f = open("loop://");
    let first = f.send("a", None, NODEID_ANY).unwrap();
    let second = f.send("b", None, NODEID_ANY).unwrap();
    assert_ne!(first, second);
    let of = |typemask, matchtag| Match { typemask, matchtag };
    let b = f.recv(&of(msgtype::ANY, second), NOW).unwrap();
    assert_eq!(topic(&*b), "b");
    let a = f.recv(&of(msgtype::REQUEST, MATCHTAG_NONE), NOW).unwrap();
    f.respond(&*a, None).unwrap();
    f.respond_error(&*b, libc::EPERM, Some("no")).unwrap();
    let response = f.recv(&of(msgtype::RESPONSE, second), NOW).unwrap();
    assert_eq!(response.errnum().unwrap(), libc::EPERM);
    assert_eq!(response.payload().unwrap(), b"no");
    let response = f.recv(&of(msgtype::RESPONSE, first), NOW).unwrap();
    assert_eq!(topic(&*response), "a");
    assert_eq!(response.payload(), None);
}

#[test]
fn an_rpc_waits_until_its_own_handle_responds() {
    let f = open("loop://");
    let future = f.rpc("svc.x", None, NODEID_UPSTREAM, 0).unwrap();
    let (errnum, detail) = failure(future.wait(None));
    assert_eq!(errnum, libc::EDEADLK);
    assert_eq!(
        detail.unwrap(),
        "nothing is queued, and on a loopback only this handle could send; handlers run only in \
         the reactor of their own handle"
    );
    let request = take_request(&*f).unwrap();
    assert_eq!(request.nodeid().unwrap(), 0);
    f.respond(&*request, Some(b"{}")).unwrap();
    assert_eq!(future.payload().unwrap().unwrap(), b"{}");
}

#[test]
fn a_stream_of_responses_ends_with_an_error() {
    let f = open("loop://");
    let mut future = f
        .rpc("svc.x", None, NODEID_ANY, rpc_flags::STREAMING)
        .unwrap();
    let request = take_request(&*f).unwrap();
    assert!(request.is_streaming());
    for payload in [b"1", b"2"] {
        f.respond(&*request, Some(payload)).unwrap();
    }
    f.respond_error(&*request, libc::ENODATA, None).unwrap();
    assert_eq!(future.payload().unwrap().unwrap(), b"1");
    future.reset();
    assert_eq!(future.payload().unwrap().unwrap(), b"2");
    future.reset();
    assert_eq!(errnum(future.payload()), libc::ENODATA);
    future.reset();
    assert_eq!(errnum(future.payload()), libc::ENODATA);
}

#[test]
fn a_response_to_a_noresponse_request_is_discarded() {
    let f = open("loop://");
    let future = f
        .rpc("svc.x", None, NODEID_ANY, rpc_flags::NORESPONSE)
        .unwrap();
    assert_eq!(future.payload().unwrap(), None);
    let request = take_request(&*f).unwrap();
    assert!(request.is_noresponse());
    assert_eq!(request.matchtag().unwrap(), MATCHTAG_NONE);
    f.respond(&*request, None).unwrap();
    assert!(take(&*f, msgtype::ANY).is_none());
}

#[test]
fn a_wait_with_a_timeout_ends_and_one_without_is_refused() {
    let f = open("loop://");
    let start = std::time::Instant::now();
    let soon = Some(Duration::from_millis(20));
    assert_eq!(errnum(f.recv(&Match::any(), soon)), libc::ETIMEDOUT);
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!(errnum(f.recv(&Match::any(), None)), libc::EDEADLK);
    assert_eq!(
        errnum(f.recv(&Match::any(), Some(Duration::MAX))),
        libc::EDEADLK
    );
}

#[test]
fn calls_that_need_a_broker_fail_at_once() {
    let f = open("loop://");
    assert_eq!((f.rank().unwrap(), f.size().unwrap()), (0, 1));
    assert_eq!(f.attr_get("rank").unwrap(), "0");
    assert_eq!(f.attr_get("size").unwrap(), "1");
    let (errnum_, detail) = failure(f.attr_get("version"));
    assert_eq!(errnum_, libc::EDEADLK);
    assert_eq!(
        detail.unwrap(),
        "attr.get: a loopback has no broker that would answer"
    );
    assert_eq!(errnum(f.subscribe("x")), libc::EDEADLK);
    assert_eq!(errnum(f.unsubscribe("x")), libc::EDEADLK);
    assert_eq!(errnum(f.lookup(None, 0, "k")), libc::EDEADLK);
    let mut transaction = f.transaction().unwrap();
    assert_eq!(errnum(f.commit(None, 0, &mut *transaction)), libc::EDEADLK);
    assert!(take(&*f, msgtype::ANY).is_none());
}

#[test]
fn a_log_line_is_received_as_a_log_append_request() {
    let f = open("loop://");
    f.log(6, "hello").unwrap();
    let request = take_request(&*f).unwrap();
    assert_eq!(topic(&*request), "log.append");
    let line = String::from_utf8(request.payload().unwrap().to_vec()).unwrap();
    assert!(
        line.starts_with("<48>1 ") && line.ends_with(" - - hello"),
        "{line}"
    );
}

#[test]
fn a_reopened_loopback_has_its_own_queue() {
    let f = open("loop://");
    let g = f.reopen().unwrap();
    f.send("x", None, NODEID_ANY).unwrap();
    assert!(take_request(&*g).is_none());
    assert!(take_request(&*f).is_some());
}

#[test]
fn only_requests_can_be_answered_and_an_error_response_needs_an_errno() {
    let f = open("loop://");
    f.send_event("e", None).unwrap();
    let event = take_event(&*f).unwrap();
    assert_eq!(errnum(f.respond(&*event, None)), libc::EPROTO);
    f.send("r", None, NODEID_ANY).unwrap();
    let request = take_request(&*f).unwrap();
    assert_eq!(errnum(f.respond_error(&*request, 0, None)), libc::EINVAL);
}

#[test]
fn the_response_to_an_abandoned_request_is_discarded() {
    let f = open("loop://");
    let tag = f.send("r", None, NODEID_ANY).unwrap();
    let request = take_request(&*f).unwrap();
    f.give_up(tag);
    f.respond(&*request, None).unwrap();
    assert!(take(&*f, msgtype::ANY).is_none());
    // A response that has already arrived is discarded too.
    let tag = f.send("r", None, NODEID_ANY).unwrap();
    let request = take_request(&*f).unwrap();
    f.respond(&*request, None).unwrap();
    f.give_up(tag);
    assert!(take(&*f, msgtype::ANY).is_none());
}
