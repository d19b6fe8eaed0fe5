//! Tests of the key-value store: lookups, transactions, links, namespaces. Other
//! modules use the helpers that write values.

use super::*;
use flux::backend::kvs_flags::{APPEND, READDIR, READLINK, TREEOBJ, WATCH, WATCH_FULL};
use flux::backend::treeobj::{self, EntryKind};

/// Commits a value.
pub fn put(f: &dyn Handle, key: &str, value: &str) {
    change(f, |t| t.put(0, key, value.as_bytes())).unwrap();
}

/// Commits an append to a value.
pub fn append(f: &dyn Handle, key: &str, value: &str) {
    change(f, |t| t.put(APPEND, key, value.as_bytes())).unwrap();
}

/// Commits a transaction that `fill` fills.
pub fn change(
    f: &dyn Handle,
    fill: impl FnOnce(&mut dyn flux::backend::Transaction) -> Result<()>,
) -> Result<()> {
    change_in(f, None, fill)
}

fn change_in(
    f: &dyn Handle,
    namespace: Option<&str>,
    fill: impl FnOnce(&mut dyn flux::backend::Transaction) -> Result<()>,
) -> Result<()> {
    let mut transaction = f.transaction()?;
    fill(&mut *transaction)?;
    f.commit(namespace, 0, &mut *transaction)?
        .payload()
        .map(|_| ())
}

fn get_in(f: &dyn Handle, namespace: Option<&str>, flags: i32, key: &str) -> Result<String> {
    let future = f.lookup(namespace, flags, key)?;
    let text = future.payload()?.unwrap().to_vec();
    Ok(String::from_utf8(text).unwrap())
}

/// Looks a key up. Checks that a raw `kvs.lookup` request finds the same.
fn get(f: &dyn Handle, flags: i32, key: &str) -> Result<String> {
    let found = get_in(f, None, flags, key);
    let request = json!({ "key": key, "flags": flags, "namespace": "primary" });
    let raw = call(f, "kvs.lookup", request);
    match (&found, raw) {
        (Ok(text), Ok(raw)) if flags == 0 => {
            assert_eq!(base64(text.as_bytes()), raw["val"]["data"]);
            assert_eq!(raw["val"]["type"], "val");
        }
        (Ok(text), Ok(raw)) => {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), raw["val"]);
        }
        (Err(error), Err(raw)) => assert_eq!(*error, raw),
        (found, raw) => panic!("{key}: {found:?}, but raw {raw:?}"),
    }
    found
}

fn base64(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bit = |i: usize| chunk.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
        for sextet in 0..4 {
            let value = (0..6).fold(0, |value, i| value << 1 | bit(sextet * 6 + i));
            let padding = sextet > chunk.len();
            text.push(if padding {
                '='
            } else {
                digits[usize::from(value)].into()
            });
        }
    }
    text
}

/// The names in a directory.
fn names(f: &dyn Handle, key: &str) -> Vec<String> {
    let listing = get(f, READDIR, key).unwrap();
    let entries = treeobj::dir_entries(listing.as_bytes()).unwrap();
    entries.into_iter().map(|(name, _)| name).collect()
}

/// Sends a `kvs.commit` request with these operations.
fn commit_raw(f: &dyn Handle, ops: Value) -> Result<Value> {
    let payload = json!({ "ops": ops, "namespace": "primary", "flags": 0 });
    call(f, "kvs.commit", payload)
}

/// A tree object with a small value.
fn val(text: &str) -> Value {
    json!({ "ver": 1, "type": "val", "data": base64(text.as_bytes()) })
}

/// An operation of a `kvs.commit` request.
fn op(key: &str, dirent: Value) -> Value {
    json!({ "key": key, "flags": 0, "dirent": dirent })
}

#[test]
fn a_value_can_hold_any_bytes() {
    let f = open("embed://kvs-bytes");
    let bytes: Vec<u8> = (0..=255).collect();
    for len in [0, 1, 2, 3, 54, 55, 256] {
        change(&*f, |t| t.put(0, "k", &bytes[..len])).unwrap();
        let future = f.lookup(None, 0, "k").unwrap();
        assert_eq!(future.payload().unwrap().unwrap(), &bytes[..len]);
    }
}

