//! Keeps the timers, and the paths whose status is checked at intervals.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::stat::PathStatus;
use crate::backend::reactor::{Callback, Event};
use crate::backend::slab::{Place, Slab};
use crate::backend::{Error, Result};

/// The default interval between two checks of a path. All times here are in
/// nanoseconds.
const STAT_INTERVAL: u64 = 100_000_000;
/// The shortest interval between two checks of a path.
const MIN_STAT_INTERVAL: u64 = 10_000_000;

/// The timers of a handle.
#[derive(Default)]
pub struct Timers {
    watchers: Slab<Timer>,
    /// The expiry times, the earliest first. At equal times the older timer
    /// comes first. A removed timer stays until it would be next, or until most
    /// entries are removed timers.
    order: BinaryHeap<Expiry>,
    /// How many timers will expire.
    running: usize,
    clock: Clock,
}

type Expiry = Reverse<(u64, Place)>;

/// Measures the time since it was made.
struct Clock(Instant);

/// One timer.
pub struct Timer {
    /// When the timer expires. None after it has expired for the last time.
    at: Option<u64>,
    /// Zero for a timer that expires once.
    repeat: u64,
    /// The path that is checked when the timer expires.
    stat: Option<Box<PathStatus>>,
    callback: Callback,
}

impl Timers {
    /// Adds a timer. Times are in seconds. Fails with EINVAL if a number is not
    /// a valid time.
    pub fn add(&mut self, id: u64, after: f64, repeat: f64, callback: Callback) -> Result<Place> {
        let after = nanos(after)?;
        let timer = Timer {
            at: None,
            repeat: nanos(repeat)?,
            stat: None,
            callback,
        };
        Ok(self.start(id, after, timer))
    }

    /// Adds a path that is checked every `interval` seconds. An interval of 0
    /// stands for the default.
    pub fn add_stat(
        &mut self,
        id: u64,
        interval: f64,
        stat: PathStatus,
        callback: Callback,
    ) -> Result<Place> {
        let interval = match nanos(interval)? {
            0 => STAT_INTERVAL,
            interval => interval.max(MIN_STAT_INTERVAL),
        };
        let timer = Timer {
            at: None,
            repeat: interval,
            stat: Some(Box::new(stat)),
            callback,
        };
        Ok(self.start(id, interval, timer))
    }

    fn start(&mut self, id: u64, after: u64, mut timer: Timer) -> Place {
        let at = self.clock.now() + after;
        timer.at = Some(at);
        let place = self.watchers.insert(id, timer);
        self.order.push(Reverse((at, place)));
        self.running += 1;
        place
    }

    /// Removes a timer.
    pub fn remove(&mut self, place: Place) -> Option<Timer> {
        let timer = self.watchers.remove(place)?;
        if timer.at.is_some() {
            self.running -= 1;
            self.tidy();
        }
        Some(timer)
    }

    /// Forgets removed timers once they are the majority.
    fn tidy(&mut self) {
        if self.running == 0 {
            self.order.clear();
        } else if self.order.len() > 64 + 2 * self.running {
            let watchers = &self.watchers;
            self.order.retain(|expiry| is_running(watchers, expiry));
        }
    }

    /// How many timers will expire.
    pub fn active(&self) -> usize {
        self.running
    }

    /// When the next timer expires.
    pub fn next(&mut self) -> Option<Instant> {
        let &Reverse((at, _)) = self.first()?;
        Some(self.clock.0 + Duration::from_nanos(at))
    }

    fn first(&mut self) -> Option<&Expiry> {
        while !is_running(&self.watchers, self.order.peek()?) {
            self.order.pop();
        }
        self.order.peek()
    }

    /// Returns the timers that have expired, in order. Those that repeat start
    /// again at the time when they should have expired, so that they do not
    /// drift, but not in the past, so that missed times do not pile up.
    pub fn expire(&mut self) -> Vec<Place> {
        let mut expired = Vec::new();
        if self.running == 0 {
            return expired;
        }
        let now = self.clock.now();
        while let Some(&Reverse((at, place))) = self.first()
            && at <= now
        {
            self.order.pop();
            expired.push(place);
        }
        for &place in &expired {
            let Some(timer) = self.watchers.get_mut(place) else {
                continue;
            };
            let next = timer.at.filter(|_| timer.repeat != 0);
            timer.at = next.map(|at| at.saturating_add(timer.repeat).max(now));
            match timer.at {
                Some(at) => self.order.push(Reverse((at, place))),
                None => self.running -= 1,
            }
        }
        expired
    }

    /// The callback of a timer that has expired, and the event to pass to it.
    /// None for a path that has not changed.
    pub fn call(&mut self, place: Place) -> Option<(Callback, Event)> {
        let timer = self.watchers.get_mut(place)?;
        let event = match &mut timer.stat {
            None => Event::Timer,
            Some(stat) => stat.compare()?,
        };
        Some((timer.callback.clone(), event))
    }
}

/// Whether the timer still exists, and expires at that time.
fn is_running(watchers: &Slab<Timer>, &Reverse((at, place)): &Expiry) -> bool {
    let timer = watchers.get(place);
    timer.is_some_and(|timer| timer.at == Some(at))
}

/// Converts seconds to nanoseconds. Fails with `EINVAL` if the number is not a
/// valid time. A time beyond the range of clocks is cut to some decades.
fn nanos(seconds: f64) -> Result<u64> {
    const LONG: f64 = 1e9;
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(Error::with_detail(libc::EINVAL, "not a number of seconds"));
    }
    let nanos = (seconds.min(LONG) * 1e9 + 0.5) as u64;
    Ok(nanos.max(u64::from(seconds > 0.0)))
}

impl Default for Clock {
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    /// The time now. Centuries fit, and no timer is set for more than decades.
    fn now(&self) -> u64 {
        let since = self.0.elapsed();
        since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
    }
}
