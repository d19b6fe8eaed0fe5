//! Timers, and what is done at a timer's pace: comparing a path's status.

use std::time::{Duration, Instant};

use super::super::super::Result;
use super::super::super::ids::{IdMap, Order};
use super::super::super::reactor::{Callback, Event};
use super::seconds;
use super::stat::Stat;

/// How often a path's status is compared, unless said otherwise.
const STAT_INTERVAL: Duration = Duration::from_millis(100);
/// And how often at most.
const MIN_STAT_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Timers {
    watchers: IdMap<Timer>,
    /// Those that will expire, next first; of the same time, older first.
    running: Order,
    clock: Clock,
}

/// Tells the time as nanoseconds since it was made.
struct Clock(Instant);

pub(super) struct Timer {
    at: u64,
    /// Zero for a timer that expires once.
    repeat: Duration,
    stat: Option<Box<Stat>>,
    callback: Callback,
}

impl Timers {
    pub fn add(&mut self, id: u64, after: f64, repeat: f64, callback: Callback) -> Result<()> {
        let after = seconds(after)?;
        let timer = Timer {
            at: self.clock.of(Instant::now() + after),
            repeat: seconds(repeat)?,
            stat: None,
            callback,
        };
        self.start(id, timer);
        Ok(())
    }

    pub fn add_stat(
        &mut self,
        id: u64,
        interval: f64,
        stat: Stat,
        callback: Callback,
    ) -> Result<()> {
        let interval = match seconds(interval)? {
            Duration::ZERO => STAT_INTERVAL,
            interval => interval.max(MIN_STAT_INTERVAL),
        };
        let timer = Timer {
            at: self.clock.of(Instant::now() + interval),
            repeat: interval,
            stat: Some(Box::new(stat)),
            callback,
        };
        self.start(id, timer);
        Ok(())
    }

    fn start(&mut self, id: u64, timer: Timer) {
        self.running.insert((timer.at, id));
        self.watchers.insert(id, timer);
    }

    pub fn remove(&mut self, id: u64) -> Option<Timer> {
        let timer = self.watchers.remove(&id)?;
        self.running.remove(&(timer.at, id));
        Some(timer)
    }

    pub fn active(&self) -> usize {
        self.running.len()
    }

    /// When the next one expires.
    pub fn next(&self) -> Option<Instant> {
        self.running.first().map(|&(at, _)| self.clock.instant(at))
    }

    /// Those that have expired, in order. The ones that repeat start again
    /// where they should have expired, so that they do not drift, but not in
    /// the past, so that what was missed does not pile up.
    pub fn expire(&mut self) -> Vec<u64> {
        if self.running.is_empty() {
            return Vec::new();
        }
        let now = self.clock.of(Instant::now());
        let mut expired = Vec::new();
        while let Some(&(at, id)) = self.running.first().filter(|(at, _)| *at <= now) {
            self.running.remove(&(at, id));
            expired.push(id);
        }
        for &id in &expired {
            let Some(timer) = self.watchers.get_mut(&id) else {
                continue;
            };
            if !timer.repeat.is_zero() {
                let repeat = timer.repeat.as_nanos() as u64;
                timer.at = timer.at.saturating_add(repeat).max(now);
                self.running.insert((timer.at, id));
            }
        }
        expired
    }

    /// What to call now that it has expired, if anything.
    pub fn call(&mut self, id: u64) -> Option<(Callback, Event)> {
        let timer = self.watchers.get_mut(&id)?;
        let event = match &mut timer.stat {
            None => Event::Timer,
            Some(stat) => stat.compare()?,
        };
        Some((timer.callback.clone(), event))
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    /// Centuries fit, and no timer is set for more than decades.
    fn of(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.0).as_nanos() as u64
    }

    fn instant(&self, nanos: u64) -> Instant {
        self.0 + Duration::from_nanos(nanos)
    }
}