#[test]
fn a_commit_is_seen_by_every_handle_at_every_rank() {
    let f = open("embed://kvs-ranks?size=3&rank=2");
    let g = open("embed://kvs-ranks?rank=1");
    put(&*f, "a.b.c", "1");
    assert_eq!(get(&*g, 0, "a.b.c").unwrap(), "1");
}

#[test]
fn a_lookup_of_the_wrong_kind_fails_with_the_brokers_errno() {
    let f = open("embed://kvs-why");
    put(&*f, "a.b", "hello");
    for (key, flags, expected) in [
        ("a", 0, libc::EISDIR),
        ("a", READLINK, libc::EINVAL),
        ("a.b", READDIR, libc::ENOTDIR),
        ("a.b", READLINK, libc::EINVAL),
        ("a.b.c", 0, libc::ENOENT),
        ("nosuch", 0, libc::ENOENT),
        (".", 0, libc::EISDIR),
        (".", READLINK, libc::EISDIR),
        ("...", 0, libc::EISDIR),
    ] {
        let error = failure(get(&*f, flags, key));
        assert_eq!(error, (expected, None), "{key} {flags}");
    }
    assert_eq!(errnum(f.lookup(None, 0, "")), libc::EINVAL);
    assert_eq!(
        errnum(f.lookup(None, READDIR | READLINK, "a")),
        libc::EINVAL
    );
    assert_eq!(errnum(f.lookup(None, WATCH_FULL, "a")), libc::EINVAL);
    assert_eq!(errnum(f.lookup(None, APPEND, "a")), libc::EINVAL);
    assert_eq!(errnum(f.lookup(None, WATCH | 1 << 20, "a")), libc::EINVAL);
}

#[test]
fn extra_dots_in_keys_are_ignored() {
    let f = open("embed://kvs-keys");
    put(&*f, "..a...b.", "1");
    for key in ["a.b", ".a.b", "a.b.", "a..b", "...a..b.."] {
        assert_eq!(get(&*f, 0, key).unwrap(), "1");
    }
    assert_eq!(names(&*f, "..."), ["a"]);
    change(&*f, |t| t.unlink("a...b")).unwrap();
    assert_eq!(errnum(get(&*f, 0, "a.b")), libc::ENOENT);
}

#[test]
fn a_directory_listing_refers_to_directories_and_large_values_by_hash() {
    let f = open("embed://kvs-listing");
    change(&*f, |t| {
        t.put(0, "d.small", b"x")?;
        t.put(0, "d.large", &[b'x'; 55])?;
        t.put(0, "d.sub.deep", b"x")?;
        t.symlink("d.link", None, "d.small")?;
        t.mkdir("d.empty")
    })
    .unwrap();
    let text = get(&*f, READDIR, "d").unwrap();
    let listing: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&listing["ver"], &listing["type"]),
        (&json!(1), &json!("dir"))
    );
    let entries = &listing["data"];
    assert_eq!(entries["small"], val("x"));
    assert_eq!(entries["large"]["type"], "valref");
    assert_eq!(entries["link"]["data"], json!({ "target": "d.small" }));
    for dir in ["sub", "empty"] {
        assert_eq!(entries[dir]["type"], "dirref");
        let reference = entries[dir]["data"][0].as_str().unwrap();
        assert!(reference.len() == 45 && reference.starts_with("sha1-"));
    }
    assert_eq!(entries["empty"]["data"][0], EMPTY_DIR);
    assert_eq!(
        treeobj::dir_entries(text.as_bytes()).unwrap(),
        [
            ("empty".to_owned(), EntryKind::Dir),
            ("large".to_owned(), EntryKind::Value),
            ("link".to_owned(), EntryKind::Symlink),
            ("small".to_owned(), EntryKind::Value),
            ("sub".to_owned(), EntryKind::Dir),
        ]
    );
    let object =
        |key: &str| -> Value { serde_json::from_str(&get(&*f, TREEOBJ, key).unwrap()).unwrap() };
    assert_eq!(object("d.small"), val("x"));
    assert_eq!(object("d")["type"], "dirref");
    assert_eq!(object("d.sub"), entries["sub"]);
    assert_eq!(object(".")["type"], "dirref");
}

