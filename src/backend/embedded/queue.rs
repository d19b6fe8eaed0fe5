//! A handle's queue of received messages, filled from any thread and emptied
//! by the one that owns the handle. Decides nothing about routing.

use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::super::ids::TagSet;
use super::super::system::EventFd;
use super::super::{Error, MATCHTAG_NONE, Match, Result, msgtype};
use super::lane::{Lane, Queued};
use super::message::Message;

/// Message types, each with a lane of its own, so that a response is found
/// without walking over the events that pile up before it.
const LANES: [i32; 4] = [
    msgtype::REQUEST,
    msgtype::RESPONSE,
    msgtype::EVENT,
    msgtype::CONTROL,
];

/// The place of responses among them.
const RESPONSES: usize = 1;

/// Who could still send to a queue whose owner is about to wait for ever.
#[derive(Clone, Copy)]
pub(super) enum Senders {
    /// The owner alone, which is waiting: a loopback.
    Nobody,
    /// Any other thread of the process.
    Threads,
}

pub(super) struct Queue {
    senders: Senders,
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Wakes the owner's reactor. Made when it first sleeps.
    alarm: OnceLock<EventFd>,
}

#[derive(Default)]
struct Inner {
    lanes: [Lane; LANES.len()],
    arrivals: u64,
    /// Matchtags whose last response is still to come, and to be discarded.
    given_up: TagSet,
    closed: bool,
    /// The owner's reactor waits for the alarm.
    asleep: bool,
    /// The owner waits for `arrived`: waking takes a system call.
    waiting: bool,
}

/// The owner sleeps while this lives: the next message sets off the alarm.
pub(super) struct Asleep<'a> {
    queue: &'a Queue,
    alarm: &'a EventFd,
}

impl Queue {
    pub fn new(senders: Senders) -> Queue {
        Queue {
            senders,
            inner: Mutex::default(),
            arrived: Condvar::new(),
            alarm: OnceLock::new(),
        }
    }

    /// Append a message and wake the owner.
    pub fn deliver(&self, message: Message) {
        let mut inner = self.lock();
        if inner.closed || inner.discards(&message) {
            return;
        }
        let Some(lane) = LANES.iter().position(|&kind| kind == message.msgtype) else {
            return;
        };
        let arrival = inner.arrivals;
        inner.arrivals += 1;
        let message = Arc::new(message);
        inner.lanes[lane].push(Queued { arrival, message });
        let alarm = self.alarm.get();
        if let Some(alarm) = alarm.filter(|_| std::mem::take(&mut inner.asleep)) {
            alarm.signal();
        }
        let waiting = inner.waiting;
        drop(inner);
        if waiting {
            self.arrived.notify_one();
        }
    }

