//! Tests of the built-in services other than the KVS.

use super::*;
use flux::backend::rpc_flags;

#[test]
fn a_ping_returns_its_payload_with_rank_role_user_and_route() {
    let f = open("embed://ping?size=3&rank=1");
    for service in ["broker", "kvs", "kvs-watch"] {
        let topic = format!("{service}.ping");
        let pong = call(&*f, &topic, json!({ "a": [1.5, null], "route": "x" })).unwrap();
        let fields: Vec<&String> = pong.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["a", "rank", "rolemask", "route", "userid"]);
        assert_eq!(pong["a"], json!([1.5, null]));
        assert_eq!((&pong["rank"], &pong["rolemask"]), (&json!(1), &json!(5)));
        let hops = pong["route"].as_str().unwrap().split('!').count();
        assert_eq!(hops, if service == "broker" { 2 } else { 3 });
    }
    let without = f.rpc("broker.ping", None, NODEID_ANY, 0).unwrap();
    assert_eq!(failure(without.payload()), (libc::EPROTO, None));
    assert_eq!(
        failure(call(&*f, "kvs.ping", json!(1))),
        (libc::EPROTO, None)
    );
    assert_eq!(
        failure(call(&*f, "kvs.ping", json!([1]))),
        (libc::ENOMEM, None)
    );
}

