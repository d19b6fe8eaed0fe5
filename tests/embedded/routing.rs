//! Tests of routing: where requests go, how handles register services, and what
//! happens to both when a handle is closed.

use super::*;
use flux::backend::{NODEID_UPSTREAM, rpc_flags};

#[test]
fn a_request_is_answered_by_the_rank_in_its_nodeid() {
    let f = open("embed://names-rank?size=4&rank=1");
    for rank in 0..4 {
        let pong = call_at(&*f, rank, "broker.ping", json!({ "seq": 9 })).unwrap();
        assert_eq!((&pong["rank"], &pong["seq"]), (&json!(rank), &json!(9)));
        let rolemask = if rank == 1 { 5 } else { 1 };
        assert_eq!(pong["rolemask"], rolemask);
    }
    assert_eq!(call(&*f, "broker.ping", json!({})).unwrap()["rank"], 1);
}

#[test]
fn a_request_to_a_rank_outside_the_instance_fails_with_ehostunreach() {
    let f = open("embed://unreachable?size=4&rank=3");
    for nodeid in [4, 99, 0xFFFF_FFFD] {
        let error = failure(call_at(&*f, nodeid, "broker.ping", json!({})));
        assert_eq!(error, (libc::EHOSTUNREACH, None));
    }
}

#[test]
fn an_upstream_request_starts_at_the_parent_rank() {
    let f = open("embed://upstream?size=7&rank=6");
    let parent = call_at(&*f, NODEID_UPSTREAM, "broker.ping", json!({})).unwrap();
    assert_eq!(parent["rank"], 2);
    let error = failure(call_at(&*f, NODEID_UPSTREAM, "nosuch.x", json!({})));
    let text = "No service matching nosuch.x is registered".to_owned();
    assert_eq!(error, (libc::ENOSYS, Some(text)));
    let top = open("embed://upstream");
    let error = failure(call_at(&*top, NODEID_UPSTREAM, "broker.ping", json!({})));
    assert_eq!(error, (libc::EHOSTUNREACH, None));
}

#[test]
fn a_request_to_any_rank_goes_up_the_tree_to_the_nearest_service() {
    let leaf = open("embed://climbs?size=7&rank=6");
    let root = open("embed://climbs");
    let middle = open("embed://climbs?rank=2");
    let elsewhere = open("embed://climbs?rank=1");
    add_service(&*elsewhere, "svc").unwrap();
    assert_eq!(errnum(call(&*leaf, "svc.x", json!({}))), libc::ENOSYS);
    add_service(&*root, "svc").unwrap();
    leaf.send("svc.x", None, NODEID_ANY).unwrap();
    assert_eq!(topic(&*take_request(&*root).unwrap()), "svc.x");
    add_service(&*middle, "svc").unwrap();
    leaf.send("svc.x", None, NODEID_ANY).unwrap();
    let request = take_request(&*middle).unwrap();
    assert_eq!(request.nodeid().unwrap(), NODEID_ANY);
    assert_eq!(request.rolemask().unwrap(), 1);
    middle.send("svc.x", None, NODEID_UPSTREAM).unwrap();
    assert_eq!(take_request(&*root).unwrap().nodeid().unwrap(), 2);
    leaf.send("svc.x", None, 1).unwrap();
    assert!(take_request(&*elsewhere).is_some());
}

#[test]
fn requests_to_unknown_services_and_methods_fail_with_the_brokers_texts() {
    let f = open("embed://unknown?size=2");
    let why = |topic: &str| {
        let (errnum, detail) = failure(call(&*f, topic, json!({})));
        assert_eq!(errnum, libc::ENOSYS);
        detail.unwrap()
    };
    assert_eq!(
        why("nosuch.foo"),
        "No service matching nosuch.foo is registered"
    );
    assert_eq!(why("nosuch"), "No service matching nosuch is registered");
    assert_eq!(why("kvs.nosuch"), "Unknown service method 'kvs.nosuch'");
    assert_eq!(why("kvs"), "Unknown service method 'kvs'");
    for topic in ["attr.ping", "event.x", "service.x", "log.x", "broker.x"] {
        assert_eq!(why(topic), format!("Unknown service method '{topic}'"));
    }
    assert_eq!(
        why("a.very.long.service.name.that.goes.on.and.on.and.on.and.on"),
        "No service matching a.very.long.service.name.that.goes.on.and.o"
    );
    assert_eq!(errnum(call_at(&*f, 1, "nosuch.x", json!({}))), libc::ENOSYS);
}

