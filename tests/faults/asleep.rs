//! Measures how long a process has slept. On a busy machine any call can take
//! seconds, because its process does not get the processor. But only a call that
//! waits makes its process sleep.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The interval between two looks at the process.
const TICK: Duration = Duration::from_millis(20);

/// Watches a process until dropped.
pub struct Asleep {
    /// How many times the process was found asleep.
    ticks: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Asleep {
    /// Watches the process `pid`. It counts as asleep only while the `others` are
    /// asleep too: processes that must act before it can go on.
    pub fn watch(pid: u32, others: Vec<u32>) -> Asleep {
        let asleep = Asleep {
            ticks: Arc::default(),
            is_over: Arc::default(),
        };
        let (ticks, is_over) = (Arc::clone(&asleep.ticks), Arc::clone(&asleep.is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                let others = || others.iter().all(|&other| is_asleep(other) != Some(false));
                if is_asleep(pid) == Some(true) && others() {
                    ticks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        asleep
    }

    /// The time that the process has slept: at most the true time, since the
    /// intervals may be longer than a tick.
    pub fn so_far(&self) -> Duration {
        Asleep::total(&self.ticks)
    }

    /// A function that returns [`Asleep::so_far`] on another thread.
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

/// Whether all threads of the process are asleep. None if it has ended.
pub fn is_asleep(pid: u32) -> Option<bool> {
    let mut is_asleep = None;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        match stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
        {
            // The thread has ended, or the process has and was not waited for.
            None | Some('Z' | 'X') => {}
            Some(state) => is_asleep = Some(is_asleep != Some(false) && state == 'S'),
        }
    }
    is_asleep
}
