//! A path's status.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A path of this test's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("flux-reactor-{}-{name}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What one watcher sees of a path: links and size, now and before.
fn watch_path(f: &Rc<dyn Handle>, path: &str, seen: &Seen) -> Box<dyn Watcher> {
    let (stopping, seen) = (Rc::clone(f), seen.clone());
    let interval = 0.01;
    watch(&**f, Source::Stat { path, interval }, move |event| {
        let Event::Stat { now, before } = event else {
            panic!("not a status");
        };
        let of = |status: &libc::stat| format!("{}/{}", status.st_nlink, status.st_size);
        seen.push(format!("{} from {}", of(&now), of(&before)));
        stopping.reactor_stop();
    })
}

#[test]
fn a_path_is_seen_to_come_change_and_go() {
    let f = open("loop://");
    let file = Scratch::new("comes");
    let seen = Seen::default();
    let _watcher = watch_path(&f, file.path(), &seen);

    fs::write(&file.0, "12345").unwrap();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
    assert_eq!(seen.take(), ["1/5 from 0/0"]);

    fs::write(&file.0, "1234567").unwrap();
    f.reactor_run(RunMode::Once).unwrap();
    assert_eq!(seen.take(), ["1/7 from 1/5"]);

    // As libev has it: but for the links, all stays as it last was.
    fs::remove_file(&file.0).unwrap();
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.take(), ["0/7 from 1/7"]);

    fs::write(&file.0, "").unwrap();
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.take(), ["1/0 from 0/7"]);
}

#[test]
fn what_does_not_change_is_no_event() {
    let f = open("loop://");
    let seen = Seen::default();
    let _watcher = watch_path(&f, "/proc/self/exe", &seen);
    let _missing = watch_path(&f, "/nonexistent/path", &seen);
    let _stop = timer(&*f, 0.1, {
        let f = Rc::clone(&f);
        move || f.reactor_stop()
    });
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 2);
    assert_eq!(seen.len(), 0);
}

#[test]
fn a_symbolic_link_is_watched_itself() {
    let f = open("loop://");
    let (file, link) = (Scratch::new("target"), Scratch::new("link"));
    fs::write(&file.0, "x").unwrap();
    std::os::unix::fs::symlink(&file.0, &link.0).unwrap();
    let seen = Seen::default();
    let watcher = watch_path(&f, link.path(), &seen);
    fs::write(&file.0, "longer").unwrap();
    let stop = timer(&*f, 0.05, {
        let f = Rc::clone(&f);
        move || f.reactor_stop()
    });
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.len(), 0);
    drop((watcher, stop));
}

#[test]
fn an_interval_of_zero_is_the_reactors_own_choice() {
    let f = open("loop://");
    let file = Scratch::new("choice");
    let stopping = Rc::clone(&f);
    let path = file.path();
    let interval = 0.0;
    let _watcher = watch(&*f, Source::Stat { path, interval }, move |_| {
        stopping.reactor_stop();
    });
    fs::write(&file.0, "x").unwrap();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
}

#[test]
fn a_path_with_a_nul_is_refused() {
    let f = open("loop://");
    let source = Source::Stat {
        path: "a\0b",
        interval: 1.0,
    };
    assert_eq!(errnum(try_watch(&*f, source, |_| ())), libc::EINVAL);
}