#[test]
fn blobs_are_named_by_their_sha1() {
    let f = open("embed://kvs-sha1");
    let root = call(&*f, "kvs.getroot", json!({ "namespace": "primary" })).unwrap();
    assert_eq!(root["rootref"], EMPTY_DIR);
    put(&*f, "k", "one");
    append(&*f, "k", "two");
    append(&*f, "k", &"long ".repeat(50));
    let object: Value = serde_json::from_str(&get(&*f, TREEOBJ, "k").unwrap()).unwrap();
    let refs = [
        "sha1-fe05bcdcdc4928012781a5f1a2a77cbb5398e106",
        "sha1-ad782ecdac770fc6eb9a62e44f90873fb97fb26b",
        "sha1-87a7940a1adaa4a4db2be31b6ada7bfd6345c382",
    ];
    assert_eq!(object["data"], json!(refs));
}

/// The reference to an empty directory, the same in every instance: the SHA-1
/// of `{"data":{},"type":"dir","ver":1}`.
const EMPTY_DIR: &str = "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91";

#[test]
fn directories_with_equal_contents_have_equal_references() {
    let f = open("embed://kvs-equal");
    let reference = |key: &str| get(&*f, TREEOBJ, key).unwrap();
    for i in 0..50 {
        put(&*f, &format!("up.k{i}"), "x");
        put(&*f, &format!("down.k{}", 49 - i), "x");
    }
    assert_eq!(reference("up"), reference("down"));
    put(&*f, "up.k7", "y");
    assert_ne!(reference("up"), reference("down"));
    put(&*f, "up.k7", "x");
    assert_eq!(reference("up"), reference("down"));
    change(&*f, |t| t.unlink("up.k7")).unwrap();
    assert_ne!(reference("up"), reference("down"));
}

#[test]
fn a_transaction_is_applied_completely_or_not_at_all() {
    let f = open("embed://kvs-whole");
    put(&*f, "keep", "1");
    let failed = change(&*f, |t| {
        t.put(0, "new", b"1")?;
        t.unlink("keep")?;
        t.put(0, ".", b"the root cannot be put")
    });
    assert_eq!(failure(failed), (libc::EINVAL, None));
    assert_eq!(get(&*f, 0, "keep").unwrap(), "1");
    assert_eq!(errnum(get(&*f, 0, "new")), libc::ENOENT);
    change(&*f, |t| {
        t.put(0, "k", b"1")?;
        t.unlink("k")?;
        t.put(0, "k", b"2")?;
        t.put(APPEND, "k", b"3")
    })
    .unwrap();
    assert_eq!(get(&*f, 0, "k").unwrap(), "23");
}

#[test]
fn a_transaction_refuses_empty_keys_and_keeps_its_other_operations() {
    let f = open("embed://kvs-refuses");
    let mut t = f.transaction().unwrap();
    t.put(0, "k", b"1").unwrap();
    assert_eq!(errnum(t.put(0, "", b"1")), libc::EINVAL);
    assert_eq!(errnum(t.unlink("")), libc::EINVAL);
    assert_eq!(errnum(t.mkdir("")), libc::EINVAL);
    assert_eq!(errnum(t.symlink("", None, "k")), libc::EINVAL);
    assert_eq!(errnum(t.put(READDIR, "k", b"1")), libc::EINVAL);
    f.commit(None, 0, &mut *t).unwrap().payload().unwrap();
    assert_eq!(names(&*f, "."), ["k"]);
}

#[test]
fn values_and_directories_replace_each_other() {
    let f = open("embed://kvs-replace");
    put(&*f, "dir.t", "1");
    put(&*f, "dir.t.u", "2");
    assert_eq!(get(&*f, 0, "dir.t.u").unwrap(), "2");
    put(&*f, "dir.t", "bar");
    assert_eq!(get(&*f, 0, "dir.t").unwrap(), "bar");
    put(&*f, "dir", "val");
    assert_eq!(get(&*f, 0, "dir").unwrap(), "val");
    put(&*f, "dir.x.y", "1");
    change(&*f, |t| t.mkdir("dir.x")).unwrap();
    assert!(names(&*f, "dir.x").is_empty());
}

