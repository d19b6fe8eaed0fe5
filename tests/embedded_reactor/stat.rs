//! Tests of watchers of a path's status.

use std::fs;
use std::path::PathBuf;

use super::*;

/// The path of a file that is removed at the end of the test.
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

/// Makes a watcher that adds "LINKS/SIZE from LINKS/SIZE" (now and before) to
/// the list.
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
fn a_watcher_reports_when_a_file_is_made_changed_and_removed() {
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

    // As in libev, a missing file has no links and otherwise its last status.
    fs::remove_file(&file.0).unwrap();
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.take(), ["0/7 from 1/7"]);

    fs::write(&file.0, "").unwrap();
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.take(), ["1/0 from 0/7"]);
}

#[test]
fn a_path_that_does_not_change_causes_no_event() {
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
fn a_watcher_of_a_symbolic_link_does_not_follow_it() {
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
fn an_interval_of_zero_stands_for_a_default_interval() {
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