#[test]
fn a_ping_accepts_payloads_nested_up_to_the_json_depth_limit() {
    let f = open("embed://ping-deep");
    let ping = |depth: usize| {
        let text = [r#"{"a":"#, &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        let future = f
            .rpc("broker.ping", Some(text.as_bytes()), NODEID_ANY, 0)
            .unwrap();
        let pong = future.payload().map(|pong| pong.unwrap().to_vec());
        pong.map(|pong| pong.starts_with(text.strip_suffix('}').unwrap().as_bytes()))
    };
    let deepest = flux::MAX_JSON_DEPTH as usize - 1;
    for depth in [126, 127, 200, deepest] {
        assert!(ping(depth).unwrap(), "{depth}");
    }
    assert_eq!(failure(ping(deepest + 1)), (libc::EPROTO, None));
}

#[test]
fn attributes_can_be_read_set_and_removed_as_on_a_broker() {
    let f = open("embed://attributes?size=4&rank=3");
    let get = |name: &str| call(&*f, "attr.get", json!({ "name": name }));
    let set = |name: &str, value: &str, force: bool| {
        let payload = json!({ "name": name, "value": value, "force": force });
        call(&*f, "attr.set", payload)
    };
    let remove = |name: &str| call(&*f, "attr.rm", json!({ "name": name }));

    assert_eq!(get("rank").unwrap(), json!({ "value": "3", "flags": 1 }));
    assert_eq!(
        get("version").unwrap(),
        json!({ "value": "0.88.0", "flags": 0 })
    );
    assert_eq!(failure(get("nosuch")), (libc::ENOENT, None));
    assert_eq!(failure(f.attr_get("nosuch")), (libc::ENOENT, None));
    assert_eq!(
        failure(call(&*f, "attr.get", json!({}))),
        (libc::EPROTO, None)
    );

    let detail = |text: &str| Some(text.to_owned());
    let fixed = (libc::EINVAL, detail("attribute may not be updated"));
    assert_eq!(failure(set("rank", "5", false)), fixed);
    assert_eq!(failure(set("rank", "5", true)), (libc::EPERM, None));
    assert_eq!(
        failure(set("foo", "5", false)),
        (libc::ENOENT, detail("unknown attribute"))
    );
    assert_eq!(set("test.foo", "5", false).unwrap(), Value::Null);
    set("test.foo", "6", false).unwrap();
    assert_eq!(
        get("test.foo").unwrap(),
        json!({ "value": "6", "flags": 0 })
    );
    assert_eq!(f.attr_get("test.foo").unwrap(), "6");
    set("test-im.foo", "1", false).unwrap();
    assert_eq!(failure(set("test-im.foo", "2", false)), fixed);
    assert_eq!(failure(set("test-im.foo", "2", true)), (libc::EPERM, None));
    set("version", "1", true).unwrap();
    assert_eq!(f.attr_get("version").unwrap(), "1");
    let level = (libc::EINVAL, detail("invalid level"));
    assert_eq!(failure(set("log-stderr-level", "8", false)), level);

    remove("test.foo").unwrap();
    assert_eq!(failure(get("test.foo")), (libc::ENOENT, None));
    remove("nosuch").unwrap();
    assert_eq!(failure(remove("rank")), (libc::EPERM, None));
}

#[test]
fn tbon_attributes_describe_the_tree_of_ranks() {
    let f = open("embed://tree?size=7");
    let at = |rank: u32, name: &str| {
        let value = call_at(&*f, rank, "attr.get", json!({ "name": name })).unwrap();
        value["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(at(0, "tbon.topo"), "kary:2");
    for (rank, level, descendants) in [(0, "0", "6"), (1, "1", "2"), (2, "1", "2"), (6, "2", "0")] {
        assert_eq!(at(rank, "tbon.level"), level);
        assert_eq!(at(rank, "tbon.descendants"), descendants);
        assert_eq!(at(rank, "tbon.maxlevel"), "2");
    }
    assert_eq!(at(6, "tbon.parent-endpoint"), "embed://tree?size=7&rank=2");
    assert_eq!(errnum(f.attr_get("tbon.parent-endpoint")), libc::ENOENT);
    assert_eq!(f.attr_get("hostlist").unwrap().split(',').count(), 7);
    let names = call(&*f, "attr.list", json!({})).unwrap();
    let names = names["names"].as_array().unwrap();
    for name in [
        "rank",
        "size",
        "version",
        "local-uri",
        "instance-level",
        "security.owner",
    ] {
        assert!(names.contains(&json!(name)), "{name}");
        f.attr_get(name).unwrap();
    }
    assert!(!names.contains(&json!("test.*")));
}

#[test]
fn an_event_reaches_the_handles_subscribed_to_a_prefix_of_its_topic() {
    let a = open("embed://prefix?size=2");
    let b = open("embed://prefix?rank=1");
    b.subscribe("test.").unwrap();
    assert_eq!(errnum(b.unsubscribe("notmine")), libc::ENOENT);
    a.send_event("test.1", Some(br#"{"x":1}"#)).unwrap();
    a.send_event("tes", None).unwrap();
    let event = take_event(&*b).unwrap();
    assert_eq!(
        (topic(&*event), data(&*event)),
        ("test.1", json!({ "x": 1 }))
    );
    assert_eq!(event.rolemask().unwrap(), 1);
    assert!(take_event(&*b).is_none() && take_event(&*a).is_none());

    a.subscribe("").unwrap();
    a.send_event("whatever", None).unwrap();
    let event = take_event(&*a).unwrap();
    assert_eq!((topic(&*event), event.payload()), ("whatever", None));
    assert_eq!(event.rolemask().unwrap(), 5);
}

#[test]
fn repeated_subscriptions_are_counted_and_deliver_an_event_once() {
    let f = open("embed://counts");
    f.subscribe("a").unwrap();
    f.subscribe("a").unwrap();
    call(&*f, "event.subscribe", json!({ "topic": "a.b" })).unwrap();
    f.send_event("a.b", None).unwrap();
    assert!(take_event(&*f).is_some() && take_event(&*f).is_none());
    f.unsubscribe("a").unwrap();
    f.unsubscribe("a.b").unwrap();
    f.send_event("a.b", None).unwrap();
    assert!(take_event(&*f).is_some());
    call(&*f, "event.unsubscribe", json!({ "topic": "a" })).unwrap();
    assert_eq!(errnum(f.unsubscribe("a")), libc::ENOENT);
    let gone = call(&*f, "event.unsubscribe", json!({ "topic": "a" }));
    assert_eq!(failure(gone), (libc::ENOENT, None));
    f.send_event("a.b", None).unwrap();
    assert!(take_event(&*f).is_none());
}

#[test]
fn event_publish_answers_as_a_broker_does() {
    let f = open("embed://publish?size=2");
    f.subscribe("foo").unwrap();
    let publish = |payload: Value| call(&*f, "event.publish", payload);
    let received = || {
        let event = take_event(&*f).unwrap();
        event.payload().map(<[u8]>::to_vec)
    };
    let first = publish(json!({ "topic": "foo", "flags": 0 })).unwrap()["seq"].clone();
    assert_eq!(received(), None);
    for (payload, expected) in [
        ("aGVsbG8gd29ybGQ=", Some(&b"hello world"[..])),
        ("e30A", Some(b"{}")),
        ("e30", Some(b"{}")),
        ("", None),
    ] {
        publish(json!({ "topic": "foo", "flags": 0, "payload": payload })).unwrap();
        assert_eq!(received().as_deref(), expected);
    }
    let seq = publish(json!({ "topic": "foo", "flags": 32 })).unwrap()["seq"].clone();
    assert_eq!(seq.as_i64().unwrap(), first.as_i64().unwrap() + 5);
    assert_eq!(received(), None);
    for refused in [
        json!({ "topic": "foo" }),
        json!({ "flags": 0 }),
        json!({ "topic": "foo", "flags": 0, "payload": "aGVsbG8gd29ybGQ%" }),
        json!({ "topic": "foo", "flags": 4, "payload": "ewA=" }),
        json!({ "topic": "foo", "flags": 0, "payload": "e" }),
        json!({ "topic": "foo", "flags": 0, "payload": null }),
        json!({ "topic": "foo", "flags": 0.5 }),
    ] {
        assert_eq!(failure(publish(refused)), (libc::EPROTO, None));
    }
    let elsewhere = call_at(
        &*f,
        1,
        "event.publish",
        json!({ "topic": "foo", "flags": 0 }),
    );
    let text = "this service is only available on rank 0".to_owned();
    assert_eq!(failure(elsewhere), (libc::EPROTO, Some(text)));
    assert!(take_event(&*f).is_none());
}

/// The lines that the log keeps.
fn dmesg(f: &dyn Handle) -> Vec<String> {
    let payload = Some(&br#"{"follow":false}"#[..]);
    let mut lines = f
        .rpc("log.dmesg", payload, NODEID_ANY, rpc_flags::STREAMING)
        .unwrap();
    let mut read = Vec::new();
    loop {
        match lines.payload() {
            Ok(line) => read.push(String::from_utf8(line.unwrap().to_vec()).unwrap()),
            Err(error) => {
                assert_eq!(error.errnum, libc::ENODATA);
                return read;
            }
        }
        lines.reset();
    }
}

#[test]
fn the_log_keeps_lines_in_the_brokers_format() {
    let f = open("embed://log?size=2&rank=1");
    f.log(6, "hello world").unwrap();
    f.log(3, "line1\n\nline2\r\n").unwrap();
    f.log(9, "not kept").unwrap();
    let lines = dmesg(&*f);
    assert_eq!(lines.len(), 3);
    let fields: Vec<&str> = lines[0].splitn(8, ' ').collect();
    assert_eq!((fields[0], fields[2]), ("<48>1", "1"));
    assert_eq!(fields[1].len(), "2026-01-01T00:00:00.000000Z".len());
    assert_eq!(fields[4], std::process::id().to_string());
    assert_eq!(fields[7], "hello world");
    assert!(lines[1].starts_with("<24>1 ") && lines[1].ends_with(" - - line1"));
    assert!(lines[2].starts_with("<24>1 ") && lines[2].ends_with(" - - line2"));

    let stats = call(&*f, "log.stats-get", json!({})).unwrap();
    assert_eq!(
        stats,
        json!({ "ring-used": 3, "count": 3, "local": 4, "remote": 0 })
    );
    // Lines at level "error" are forwarded to rank 0, which counts them but
    // keeps only its own.
    let stats = call_at(&*f, 0, "log.stats-get", json!({})).unwrap();
    assert_eq!(
        stats,
        json!({ "ring-used": 0, "count": 0, "local": 0, "remote": 2 })
    );
    call(&*f, "log.clear", json!({})).unwrap();
    assert!(dmesg(&*f).is_empty());
    assert_eq!(
        errnum(call(&*f, "log.dmesg", json!({ "follow": false }))),
        libc::EPROTO
    );
}

#[test]
fn log_dmesg_with_follow_sends_each_line_until_it_is_cancelled() {
    let f = open("embed://follow");
    let payload = Some(&br#"{"follow":true,"nobacklog":true}"#[..]);
    f.log(6, "before").unwrap();
    let lines = f
        .rpc("log.dmesg", payload, NODEID_ANY, rpc_flags::STREAMING)
        .unwrap();
    assert_eq!(errnum(lines.wait(NOW)), libc::ETIMEDOUT);
    f.log(6, "after").unwrap();
    assert!(lines.payload().unwrap().unwrap().ends_with(b"after"));
    drop(lines);
    f.log(6, "unheard").unwrap();
    assert!(take(&*f, msgtype::ANY).is_none());
}

#[test]
fn the_log_keeps_only_the_last_1024_lines() {
    let f = open("embed://bounded");
    for i in 0..3000 {
        f.log(6, &format!("line {i}")).unwrap();
    }
    let lines = dmesg(&*f);
    assert_eq!(lines.len(), 1024);
    assert!(lines[0].ends_with("line 1976") && lines[1023].ends_with("line 2999"));
}
