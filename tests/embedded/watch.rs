//! Tests of KVS watches.

use super::kvs::{append, change, put};
use super::*;
use flux::backend::kvs_flags::{
    APPEND, READDIR, WAITCREATE, WATCH, WATCH_APPEND, WATCH_FULL, WATCH_UNIQ,
};

/// Takes what a watch has sent so far: values, and the errno that ended it.
fn sent(watch: &mut dyn Future) -> Vec<std::result::Result<String, i32>> {
    let mut sent = Vec::new();
    while watch.wait(NOW).is_ok() {
        match watch.payload() {
            Ok(value) => sent.push(Ok(String::from_utf8(value.unwrap().to_vec()).unwrap())),
            Err(error) => {
                sent.push(Err(error.errnum));
                break;
            }
        }
        watch.reset();
    }
    sent
}

fn value(text: &str) -> std::result::Result<String, i32> {
    Ok(text.to_owned())
}

/// How many watches the service has.
fn watchers(f: &dyn Handle) -> Value {
    call(f, "kvs-watch.stats-get", json!({})).unwrap()["watchers"].clone()
}

#[test]
fn a_watch_sends_the_current_value_and_then_each_change_in_order() {
    let f = open("embed://watch-order");
    let g = open("embed://watch-order");
    put(&*f, "k", "0");
    let mut watch = f.lookup(None, WATCH, "k").unwrap();
    assert_eq!(sent(&mut *watch), [value("0")]);
    for i in 1..=5 {
        put(&*g, "k", &i.to_string());
        put(&*g, "other", &i.to_string());
    }
    let expected: Vec<_> = (1..=5).map(|i| value(&i.to_string())).collect();
    assert_eq!(sent(&mut *watch), expected);
    put(&*g, "k", "5");
    assert_eq!(sent(&mut *watch), [value("5")]);
    change(&*g, |t| {
        t.put(0, "k", b"x").and_then(|()| t.put(0, ".k", b"y"))
    })
    .unwrap();
    assert_eq!(sent(&mut *watch), [value("y")]);
    change(&*g, |t| t.unlink("k")).unwrap();
    assert_eq!(sent(&mut *watch), [Err(libc::ENOENT)]);
    assert_eq!(watchers(&*f), 0);
}

#[test]
fn a_watch_of_a_missing_key_fails_unless_waitcreate_is_set() {
    let f = open("embed://watch-create");
    let mut watch = f.lookup(None, WATCH, "k").unwrap();
    assert_eq!(sent(&mut *watch), [Err(libc::ENOENT)]);
    let mut watch = f.lookup(None, WATCH | WAITCREATE, "k").unwrap();
    let once = f.lookup(None, WAITCREATE, "k").unwrap();
    put(&*f, "other", "1");
    assert!(sent(&mut *watch).is_empty());
    assert_eq!(errnum(once.wait(NOW)), libc::ETIMEDOUT);
    put(&*f, "k", "1");
    put(&*f, "k", "2");
    assert_eq!(sent(&mut *watch), [value("1"), value("2")]);
    assert_eq!(once.payload().unwrap().unwrap(), b"1");
    change(&*f, |t| t.unlink("k")).unwrap();
    assert_eq!(sent(&mut *watch), [Err(libc::ENOENT)]);
}

#[test]
fn a_unique_watch_skips_commits_that_do_not_change_the_value() {
    let f = open("embed://watch-unique");
    put(&*f, "k", "1");
    let mut watch = f.lookup(None, WATCH | WATCH_UNIQ, "k").unwrap();
    for text in ["1", "2", "2", "1"] {
        put(&*f, "k", text);
    }
    assert_eq!(sent(&mut *watch), [value("1"), value("2"), value("1")]);
    // The same bytes, but stored in two blobs.
    change(&*f, |t| {
        t.put(0, "k", b"").and_then(|()| t.put(APPEND, "k", b"1"))
    })
    .unwrap();
    assert!(sent(&mut *watch).is_empty());
}

#[test]
fn a_plain_watch_reacts_only_to_commits_that_name_its_key() {
    let f = open("embed://watch-plain");
    put(&*f, "d.k", "1");
    change(&*f, |t| t.symlink("l", None, "d.k")).unwrap();
    let mut key = f.lookup(None, WATCH, "d.k").unwrap();
    let mut link = f.lookup(None, WATCH, "l").unwrap();
    let mut dir = f.lookup(None, WATCH | READDIR, "d").unwrap();
    for watch in [&mut key, &mut link, &mut dir] {
        assert_eq!(sent(&mut **watch).len(), 1);
    }
    put(&*f, "d.k", "2");
    put(&*f, "d.other", "2");
    change(&*f, |t| t.unlink("d")).unwrap();
    assert_eq!(sent(&mut *key), [value("2")]);
    assert!(sent(&mut *link).is_empty());
    // The commit named the directory's key, but the directory is gone.
    assert_eq!(sent(&mut *dir), [Err(libc::ENOENT)]);
}

