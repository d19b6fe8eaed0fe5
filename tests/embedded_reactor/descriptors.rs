//! Tests of file descriptor watchers.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use super::*;
use flux::backend::reactor::poll;

/// Makes a watcher that adds its name and the events to the list.
fn watch_fd(f: &dyn Handle, fd: RawFd, events: i32, seen: &Seen, name: &str) -> Box<dyn Watcher> {
    let (seen, name) = (seen.clone(), name.to_owned());
    watch(f, Source::Fd { fd, events }, move |event| match event {
        Event::Fd(events) => seen.push(format!("{name}{events}")),
        _ => panic!("not a descriptor"),
    })
}

/// Makes a pipe. Returns the end to read from and the end to write to.
fn pipe() -> (File, File) {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two descriptors that the call stores.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both descriptors are new, and nothing else owns them.
    unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) }
}

#[test]
fn a_pipe_is_readable_as_long_as_it_holds_data() {
    let f = open("loop://");
    let (mut reader, mut writer) = pipe();
    let seen = Seen::default();
    let _watcher = watch_fd(&*f, reader.as_raw_fd(), poll::IN, &seen, "r");
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
    assert_eq!(seen.len(), 0);
    writer.write_all(b"x").unwrap();
    turns(&*f, 3);
    assert_eq!(seen.take(), ["r1", "r1", "r1"]);
    reader.read_exact(&mut [0]).unwrap();
    turns(&*f, 1);
    assert_eq!(seen.len(), 0);
}

#[test]
fn data_in_a_pipe_wakes_a_waiting_reactor() {
    let f = open("loop://");
    let (reader, mut writer) = pipe();
    let seen = Seen::default();
    let _watcher = watch_fd(&*f, reader.as_raw_fd(), poll::IN, &seen, "r");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        writer.write_all(b"x").unwrap();
        writer
    });
    f.reactor_run(RunMode::Once).unwrap();
    assert_eq!(seen.take(), ["r1"]);
    drop(thread.join().unwrap());
}

#[test]
fn a_pipe_whose_other_end_is_closed_reports_the_requested_event() {
    let f = open("loop://");
    let seen = Seen::default();
    let (reader, writer) = pipe();
    let _read = watch_fd(&*f, reader.as_raw_fd(), poll::IN, &seen, "r");
    drop(writer);
    turns(&*f, 2);
    assert_eq!(seen.take(), ["r1", "r1"]);

    let (reader, writer) = pipe();
    let _write = watch_fd(&*f, writer.as_raw_fd(), poll::OUT, &seen, "w");
    drop(reader);
    turns(&*f, 1);
    assert_eq!(seen.take(), ["r1", "w2"]);
}

#[test]
fn each_watcher_of_a_descriptor_gets_only_the_events_it_asked_for() {
    let f = open("loop://");
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    (&other).write_all(b"x").unwrap();
    let fd = one.as_raw_fd();
    let seen = Seen::default();
    let _a = watch_fd(&*f, fd, poll::IN, &seen, "a");
    let _b = watch_fd(&*f, fd, poll::OUT, &seen, "b");
    let _c = watch_fd(&*f, fd, poll::IN | poll::OUT | poll::ERR, &seen, "c");
    let _d = watch_fd(&*f, fd, poll::ERR, &seen, "d");
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 4);
    assert_eq!(seen.take(), ["a1", "b2", "c3"]);
}

#[test]
fn a_regular_file_is_always_ready() {
    let f = open("loop://");
    let file = File::open("/proc/self/exe").unwrap();
    let seen = Seen::default();
    let _watcher = watch_fd(&*f, file.as_raw_fd(), poll::IN | poll::OUT, &seen, "f");
    turns(&*f, 2);
    assert_eq!(seen.take(), ["f3", "f3"]);
}

#[test]
fn numbers_that_are_not_open_descriptors_are_refused() {
    let f = open("loop://");
    for fd in [-1, RawFd::MIN, RawFd::MAX, 1_000_000] {
        let source = Source::Fd {
            fd,
            events: poll::IN,
        };
        assert_eq!(errnum(try_watch(&*f, source, |_| ())), libc::EBADF, "{fd}");
    }
}

#[test]
fn a_descriptor_closed_while_watched_reports_one_error_and_becomes_inactive() {
    let f = open("loop://");
    let (reader, _writer) = pipe();
    // A high number, so that no other test opens a file with the same number.
    // SAFETY: the call takes no pointer.
    let high = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD, 900) };
    assert!(high >= 900);
    let seen = Seen::default();
    let watcher = watch_fd(&*f, high, poll::IN, &seen, "h");
    let _second = watch_fd(&*f, high, poll::OUT, &seen, "i");
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 2);
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(high) };
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["h4", "i4"]);
    turns(&*f, 2);
    assert_eq!(seen.len(), 0);
    drop(watcher);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
}

#[test]
fn a_hangup_that_no_watcher_asked_for_does_not_make_the_reactor_spin() {
    let f = open("loop://");
    let (reader, writer) = pipe();
    drop(writer);
    let seen = Seen::default();
    let _watcher = watch_fd(&*f, reader.as_raw_fd(), 0, &seen, "n");
    let _timer = timer(&*f, 0.05, || ());
    let used = measure::cpu_time_of(|| assert_eq!(f.reactor_run(RunMode::Once).unwrap(), 1));
    assert!(used < Duration::from_millis(25), "{used:?}");
    assert_eq!(seen.len(), 0);
}