#[test]
fn unlinking_a_missing_key_succeeds() {
    let f = open("embed://kvs-unlink");
    put(&*f, "a.b", "1");
    for key in ["nosuch", "no.such", "a.c", "a.b.c"] {
        change(&*f, |t| t.unlink(key)).unwrap();
    }
    assert_eq!(get(&*f, 0, "a.b").unwrap(), "1");
    assert_eq!(names(&*f, "."), ["a"]);
    change(&*f, |t| t.unlink("a")).unwrap();
    assert!(names(&*f, ".").is_empty());
}

#[test]
fn appending_extends_values_but_not_directories_or_links() {
    let f = open("embed://kvs-append");
    append(&*f, "log", "a");
    append(&*f, "log", "b");
    append(&*f, "log", "");
    append(&*f, "log", "c");
    assert_eq!(get(&*f, 0, "log").unwrap(), "abc");
    put(&*f, "d.x", "1");
    change(&*f, |t| t.symlink("l", None, "log")).unwrap();
    let appending = |key: &str| failure(change(&*f, |t| t.put(APPEND, key, b"x")));
    assert_eq!(appending("d"), (libc::EISDIR, None));
    assert_eq!(appending("l"), (libc::EOPNOTSUPP, None));
}

#[test]
fn lookups_follow_links_as_a_broker_does() {
    let f = open("embed://kvs-links");
    put(&*f, "a.b", "hello");
    change(&*f, |t| {
        t.symlink("to_value", None, "a.b")?;
        t.symlink("to_dir", None, "a")?;
        t.symlink("to_root", None, ".")?;
        t.symlink("dangling", None, "no.where")?;
        t.symlink("twice", None, "to_dir")
    })
    .unwrap();
    for key in [
        "to_value",
        "to_dir.b",
        "to_root.a.b",
        "twice.b",
        "to_root.to_root.to_value",
    ] {
        assert_eq!(get(&*f, 0, key).unwrap(), "hello", "{key}");
    }
    assert_eq!(names(&*f, "to_dir"), ["b"]);
    assert_eq!(errnum(get(&*f, 0, "dangling")), libc::ENOENT);
    assert_eq!(errnum(get(&*f, 0, "to_root")), libc::EISDIR);
    let link = get(&*f, READLINK, "to_value").unwrap();
    assert_eq!(
        treeobj::symlink_target(link.as_bytes()).unwrap(),
        (None, "a.b".to_owned())
    );
    assert_eq!(get(&*f, TREEOBJ, "to_value").unwrap(), link);
    // `twice` links to another link, and a READLINK lookup does not follow that.
    assert_eq!(errnum(get(&*f, READLINK, "twice.b")), libc::ENOTRECOVERABLE);
}

#[test]
fn commits_follow_links_inside_a_key_and_replace_a_link_at_its_end() {
    let f = open("embed://kvs-through");
    put(&*f, "a.b", "1");
    change(&*f, |t| {
        t.symlink("l", None, "a")?;
        t.symlink("new", None, "made.here")
    })
    .unwrap();
    put(&*f, "l.c", "2");
    assert_eq!(names(&*f, "a"), ["b", "c"]);
    change(&*f, |t| t.unlink("l.b")).unwrap();
    assert_eq!(names(&*f, "a"), ["c"]);
    put(&*f, "new.x", "3");
    assert_eq!(get(&*f, 0, "made.here.x").unwrap(), "3");
    put(&*f, "l", "no link");
    assert_eq!(get(&*f, 0, "l").unwrap(), "no link");
    assert_eq!(names(&*f, "a"), ["c"]);
}