#[test]
fn a_full_watch_sees_changes_through_parents_children_and_links() {
    let f = open("embed://watch-full");
    put(&*f, "d.k", "1");
    change(&*f, |t| t.symlink("l", None, "d.k")).unwrap();
    let full = |key: &str, flags: i32| f.lookup(None, WATCH | WATCH_FULL | flags, key).unwrap();
    let mut key = full("d.k", 0);
    let mut link = full("l", 0);
    let mut dir = full("d", READDIR);
    for watch in [&mut key, &mut link, &mut dir] {
        assert_eq!(sent(&mut **watch).len(), 1);
    }
    put(&*f, "unrelated", "1");
    put(&*f, "d.k", "1");
    for watch in [&mut key, &mut link, &mut dir] {
        assert!(sent(&mut **watch).is_empty());
    }
    put(&*f, "d.k", "2");
    assert_eq!(sent(&mut *key), [value("2")]);
    assert_eq!(sent(&mut *link), [value("2")]);
    assert_eq!(sent(&mut *dir).len(), 1);
    put(&*f, "d.sub.deep", "1");
    let listing = sent(&mut *dir).remove(0).unwrap();
    assert!(listing.contains(r#""sub":{"data":["sha1-"#), "{listing}");
    put(&*f, "d.sub.deep", "2");
    assert_eq!(sent(&mut *dir).len(), 1);
    put(&*f, "elsewhere", "3");
    change(&*f, |t| t.symlink("l", None, "elsewhere")).unwrap();
    assert_eq!(sent(&mut *link), [value("3")]);
    change(&*f, |t| t.unlink("d")).unwrap();
    assert_eq!(sent(&mut *key), [Err(libc::ENOENT)]);
    assert_eq!(sent(&mut *dir), [Err(libc::ENOENT)]);
}

#[test]
fn an_append_watch_sends_only_the_appended_part() {
    let f = open("embed://watch-append");
    let watch = |key: &str| {
        f.lookup(None, WATCH | WATCH_APPEND | WAITCREATE, key)
            .unwrap()
    };
    let mut log = watch("log");
    append(&*f, "log", "a");
    append(&*f, "log", "b");
    change(&*f, |t| {
        t.put(APPEND, "log", b"c")
            .and_then(|()| t.put(APPEND, "log", b"d"))
    })
    .unwrap();
    assert_eq!(sent(&mut *log), ["a", "b", "c", "d"].map(value));
    let mut late = watch("log");
    assert_eq!(sent(&mut *late), ["a", "b", "c", "d"].map(value));
    put(&*f, "log", "short");
    log.wait(NOW).unwrap();
    let (errnum, detail) = failure(log.payload());
    assert_eq!(errnum, libc::EINVAL);
    assert_eq!(
        detail.unwrap(),
        "value of key watched with WATCH_APPEND overwritten"
    );
    append(&*f, "long", "1");
    append(&*f, "long", "2");
    let mut long = watch("long");
    assert_eq!(sent(&mut *long), ["1", "2"].map(value));
    put(&*f, "long", &"x".repeat(100));
    long.wait(NOW).unwrap();
    assert_eq!(
        failure(long.payload()).1.unwrap(),
        "key watched with WATCH_APPEND shortened"
    );
    put(&*f, "d.x", "1");
    let error = failure(watch("d").payload().map(|_| ()));
    let text = "dirref cannot be watched with WATCH_APPEND".to_owned();
    assert_eq!(error, (libc::EISDIR, Some(text)));
}

#[test]
fn cancelling_ends_a_watch_with_enodata() {
    let f = open("embed://watch-cancel");
    put(&*f, "k", "1");
    let request = json!({ "key": "k", "flags": WATCH, "namespace": "primary" }).to_string();
    let streaming = flux::backend::rpc_flags::STREAMING;
    let mut watch = f
        .rpc(
            "kvs-watch.lookup",
            Some(request.as_bytes()),
            NODEID_ANY,
            streaming,
        )
        .unwrap();
    assert_eq!(sent(&mut *watch).len(), 1);
    put(&*f, "k", "2");
    let response = take(&*f, msgtype::RESPONSE).unwrap();
    let tag = response.matchtag().unwrap();
    assert_eq!(data(&*response)["val"]["data"], "Mg==");
    let cancel = json!({ "matchtag": tag }).to_string();
    let noresponse = flux::backend::rpc_flags::NORESPONSE;
    f.rpc(
        "kvs-watch.cancel",
        Some(cancel.as_bytes()),
        NODEID_ANY,
        noresponse,
    )
    .unwrap();
    assert_eq!(sent(&mut *watch), [Err(libc::ENODATA)]);
    assert_eq!(watchers(&*f), 0);
}

#[test]
fn dropping_a_watch_cancels_it_and_discards_its_responses() {
    let f = open("embed://watch-drop");
    put(&*f, "k", "1");
    for flags in [WATCH, WATCH | WATCH_FULL, WATCH | WATCH_APPEND] {
        let watch = f.lookup(None, flags, "k").unwrap();
        assert_eq!(watchers(&*f), 1);
        drop(watch);
        assert_eq!(watchers(&*f), 0);
    }
    drop(f.lookup(None, WAITCREATE, "never").unwrap());
    assert_eq!(watchers(&*f), 0);
    put(&*f, "k", "2");
    assert!(take(&*f, msgtype::ANY).is_none());
}

#[test]
fn closing_a_handle_ends_its_watches() {
    let f = open("embed://watch-ends");
    let g = open("embed://watch-ends");
    put(&*f, "k", "1");
    let watch = g.lookup(None, WATCH, "k").unwrap();
    assert_eq!(watchers(&*f), 1);
    drop(g);
    assert_eq!(watchers(&*f), 0);
    put(&*f, "k", "2");
    drop(watch);
}

#[test]
fn a_watch_can_wait_for_its_namespace_and_ends_with_it() {
    let f = open("embed://watch-namespace");
    let watch = |flags: i32| f.lookup(Some("ns"), flags, "k").unwrap();
    assert_eq!(errnum(watch(WATCH).payload()), libc::ENOTSUP);
    let mut waiting = watch(WATCH | WAITCREATE);
    assert!(sent(&mut *waiting).is_empty());
    put(&*f, "k", "copied");
    let root = call(&*f, "kvs.getroot", json!({ "namespace": "primary" })).unwrap();
    let create = json!({ "namespace": "ns", "rootref": root["rootref"], "owner": -1, "flags": 0 });
    call(&*f, "kvs.namespace-create", create).unwrap();
    assert_eq!(sent(&mut *waiting), [value("copied")]);
    call(&*f, "kvs.namespace-remove", json!({ "namespace": "ns" })).unwrap();
    assert_eq!(sent(&mut *waiting), [Err(libc::ENOTSUP)]);
}

#[test]
fn wrong_watch_requests_fail_with_the_brokers_texts() {
    let f = open("embed://watch-checked");
    let why = |flags: i32, rpc_flags: i32| {
        let request = json!({ "key": "k", "flags": flags, "namespace": "primary" }).to_string();
        let future = f.rpc(
            "kvs-watch.lookup",
            Some(request.as_bytes()),
            NODEID_ANY,
            rpc_flags,
        );
        let (errnum, detail) = failure(future.unwrap().payload().map(|_| ()));
        (errnum, detail.unwrap_or_default())
    };
    let says = |errnum: i32, text: &str| (errnum, text.to_owned());
    let text = "KVS watch request rejected without streaming RPC flag";
    assert_eq!(why(WATCH, 0), says(libc::EPROTO, text));
    let text = "Must set KVS watch flag with other watch flags";
    assert_eq!(why(WATCH_FULL, 2), says(libc::EINVAL, text));
    let text = "Cannot KVS watch and stream at the same time";
    assert_eq!(why(WATCH | 512, 2), says(libc::EINVAL, text));
    let text = "Must set KVS watch append flag with initial sentinel flag";
    assert_eq!(why(WATCH | 1024, 2), says(libc::EINVAL, text));
    assert_eq!(
        failure(call(&*f, "kvs-watch.lookup", json!({}))),
        (libc::EPROTO, None)
    );
}

#[test]
fn an_append_watch_sees_every_append_of_several_threads() {
    let f = open("embed://watch-threads");
    let mut watch = f
        .lookup(None, WATCH | WATCH_APPEND | WAITCREATE, "log")
        .unwrap();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let g = open("embed://watch-threads");
                (0..100).for_each(|_| append(&*g, "log", "x"));
            })
        })
        .collect();
    for _ in 0..400 {
        assert_eq!(watch.payload().unwrap().unwrap(), b"x");
        watch.reset();
    }
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    assert!(sent(&mut *watch).is_empty());
}