#[test]
fn a_registered_service_receives_requests_and_its_responses_go_back() {
    let server = open("embed://registered");
    let client = open("embed://registered");
    assert_eq!(add_service(&*server, "echo").unwrap(), Value::Null);
    let future = client
        .rpc("echo.it", Some(br#"{"x":1}"#), NODEID_ANY, 0)
        .unwrap();
    let request = take_request(&*server).unwrap();
    assert_eq!(topic(&*request), "echo.it");
    assert_eq!(data(&*request), json!({ "x": 1 }));
    assert_eq!(request.rolemask().unwrap(), 5);
    server.respond(&*request, request.payload()).unwrap();
    assert_eq!(answer(&*future).unwrap(), json!({ "x": 1 }));

    let future = client.rpc("echo.fail", None, NODEID_ANY, 0).unwrap();
    let request = take_request(&*server).unwrap();
    server
        .respond_error(&*request, libc::EBUSY, Some("not now"))
        .unwrap();
    let error = failure(future.payload());
    assert_eq!(error, (libc::EBUSY, Some("not now".to_owned())));
    let error = failure(call(&*client, "echo", json!({})));
    assert_eq!(error, (libc::ENOSYS, None));
}

#[test]
fn service_add_and_remove_fail_with_the_brokers_errnos() {
    let a = open("embed://registering");
    let b = open("embed://registering");
    let remove = |f: &dyn Handle, name: &str| call(f, "service.remove", json!({ "service": name }));
    assert_eq!(failure(add_service(&*a, "a.b")), (libc::EINVAL, None));
    assert_eq!(failure(add_service(&*a, "kvs")), (libc::EEXIST, None));
    add_service(&*a, "mine").unwrap();
    assert_eq!(failure(add_service(&*a, "mine")), (libc::EEXIST, None));
    assert_eq!(failure(add_service(&*b, "mine")), (libc::EEXIST, None));
    assert_eq!(failure(remove(&*b, "mine")), (libc::ENOENT, None));
    remove(&*a, "mine").unwrap();
    assert_eq!(failure(remove(&*a, "mine")), (libc::ENOENT, None));
    add_service(&*b, "mine").unwrap();
    let error = failure(call(&*a, "service.add", json!({ "service": 1 })));
    assert_eq!(error, (libc::EPROTO, None));
}

#[test]
fn a_service_is_registered_at_the_handles_own_rank() {
    let f = open("embed://own-rank?size=2&rank=1");
    call_at(&*f, 0, "service.add", json!({ "service": "here" })).unwrap();
    f.send("here.x", None, 1).unwrap();
    assert!(take_request(&*f).is_some());
    assert_eq!(errnum(call_at(&*f, 0, "here.x", json!({}))), libc::ENOSYS);
}

#[test]
fn closing_a_handle_removes_its_services() {
    let a = open("embed://takes-along");
    let b = open("embed://takes-along");
    add_service(&*a, "gone").unwrap();
    drop(a);
    let (errnum, detail) = failure(call(&*b, "gone.x", json!({})));
    assert_eq!(errnum, libc::ENOSYS);
    assert_eq!(detail.unwrap(), "No service matching gone.x is registered");
    add_service(&*b, "gone").unwrap();
}

#[test]
fn a_response_to_a_closed_handle_is_discarded() {
    let server = open("embed://dropped");
    add_service(&*server, "svc").unwrap();
    let client = open("embed://dropped");
    client.send("svc.x", None, NODEID_ANY).unwrap();
    let request = take_request(&*server).unwrap();
    drop(client);
    server.respond(&*request, None).unwrap();
    server.respond_error(&*request, libc::EPERM, None).unwrap();
    let next = open("embed://dropped");
    assert!(take(&*next, msgtype::ANY).is_none());
    assert!(take(&*server, msgtype::RESPONSE).is_none());
}

#[test]
fn a_service_gets_a_disconnect_request_when_a_client_closes() {
    let server = open("embed://told?size=2");
    add_service(&*server, "svc").unwrap();
    let client = open("embed://told?rank=1");
    let bystander = open("embed://told?rank=1");
    for topic in ["svc.a", "svc.b", "svc.b", "svc.deep.c"] {
        client.send(topic, Some(b"{}"), NODEID_ANY).unwrap();
    }
    client.send("svc.a", None, 0).unwrap();
    bystander
        .rpc("svc.a", None, NODEID_ANY, rpc_flags::NORESPONSE)
        .unwrap();
    let requests: Vec<_> = std::iter::from_fn(|| take_request(&*server)).collect();
    assert_eq!(requests.len(), 6);
    assert!(requests[0].same_sender(&*requests[4]));
    assert!(!requests[0].same_sender(&*requests[5]));

    drop(bystander);
    assert!(take_request(&*server).is_none());
    drop(client);
    let mut told: Vec<_> = std::iter::from_fn(|| take_request(&*server)).collect();
    told.sort_by_key(|message| topic(&**message).to_owned());
    let topics: Vec<&str> = told.iter().map(|message| topic(&**message)).collect();
    // One for each service name ("svc", "svc.deep") and nodeid that was used.
    assert_eq!(
        topics,
        ["svc.deep.disconnect", "svc.disconnect", "svc.disconnect"]
    );
    for message in &told {
        assert!(message.is_noresponse() && message.same_sender(&*requests[0]));
        assert_eq!(message.payload(), None);
    }
}

#[test]
fn responses_to_a_dropped_future_are_discarded() {
    let server = open("embed://late");
    let client = open("embed://late");
    add_service(&*server, "svc").unwrap();
    let future = client.rpc("svc.x", None, NODEID_ANY, 0).unwrap();
    let soon = Some(Duration::from_millis(5));
    assert_eq!(errnum(future.wait(soon)), libc::ETIMEDOUT);
    let request = take_request(&*server).unwrap();
    drop(future);
    server.respond(&*request, None).unwrap();
    assert!(take(&*client, msgtype::ANY).is_none());

    let stream = client
        .rpc("svc.x", None, NODEID_ANY, rpc_flags::STREAMING)
        .unwrap();
    let request = take_request(&*server).unwrap();
    server.respond(&*request, None).unwrap();
    drop(stream);
    server.respond(&*request, None).unwrap();
    server
        .respond_error(&*request, libc::ENODATA, None)
        .unwrap();
    assert!(take(&*client, msgtype::ANY).is_none());
}

#[test]
fn a_future_that_timed_out_can_be_waited_for_again() {
    let server = open("embed://again");
    let client = open("embed://again");
    add_service(&*server, "svc").unwrap();
    let future = client.rpc("svc.x", None, NODEID_ANY, 0).unwrap();
    assert_eq!(errnum(future.wait(NOW)), libc::ETIMEDOUT);
    server
        .respond(&*take_request(&*server).unwrap(), Some(b"{}"))
        .unwrap();
    future.wait(NOW).unwrap();
    assert_eq!(future.payload().unwrap().unwrap(), b"{}");
}

#[test]
fn responses_stay_queued_until_their_matchtag_is_asked_for() {
    let f = open("embed://matchtags");
    f.subscribe("e").unwrap();
    let tags: Vec<u32> = (0..3)
        .map(|i| {
            let payload = json!({ "i": i }).to_string();
            f.send("broker.ping", Some(payload.as_bytes()), NODEID_ANY)
                .unwrap()
        })
        .collect();
    f.send_event("e", None).unwrap();
    for i in [2, 0, 1] {
        let wanted = Match {
            typemask: msgtype::RESPONSE,
            matchtag: tags[i],
        };
        let response = f.recv(&wanted, NOW).unwrap();
        assert_eq!(data(&*response)["i"], i);
    }
    assert!(take(&*f, msgtype::RESPONSE).is_none());
    assert!(take_event(&*f).is_some());
}

#[test]
fn unknown_rpc_flags_are_refused() {
    let f = open("embed://rpc-flags");
    assert_eq!(
        errnum(f.rpc("broker.ping", None, NODEID_ANY, 4)),
        libc::EINVAL
    );
}
