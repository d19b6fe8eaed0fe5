//! Timers.

use super::*;

#[test]
fn a_timer_of_no_time_fires_at_the_next_iteration() {
    let f = open("loop://");
    let seen = Seen::default();
    let _first = timer(&*f, 0.0, {
        let seen = seen.clone();
        move || seen.push("first")
    });
    let _second = timer(&*f, 0.0, {
        let seen = seen.clone();
        move || seen.push("second")
    });
    assert_eq!(seen.len(), 0);
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 0);
    assert_eq!(seen.take(), ["first", "second"]);
    turns(&*f, 3);
    assert_eq!(seen.len(), 0);
}

#[test]
fn a_timer_made_by_a_timer_waits_for_the_next_iteration() {
    let f = open("loop://");
    let seen = Seen::default();
    let kept = Kept::default();
    let _outer = timer(&*f, 0.0, {
        let (f, seen, kept) = (Rc::clone(&f), seen.clone(), kept.clone());
        move || {
            let inner = seen.clone();
            kept.keep(timer(&*f, 0.0, move || inner.push("inner")));
            seen.push("outer");
        }
    });
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 1);
    assert_eq!(seen.take(), ["outer"]);
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 0);
    assert_eq!(seen.take(), ["inner"]);
    kept.drop_all();
}

#[test]
fn timers_fire_in_the_order_of_their_times_and_none_early() {
    let f = open("loop://");
    let seen = Seen::default();
    let start = Instant::now();
    let _timers: Vec<_> = [30, 10, 20]
        .into_iter()
        .map(|ms| {
            let seen = seen.clone();
            timer(&*f, f64::from(ms) / 1e3, move || {
                assert!(start.elapsed() >= Duration::from_millis(ms as u64));
                seen.push(ms.to_string());
            })
        })
        .collect();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(seen.take(), ["10", "20", "30"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_repeating_timer_does_not_drift() {
    let f = open("loop://");
    let start = Instant::now();
    let count = Rc::new(Cell::new(0));
    let kept = Kept::default();
    kept.keep(repeating(&*f, 0.02, 0.01, {
        let (count, kept) = (Rc::clone(&count), kept.clone());
        move || {
            count.set(count.get() + 1);
            // A callback that takes time must not move the next ones.
            std::thread::sleep(Duration::from_millis(5));
            if count.get() == 20 {
                kept.drop_all();
            }
        }
    }));
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(count.get(), 20);
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(210), "{elapsed:?}");
    // With drift it would be 20 * 15 ms.
    assert!(elapsed < Duration::from_millis(280), "{elapsed:?}");
}

#[test]
fn what_a_repeating_timer_missed_does_not_pile_up() {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let _timer = repeating(&*f, 0.001, 0.001, {
        let count = Rc::clone(&count);
        move || count.set(count.get() + 1)
    });
    std::thread::sleep(Duration::from_millis(50));
    turns(&*f, 1);
    assert_eq!(count.get(), 1);
    turns(&*f, 1);
    assert!(count.get() <= 2);
}

#[test]
fn a_repeat_too_short_for_any_clock_still_repeats() {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let _timer = repeating(&*f, 0.0, 1e-12, {
        let count = Rc::clone(&count);
        move || count.set(count.get() + 1)
    });
    turns(&*f, 10);
    assert_eq!(count.get(), 10);
}

#[test]
fn times_that_are_none_are_refused_and_endless_ones_kept() {
    let f = open("loop://");
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-300];
    for time in bad {
        for (after, repeat) in [(time, 0.0), (0.0, time)] {
            let source = Source::Timer { after, repeat };
            assert_eq!(
                errnum(try_watch(&*f, source, |_| ())),
                libc::EINVAL,
                "{time}"
            );
        }
        let source = Source::Stat {
            path: "/",
            interval: time,
        };
        assert_eq!(
            errnum(try_watch(&*f, source, |_| ())),
            libc::EINVAL,
            "{time}"
        );
    }
    let _endless: Vec<_> = [f64::MAX, 1e300, 1e18, 1e10]
        .into_iter()
        .map(|time| repeating(&*f, time, time, || panic!("it fired")))
        .collect();
    assert_eq!(f.reactor_run(RunMode::NoWait).unwrap(), 4);
}

#[test]
fn a_timer_in_microseconds_is_not_rounded_away_or_up_to_milliseconds() {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let start = Instant::now();
    let _timer = repeating(&*f, 0.0, 0.0001, {
        let (f, count) = (Rc::clone(&f), Rc::clone(&count));
        move || {
            count.set(count.get() + 1);
            if count.get() == 1000 {
                f.reactor_stop();
            }
        }
    });
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 1);
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(99), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(900), "{elapsed:?}");
}
