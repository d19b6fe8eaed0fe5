//! Tests of opening handles, and of how long an instance lives.

use super::*;

/// The text of the error with which a URI is refused.
fn refusal(uri: &str) -> String {
    let (errnum, detail) = failure(embedded::open(uri));
    assert_eq!(errnum, libc::EINVAL, "{uri}");
    detail.unwrap()
}

#[test]
fn a_uri_names_the_instance_its_size_and_the_rank() {
    let f = open("embed://uri-says?size=4&rank=3");
    assert_eq!((f.rank().unwrap(), f.size().unwrap()), (3, 4));
    assert_eq!(f.attr_get("rank").unwrap(), "3");
    assert_eq!(f.attr_get("size").unwrap(), "4");

    let uri = f.attr_get("local-uri").unwrap();
    assert_eq!(uri, "embed://uri-says?size=4&rank=3");
    assert_eq!(open(&uri).rank().unwrap(), 3);
}

#[test]
fn a_uri_without_a_size_opens_an_existing_instance_of_any_size() {
    let _keep = open("embed://own-size?size=5");
    let f = open("embed://own-size?rank=4");
    assert_eq!((f.rank().unwrap(), f.size().unwrap()), (4, 5));
}

#[test]
fn a_wrong_uri_fails_with_einval_and_a_text_that_explains_it() {
    let _keep = open("embed://wrong?size=2");
    for (uri, expected) in [
        (
            "embed://wrong?size=3",
            "size=3: the instance 'wrong' has size 2",
        ),
        (
            "embed://wrong?rank=2",
            "rank=2 is outside the instance 'wrong' of size 2",
        ),
        (
            "embed://?rank=1",
            "rank=1 is outside the instance '' of size 1",
        ),
        ("embed://x?size=0", "size=0 is not between 1 and 16384"),
        (
            "embed://x?size=16385",
            "size=16385 is not between 1 and 16384",
        ),
        (
            "embed://x?size=",
            "size= is not a number that can be a size",
        ),
        (
            "embed://x?size=+1",
            "size=+1 is not a number that can be a size",
        ),
        (
            "embed://x?rank=-1",
            "rank=-1 is not a number that can be a rank",
        ),
        (
            "embed://x?rank=99999999999",
            "rank=99999999999 is not a number that can be a rank",
        ),
        ("embed://x?color=red", "unknown parameter 'color'"),
        ("embed://x?size=1&size=1", "size is given twice"),
        (
            "local:///tmp/x",
            "'local:///tmp/x' is neither embed:// nor loop://",
        ),
        ("embed://a\0b", "the instance's name holds a NUL"),
    ] {
        assert_eq!(refusal(uri), expected);
    }
}

#[test]
fn handles_opened_with_the_same_name_share_an_instance() {
    let a = open("embed://shared");
    let b = open("embed://shared");
    let other = open("embed://not-shared");
    for handle in [&a, &b, &other] {
        handle.subscribe("news").unwrap();
    }
    a.send_event("news.today", None).unwrap();
    assert_eq!(topic(&*take_event(&*b).unwrap()), "news.today");
    assert_eq!(topic(&*take_event(&*a).unwrap()), "news.today");
    assert!(take_event(&*other).is_none());
}

#[test]
fn an_instance_lives_as_long_as_any_of_its_handles() {
    let lookup = |f: &dyn Handle| f.lookup(None, 0, "k").unwrap().payload().map(|_| ());
    let a = open("embed://lives?size=2");
    let mut transaction = a.transaction().unwrap();
    transaction.put(0, "k", b"v").unwrap();
    let commit = a.commit(None, 0, &mut *transaction).unwrap();
    commit.payload().unwrap();
    let b = a.reopen().unwrap();
    drop(a);
    lookup(&*b).unwrap();
    drop(b);
    let c = open("embed://lives");
    assert_eq!(c.size().unwrap(), 1);
    assert_eq!(errnum(lookup(&*c)), libc::ENOENT);
}

#[test]
fn a_reopened_handle_has_the_same_rank_and_its_own_queue() {
    let a = open("embed://reopen?size=3&rank=2");
    a.subscribe("x").unwrap();
    let b = a.reopen().unwrap();
    assert_eq!((b.rank().unwrap(), b.size().unwrap()), (2, 3));
    a.send_event("x", None).unwrap();
    assert!(take_event(&*b).is_none());
    assert!(take_event(&*a).is_some());
}

#[test]
fn handles_on_several_threads_share_an_instance() {
    let _keep = open("embed://threads-share?size=2");
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| open("embed://threads-share").size().unwrap()))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 2);
    }
}

#[test]
fn after_its_handle_is_closed_a_future_keeps_its_answer_or_fails() {
    let a = open("embed://outlives");
    let server = open("embed://outlives");
    add_service(&*server, "slow").unwrap();
    let unanswered = a.rpc("slow.x", None, NODEID_ANY, 0).unwrap();
    let answered = a.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0).unwrap();
    drop(a);
    assert_eq!(answer(&*answered).unwrap()["rank"], 0);
    assert_eq!(errnum(unanswered.payload()), libc::EPIPE);
}

#[test]
fn every_call_refuses_a_name_with_a_nul() {
    let f = open("embed://nul");
    let inval = |result: Result<()>| assert_eq!(errnum(result), libc::EINVAL);
    inval(f.attr_get("a\0b").map(|_| ()));
    inval(f.send("a\0b", None, NODEID_ANY).map(|_| ()));
    inval(f.rpc("a\0b", None, NODEID_ANY, 0).map(|_| ()));
    inval(f.send_event("a\0b", None));
    inval(f.subscribe("a\0b"));
    inval(f.unsubscribe("a\0b"));
    inval(f.lookup(None, 0, "a\0b").map(|_| ()));
    inval(f.lookup(Some("a\0b"), 0, "k").map(|_| ()));
    inval(f.log(3, "a\0b"));
    inval(f.transaction().unwrap().put(0, "a\0b", b""));
    inval(f.transaction().unwrap().symlink("k", None, "a\0b"));
}

#[test]
fn a_message_from_another_thread_ends_a_wait() {
    let f = open("embed://wakes");
    f.subscribe("wake").unwrap();
    let sender = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(20));
        open("embed://wakes").send_event("wake.up", None).unwrap();
    });
    let event = f.recv(&Match::of(msgtype::EVENT), None).unwrap();
    assert_eq!(topic(&*event), "wake.up");
    sender.join().unwrap();
}