#[test]
fn links_in_a_circle_or_a_chain_of_more_than_ten_fail_with_eloop() {
    let f = open("embed://kvs-eloop");
    change(&*f, |t| {
        t.symlink("l1", None, "l2")?;
        t.symlink("l2", None, "l1")?;
        t.symlink("grows", None, "grows.x")
    })
    .unwrap();
    assert_eq!(failure(get(&*f, 0, "l1")), (libc::ELOOP, None));
    assert_eq!(failure(get(&*f, 0, "l1.x")), (libc::ELOOP, None));
    assert_eq!(failure(get(&*f, 0, "grows")), (libc::ELOOP, None));
    assert_eq!(errnum(change(&*f, |t| t.put(0, "l1.x", b""))), libc::ELOOP);
    assert_eq!(
        errnum(change(&*f, |t| t.put(0, "grows.x", b""))),
        libc::ELOOP
    );
    change(&*f, |t| {
        (0..12).try_for_each(|i| t.symlink(&format!("c{i}"), None, &format!("c{}", i + 1)))
    })
    .unwrap();
    put(&*f, "c12", "end");
    assert_eq!(get(&*f, 0, "c2").unwrap(), "end");
    assert_eq!(errnum(get(&*f, 0, "c1")), libc::ELOOP);
}

#[test]
fn raw_commits_are_checked_as_a_broker_checks_them() {
    let f = open("embed://kvs-raw");
    let dir = json!({ "ver": 1, "type": "dir", "data": {
        "x": val("1"), "y": { "ver": 1, "type": "dir", "data": { "z": val("2") } },
    }});
    let landed = commit_raw(&*f, json!([op("tree", dir)])).unwrap();
    assert_eq!(landed["rootseq"], 1);
    assert!(landed["rootref"].as_str().unwrap().starts_with("sha1-"));
    assert_eq!(get(&*f, 0, "tree.y.z").unwrap(), "2");
    for (ops, expected) in [
        (
            json!([op("k", json!({ "ver": 2, "type": "val", "data": "" }))]),
            libc::EINVAL,
        ),
        (
            json!([op("k", json!({ "ver": 1, "type": "val" }))]),
            libc::EINVAL,
        ),
        (
            json!([op("k", json!({ "ver": 1, "type": "odd", "data": "" }))]),
            libc::EINVAL,
        ),
        (json!([op("k", json!(5))]), libc::EINVAL),
        (
            json!([op("k", json!({ "ver": 1, "type": "symlink", "data": {} }))]),
            libc::EINVAL,
        ),
        (json!([op(".", val("x"))]), libc::EINVAL),
        (json!([{ "key": "k", "dirent": val("x") }]), libc::EPROTO),
        (json!([{ "key": "k", "flags": 0 }]), libc::EPROTO),
        (json!([5]), libc::EPROTO),
        (
            json!([{ "key": "k", "flags": 32, "dirent": { "ver": 1, "type": "dir", "data": {} } }]),
            libc::EPROTO,
        ),
    ] {
        assert_eq!(
            failure(commit_raw(&*f, ops.clone())),
            (expected, None),
            "{ops}"
        );
    }
    assert_eq!(commit_raw(&*f, json!([])).unwrap()["rootseq"], 2);
    assert_eq!(
        failure(call(&*f, "kvs.commit", json!({}))),
        (libc::EPROTO, None)
    );
}

#[test]
fn a_commit_accepts_directories_nested_up_to_the_json_depth_limit() {
    // The thread has a small stack: deep nesting must not use much of it.
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let committed = thread.spawn(commit_deep_directories).unwrap();
    committed.join().unwrap();
}