    /// Take the first message that matches; the others keep their order.
    /// `ETIMEDOUT` when `timeout` passes first, `EDEADLK` instead of a wait
    /// that nobody could end.
    pub fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<Message>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut inner = self.lock();
        loop {
            if let Some(message) = inner.take(wanted) {
                return Ok(message);
            }
            if inner.closed {
                return Err(Error::with_detail(libc::EPIPE, "the handle is closed"));
            }
            inner = self.wait(inner, deadline)?;
        }
    }

    fn wait<'q>(
        &self,
        mut inner: MutexGuard<'q, Inner>,
        deadline: Option<Instant>,
    ) -> Result<MutexGuard<'q, Inner>> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => return Err(Error::new(libc::ETIMEDOUT)),
            Some(_) => {}
            None => self.senders.check()?,
        }
        inner.waiting = true;
        let mut inner = match left {
            Some(left) => {
                let waited = self.arrived.wait_timeout(inner, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.arrived.wait(inner);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        inner.waiting = false;
        Ok(inner)
    }

    /// The first message, if there is one.
    pub fn take(&self) -> Option<Arc<Message>> {
        self.lock().take(&Match::any())
    }

    /// Go to sleep, to be woken through a descriptor. `None` where a message is
    /// there already.
    pub fn sleep(&self) -> Result<Option<Asleep<'_>>> {
        let mut inner = self.lock();
        if inner.lanes.iter().any(|lane| !lane.is_empty()) {
            return Ok(None);
        }
        let alarm = match self.alarm.get() {
            Some(alarm) => alarm,
            None => {
                let alarm = EventFd::new()?;
                self.alarm.get_or_init(|| alarm)
            }
        };
        inner.asleep = true;
        Ok(Some(Asleep { queue: self, alarm }))
    }

    /// `EDEADLK` if nobody could send to the owner while it waits.
    pub fn check_senders(&self) -> Result<()> {
        self.senders.check()
    }

    /// Discard the responses under a matchtag, those here and those to come.
    pub fn give_up(&self, matchtag: u32) {
        if matchtag == MATCHTAG_NONE {
            return;
        }
        let mut inner = self.lock();
        let mut ended = inner.closed;
        let responses = &mut inner.lanes[RESPONSES];
        while let Some((place, _)) = responses.find(matchtag) {
            ended |= responses.take(place).is_none_or(|last| last.is_last());
        }
        if !ended {
            inner.given_up.insert(matchtag);
        }
    }

    /// Whether a late response could still come under this matchtag.
    pub fn is_given_up(&self, matchtag: u32) -> bool {
        self.lock().given_up.contains(&matchtag)
    }

    /// Take no more messages. Those that are here can still be received.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.given_up.clear();
        drop(inner);
        self.arrived.notify_one();
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asleep<'_> {
    /// Readable once a message has arrived.
    pub fn fd(&self) -> RawFd {
        self.alarm.fd()
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let was_woken = !std::mem::take(&mut self.queue.lock().asleep);
        if was_woken {
            self.alarm.drain();
        }
    }
}

impl Inner {
    fn discards(&mut self, message: &Message) -> bool {
        if message.msgtype != msgtype::RESPONSE || !self.given_up.contains(&message.matchtag) {
            return false;
        }
        if message.is_last() {
            self.given_up.remove(&message.matchtag);
        }
        true
    }

    fn take(&mut self, wanted: &Match) -> Option<Arc<Message>> {
        if wanted.matchtag == MATCHTAG_NONE {
            return self.take_first(wanted.typemask);
        }
        let lanes = self.lanes.iter_mut().zip(LANES);
        let found = lanes
            .filter(|(_, kind)| wanted.typemask & kind != 0)
            .filter_map(|(lane, _)| {
                let (place, arrival) = lane.find(wanted.matchtag)?;
                Some((arrival, place, lane))
            });
        let (_, place, lane) = found.min_by_key(|(arrival, ..)| *arrival)?;
        lane.take(place)
    }
}

impl Inner {
    /// The message of these types that arrived first.
    fn take_first(&mut self, typemask: i32) -> Option<Arc<Message>> {
        let lanes = self.lanes.iter_mut().zip(LANES);
        let heads = lanes
            .filter(|(_, kind)| typemask & kind != 0)
            .filter_map(|(lane, _)| Some((lane.arrival()?, lane)));
        let (_, lane) = heads.min_by_key(|(arrival, _)| *arrival)?;
        lane.pop()
    }
}

impl Senders {
    /// `EDEADLK` if nobody could end a wait.
    fn check(self) -> Result<()> {
        match self {
            Senders::Nobody => Err(Error::with_detail(
                libc::EDEADLK,
                "nothing is queued, and on a loopback only this handle could send; handlers run \
                 only in the reactor of their own handle",
            )),
            Senders::Threads if is_only_thread() => Err(Error::with_detail(
                libc::EDEADLK,
                "nothing is queued, and the process has no other thread that could send; \
                 handlers run only in the reactor of their own handle",
            )),
            Senders::Threads => Ok(()),
        }
    }
}

/// Where the system does not tell, there may be others.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.take(2).count() == 1)
}
