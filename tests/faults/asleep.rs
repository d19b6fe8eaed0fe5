//! How long a process has slept. That is what tells a call that waits from one
//! that has ended while its process is not given the processor: on a busy
//! machine anything can take seconds, but only what waits sleeps.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How often the process is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Looks at a process until dropped.
pub struct Asleep {
    /// How often it slept when it was looked at.
    ticks: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Asleep {
    /// It counts as asleep only while these others are too: those that have to
    /// do something for it.
    pub fn watch(pid: u32, others: Vec<u32>) -> Asleep {
        let asleep = Asleep {
            ticks: Arc::default(),
            is_over: Arc::default(),
        };
        let (ticks, is_over) = (Arc::clone(&asleep.ticks), Arc::clone(&asleep.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                let others = || others.iter().all(|&other| sleeps(other) != Some(false));
                if sleeps(pid) == Some(true) && others() {
                    ticks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        asleep
    }

    /// A little less than it slept, and never more, as each tick may have been
    /// longer.
    pub fn so_far(&self) -> Duration {
        Asleep::total(&self.ticks)
    }

    /// What reads [`Asleep::so_far`] on another thread.
    pub fn reader(&self) -> impl Fn() -> Duration + Send + 'static {
        let ticks = Arc::clone(&self.ticks);
        move || Asleep::total(&ticks)
    }

    fn total(ticks: &AtomicU32) -> Duration {
        TICK * ticks.load(Ordering::Relaxed)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Whether all threads of the process sleep; none where it has ended.
pub fn sleeps(pid: u32) -> Option<bool> {
    let mut does = None;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        match stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
        {
            // A thread that ended meanwhile, or a process that nobody has waited for.
            None | Some('Z' | 'X') => {}
            Some(state) => does = Some(does != Some(false) && state == 'S'),
        }
    }
    does
}