fn commit_deep_directories() {
    let f = open("embed://kvs-deep-commit");
    let commit = |depth: usize| {
        let open = r#"{"ver":1,"type":"dir","data":{"d":"#.repeat(depth);
        let dirent = [open, val("x").to_string(), "}}".repeat(depth)].concat();
        let op = format!(r#"{{"key":"k","flags":0,"dirent":{dirent}}}"#);
        let payload = format!(r#"{{"ops":[{op}],"namespace":"primary","flags":0}}"#);
        let future = f.rpc("kvs.commit", Some(payload.as_bytes()), NODEID_ANY, 0)?;
        answer(&*future)
    };
    // The request, its list and the operation are three levels, the value is
    // one, and each directory is two.
    let deepest = (flux::MAX_JSON_DEPTH as usize - 4) / 2;
    assert_eq!(commit(deepest).unwrap()["rootseq"], 1);
    let key = format!("k{}", ".d".repeat(deepest));
    assert_eq!(get(&*f, 0, &key).unwrap(), "x");
    assert_eq!(errnum(commit(deepest + 1)), libc::EPROTO);
    assert_eq!(errnum(commit(100_000)), libc::EPROTO);
}

#[test]
fn a_raw_commit_accepts_base64_with_or_without_padding() {
    let f = open("embed://kvs-base64");
    let commit = |data: &str| {
        let dirent = json!({ "ver": 1, "type": "val", "data": data });
        commit_raw(&*f, json!([{ "key": "k", "flags": 0, "dirent": dirent }]))
    };
    for (data, value) in [
        ("", ""),
        ("eA==", "x"),
        ("eA=", "x"),
        ("eA", "x"),
        // Bits after the last whole byte are ignored.
        ("eB", "x"),
        ("eHk=", "xy"),
        ("eHl6", "xyz"),
    ] {
        commit(data).unwrap();
        assert_eq!(get(&*f, 0, "k").unwrap(), value, "{data}");
    }
    for data in ["e", "eA==eA==", "eA-_", "e A="] {
        assert_eq!(errnum(commit(data)), libc::EPROTO, "{data}");
    }
}

#[test]
fn the_root_counts_commits_and_old_roots_can_be_read() {
    let f = open("embed://kvs-root");
    let root = || call(&*f, "kvs.getroot", json!({ "namespace": "primary" })).unwrap();
    assert_eq!(root()["rootseq"], 0);
    put(&*f, "k", "1");
    let first = root();
    let fields: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["flags", "namespace", "owner", "rootref", "rootseq"]
    );
    assert_eq!(
        (&first["rootseq"], &first["namespace"]),
        (&json!(1), &json!("primary"))
    );
    put(&*f, "k", "2");
    let second = root();
    assert_ne!(first["rootref"], second["rootref"]);
    assert_eq!(second["rootseq"], 2);

    let at = |root: &Value| json!({ "ver": 1, "type": "dirref", "data": [root] });
    let look = |rootdir: Value| {
        call(
            &*f,
            "kvs.lookup",
            json!({ "key": "k", "flags": 0, "rootdir": rootdir }),
        )
    };
    assert_eq!(look(at(&first["rootref"])).unwrap()["val"], val("1"));
    assert_eq!(look(at(&second["rootref"])).unwrap()["val"], val("2"));
    let unknown = json!("sha1-0123456789012345678901234567890123456789");
    assert_eq!(failure(look(at(&unknown))), (libc::ENOENT, None));
    assert_eq!(failure(look(at(&json!("junk")))), (libc::EINVAL, None));
    let plus = json!({ "key": "no", "flags": 0, "namespace": "primary" });
    let plus = call(&*f, "kvs.lookup-plus", plus).unwrap();
    assert_eq!(
        plus,
        json!({ "errno": 2, "rootseq": 2, "rootref": second["rootref"] })
    );
}

#[test]
fn namespaces_are_separate_and_links_can_point_into_another() {
    let f = open("embed://kvs-namespaces?size=2&rank=1");
    let create = |name: &str| {
        let root = call(&*f, "kvs.getroot", json!({ "namespace": "primary" })).unwrap();
        let payload =
            json!({ "namespace": name, "rootref": root["rootref"], "owner": -1, "flags": 0 });
        call(&*f, "kvs.namespace-create", payload)
    };
    let list = || {
        let list = call(&*f, "kvs.namespace-list", json!({})).unwrap();
        let names = list["namespaces"].as_array().unwrap().iter();
        names
            .map(|ns| ns["namespace"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    create("other").unwrap();
    assert_eq!(list(), ["other", "primary"]);
    assert_eq!(failure(create("other")), (libc::EEXIST, None));
    change_in(&*f, Some("other"), |t| t.put(0, "k", b"there")).unwrap();
    assert_eq!(errnum(get(&*f, 0, "k")), libc::ENOENT);
    assert_eq!(get_in(&*f, Some("other"), 0, "k").unwrap(), "there");
    change(&*f, |t| t.symlink("link", Some("other"), "k")).unwrap();
    assert_eq!(get(&*f, 0, "link").unwrap(), "there");
    let link = get(&*f, READLINK, "link").unwrap();
    let target = treeobj::symlink_target(link.as_bytes()).unwrap();
    assert_eq!(target, (Some("other".to_owned()), "k".to_owned()));
    assert_eq!(
        errnum(change(&*f, |t| t.put(0, "link.x", b""))),
        libc::EINVAL
    );

    let remove = |name: &str| call(&*f, "kvs.namespace-remove", json!({ "namespace": name }));
    assert_eq!(failure(remove("primary")), (libc::ENOTSUP, None));
    remove("nosuch").unwrap();
    remove("other").unwrap();
    assert_eq!(list(), ["primary"]);
    assert_eq!(failure(get(&*f, 0, "link")), (libc::ENOTSUP, None));
    assert_eq!(errnum(get_in(&*f, Some("other"), 0, "k")), libc::ENOTSUP);
    let gone = change_in(&*f, Some("other"), |t| t.put(0, "k", b""));
    assert_eq!(failure(gone), (libc::ENOTSUP, None));
}

#[test]
fn kvs_wait_version_answers_once_the_version_exists() {
    let f = open("embed://kvs-version");
    let wait = |rootseq: i32| {
        let payload = json!({ "rootseq": rootseq, "namespace": "primary" }).to_string();
        f.rpc("kvs.wait-version", Some(payload.as_bytes()), NODEID_ANY, 0)
            .unwrap()
    };
    assert_eq!(answer(&*wait(0)).unwrap()["rootseq"], 0);
    let second = wait(2);
    put(&*f, "k", "1");
    assert_eq!(errnum(second.wait(NOW)), libc::ETIMEDOUT);
    put(&*f, "k", "2");
    assert_eq!(answer(&*second).unwrap()["rootseq"], 2);
    let unknown = json!({ "rootseq": 0, "namespace": "nosuch" });
    assert_eq!(
        failure(call(&*f, "kvs.wait-version", unknown)),
        (libc::ENOTSUP, None)
    );
}

#[test]
fn kvs_stats_and_kvs_stats_get_return_the_same_statistics() {
    let f = open("embed://kvs-stats");
    put(&*f, "k", "1");
    change(&*f, |t| {
        t.put(0, "a", b"1").and_then(|()| t.put(0, "b", b"2"))
    })
    .unwrap();
    let stats = call(&*f, "kvs.stats-get", json!({})).unwrap();
    assert_eq!(call(&*f, "kvs.stats", json!({})).unwrap(), stats);
    assert_eq!(stats["namespace"]["primary"]["store revision"], 2);
    let commits = &stats["transaction-opcount"]["commit"];
    assert_eq!((&commits["count"], &commits["max"]), (&json!(2), &json!(2)));
    assert_eq!(commits["mean"], 1.5);
    assert_eq!(stats["pending_requests"], 0);
}

#[test]
fn commits_and_their_failures_are_published_as_events() {
    let f = open("embed://kvs-events");
    f.subscribe("kvs.namespace-primary").unwrap();
    change(&*f, |t| t.put(0, "a..k", b"1").and_then(|()| t.unlink("z"))).unwrap();
    let event = take_event(&*f).unwrap();
    assert_eq!(topic(&*event), "kvs.namespace-primary-setroot");
    let event = data(&*event);
    assert_eq!(
        (&event["rootseq"], &event["namespace"]),
        (&json!(1), &json!("primary"))
    );
    assert_eq!(event["keys"], json!({ "a.k": null, "z": null }));
    assert_eq!(event["names"], json!(["transaction_req.0.0"]));
    assert_eq!(errnum(change(&*f, |t| t.unlink("."))), libc::EINVAL);
    let event = take_event(&*f).unwrap();
    assert_eq!(topic(&*event), "kvs.namespace-primary-error");
    assert_eq!(data(&*event)["errnum"], libc::EINVAL);
}

#[test]
fn a_key_of_twenty_thousand_levels_can_be_stored_and_removed() {
    let f = open("embed://kvs-deep");
    let key = vec!["d"; 20_000].join(".");
    put(&*f, &key, "bottom");
    assert_eq!(get(&*f, 0, &key).unwrap(), "bottom");
    change(&*f, |t| t.unlink("d")).unwrap();
    assert_eq!(errnum(get(&*f, 0, &key)), libc::ENOENT);
}
