//! Tests of timers.

use super::*;

#[test]
fn a_timer_of_zero_seconds_fires_in_the_next_iteration() {
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
fn a_timer_made_in_a_callback_fires_in_a_later_iteration() {
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

/// Makes timers with these times, in units, and returns the order in which they
/// fire.
fn order(f: &Rc<dyn Handle>, times: &[u32], unit: Duration) -> Vec<String> {
    let seen = Seen::default();
    let start = Instant::now();
    let _timers: Vec<_> = times
        .iter()
        .map(|&time| {
            let (seen, after) = (seen.clone(), unit * time);
            timer(&**f, after.as_secs_f64(), move || {
                assert!(start.elapsed() >= after, "it fired early");
                seen.push(time.to_string());
            })
        })
        .collect();
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    seen.take()
}

/// Whether timers fire in the order of their times for at least one of the
/// units. On a busy machine, making two timers may take longer than the
/// difference between their times, so several units are tried.
fn is_in_order(units: impl IntoIterator<Item = Duration>) -> bool {
    let f = open("loop://");
    units
        .into_iter()
        .any(|unit| order(&f, &[3, 1, 2], unit) == ["1", "2", "3"])
}

#[test]
fn timers_fire_in_the_order_of_their_times_and_never_early() {
    let units = (0..10).map(|doubled| Duration::from_millis(10 << doubled));
    assert!(is_in_order(units));
}

/// If times were rounded to milliseconds, these would be equal, and the timer
/// made first would fire first.
#[test]
fn timers_in_microseconds_fire_in_the_order_of_their_times() {
    let units = std::iter::repeat_n(Duration::from_micros(200), 10_000);
    assert!(is_in_order(units));
}

/// How long a repeating timer takes to fire five times, if its callback sleeps
/// for half a period.
fn five_times(period: Duration) -> Duration {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let kept = Kept::default();
    let start = Instant::now();
    let seconds = period.as_secs_f64();
    kept.keep(repeating(&*f, seconds, seconds, {
        let (count, kept) = (Rc::clone(&count), kept.clone());
        move || {
            count.set(count.get() + 1);
            if count.get() == 5 {
                kept.drop_all();
            } else {
                std::thread::sleep(period / 2);
            }
        }
    }));
    assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
    assert_eq!(count.get(), 5);
    start.elapsed()
}

/// How often a repeating timer fires if the reactor runs twice late, after 1.9
/// and 3.9 periods, and each time again shortly after the next period.
fn late_and_in_time(period: Duration) -> u32 {
    let f = open("loop://");
    let count = Rc::new(Cell::new(0));
    let seconds = period.as_secs_f64();
    let start = Instant::now();
    let _timer = repeating(&*f, seconds, seconds, {
        let count = Rc::clone(&count);
        move || count.set(count.get() + 1)
    });
    for periods in [1.9, 2.1, 3.9, 4.1] {
        std::thread::sleep(period.mul_f64(periods).saturating_sub(start.elapsed()));
        turns(&*f, 1);
    }
    count.get()
}

#[test]
fn a_repeating_timer_does_not_drift() {
    // A timer that restarted when it is called would fire only twice. Longer
    // periods are tried too, for a busy machine.
    let mut periods = (0..9).map(|doubled| Duration::from_millis(10 << doubled));
    assert!(periods.any(|period| late_and_in_time(period) == 4));
}

#[test]
fn a_slow_callback_does_not_delay_the_next_ones() {
    // If the callbacks' time delayed the timer, it would take 7 periods.
    let mut periods = (0..9).map(|doubled| Duration::from_millis(10 << doubled));
    let holds = |period: Duration| {
        let took = five_times(period);
        assert!(took >= period * 5, "it fired early: {took:?}");
        took < period * 6
    };
    assert!(periods.any(holds));
}

#[test]
fn a_repeating_timer_that_is_late_fires_once_and_not_for_each_missed_time() {
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
fn a_repeat_interval_shorter_than_a_nanosecond_still_repeats() {
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
fn negative_and_infinite_times_are_refused_and_very_long_ones_accepted() {
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

/// Compares the shortest of many waits with the shortest sleep, since a busy
/// machine makes most of them longer.
#[test]
fn a_timer_of_100_microseconds_fires_neither_early_nor_a_millisecond_late() {
    let f = open("loop://");
    let time = Duration::from_micros(100);
    let best = |best: Duration, sleep: &dyn Fn()| {
        let start = Instant::now();
        sleep();
        best.min(start.elapsed())
    };
    let (mut asleep, mut waiting) = (Duration::MAX, Duration::MAX);
    for _ in 0..1000 {
        asleep = best(asleep, &|| std::thread::sleep(time));
        waiting = best(waiting, &|| {
            let _timer = timer(&*f, time.as_secs_f64(), || ());
            assert_eq!(f.reactor_run(RunMode::Forever).unwrap(), 0);
        });
        assert!(waiting >= time, "{waiting:?}");
        if waiting < asleep + Duration::from_micros(500) {
            return;
        }
    }
    panic!("the timer fires after {waiting:?}, but a sleep takes {asleep:?}");
}
