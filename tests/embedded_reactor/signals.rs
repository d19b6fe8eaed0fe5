//! Tests of signal watchers. Signals belong to the process, so each test uses
//! signals that no other test uses.

use std::sync::Barrier;
use std::thread;

use super::*;

/// Sends this thread a signal. Its handler has run when this returns.
pub fn raise(signum: i32) {
    // SAFETY: the call takes no pointer.
    assert_eq!(unsafe { libc::raise(signum) }, 0);
}

/// The address of the process's handler of a signal.
fn handler_of(signum: i32) -> usize {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call fills the structure, and succeeds.
    unsafe {
        assert_eq!(
            libc::sigaction(signum, std::ptr::null(), action.as_mut_ptr()),
            0
        );
        action.assume_init().sa_sigaction
    }
}

/// Makes a watcher that adds its name to the list and stops the reactor.
fn noting_signal(f: &Rc<dyn Handle>, signum: i32, seen: &Seen, name: &str) -> Box<dyn Watcher> {
    let (f, seen, name) = (Rc::clone(f), seen.clone(), name.to_owned());
    watch(&*Rc::clone(&f), Source::Signal(signum), move |_| {
        seen.push(&name);
        f.reactor_stop();
    })
}

#[test]
fn a_signal_calls_only_its_own_watchers_oldest_first() {
    let f = open("loop://");
    let seen = Seen::default();
    let _other = noting_signal(&f, libc::SIGUSR2, &seen, "other");
    let _a = noting_signal(&f, libc::SIGUSR1, &seen, "a");
    let b = noting_signal(&f, libc::SIGUSR1, &seen, "b");
    raise(libc::SIGUSR1);
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 3);
    assert_eq!(seen.take(), ["a", "b"]);
    drop(b);
    raise(libc::SIGUSR1);
    raise(libc::SIGUSR2);
    f.reactor_run(RunMode::Forever).unwrap();
    assert_eq!(seen.take(), ["a", "other"]);
    // Each signal was reported once.
    turns(&*f, 2);
    assert_eq!(seen.len(), 0);
}

#[test]
fn a_signal_wakes_a_waiting_reactor() {
    let f = open("loop://");
    let seen = Seen::default();
    let _watcher = noting_signal(&f, libc::SIGALRM, &seen, "woken");
    let _handler = noting(&*f, msgtype::EVENT, "*", &seen, "event");
    let thread = thread::spawn(|| {
        thread::sleep(Duration::from_millis(30));
        raise(libc::SIGALRM);
    });
    f.reactor_run(RunMode::Forever).unwrap();
    thread.join().unwrap();
    assert_eq!(seen.take(), ["woken"]);
}

#[test]
fn a_signal_reaches_every_handle_on_every_thread() {
    // The program that started the tests may have ignored the signal.
    let before = handler_of(libc::SIGHUP);
    let ready = Barrier::new(5);
    let receive = || {
        let f = open("loop://");
        let g = open("loop://");
        let seen = Seen::default();
        let _f = noting_signal(&f, libc::SIGHUP, &seen, "f");
        let _g = noting_signal(&g, libc::SIGHUP, &seen, "g");
        for _ in 0..50 {
            ready.wait();
            f.reactor_run(RunMode::Forever).unwrap();
            g.reactor_run(RunMode::Forever).unwrap();
            assert_eq!(seen.take(), ["f", "g"]);
            ready.wait();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(receive);
        }
        for _ in 0..50 {
            ready.wait();
            raise(libc::SIGHUP);
            ready.wait();
        }
    });
    assert_eq!(handler_of(libc::SIGHUP), before);
}

#[test]
fn dropping_the_last_watcher_restores_the_previous_handler() {
    let signum = libc::SIGPROF;
    // SAFETY: the call takes no pointer.
    unsafe { libc::signal(signum, libc::SIG_IGN) };
    let (f, g) = (open("loop://"), open("loop://"));
    let a = watch(&*f, Source::Signal(signum), |_| ());
    let b = watch(&*g, Source::Signal(signum), |_| ());
    let c = watch(&*g, Source::Signal(signum), |_| ());
    assert_ne!(handler_of(signum), libc::SIG_IGN);
    drop(b);
    drop(a);
    assert_ne!(handler_of(signum), libc::SIG_IGN);
    drop(c);
    assert_eq!(handler_of(signum), libc::SIG_IGN);
    // The handler is restored too when the handle is dropped before its watcher.
    let d = watch(&*g, Source::Signal(signum), |_| ());
    assert_ne!(handler_of(signum), libc::SIG_IGN);
    drop(g);
    assert_eq!(handler_of(signum), libc::SIG_IGN);
    drop(d);
    // A handler that other code has installed meanwhile stays.
    let e = watch(&*f, Source::Signal(signum), |_| ());
    // SAFETY: as above.
    unsafe { libc::signal(signum, libc::SIG_DFL) };
    drop(e);
    assert_eq!(handler_of(signum), libc::SIG_DFL);
}

#[test]
fn signals_that_cannot_be_handled_are_refused() {
    let f = open("loop://");
    let bad = [
        libc::SIGKILL,
        libc::SIGSTOP,
        0,
        -1,
        65,
        1000,
        i32::MAX,
        i32::MIN,
    ];
    for signum in bad {
        let result = try_watch(&*f, Source::Signal(signum), |_| ());
        assert_eq!(errnum(result), libc::EINVAL, "{signum}");
    }
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    let _real_time = watch(&*f, Source::Signal(libc::SIGRTMAX()), |_| ());
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
}

#[test]
fn threads_can_make_and_drop_watchers_while_signals_arrive() {
    let done = std::sync::atomic::AtomicBool::new(false);
    let outer = open("loop://");
    let _always = watch(&*outer, Source::Signal(libc::SIGVTALRM), |_| ());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let f = open("loop://");
                        let _a = watch(&*f, Source::Signal(libc::SIGVTALRM), |_| ());
                        turns(&*f, 1);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                raise(libc::SIGVTALRM);
            }
        });
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(ended.iter().all(|ended| ended.is_ok()));
    });
}
