//! A handle's queue of received messages, filled from any thread and emptied by
//! the thread that owns the handle. It decides nothing about routing.

use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::message::{Message, Receiver};
use crate::backend::ids::TagSet;
use crate::backend::system::EventFd;
use crate::backend::{Error, MATCHTAG_NONE, Match, Result, msgtype};
use fifo::{Fifo, Queued};

mod fifo;

/// Message types. Each has a FIFO of its own, so that a response is found
/// without walking over the events that pile up before it.
const TYPES: [i32; 4] = [
    msgtype::REQUEST,
    msgtype::RESPONSE,
    msgtype::EVENT,
    msgtype::CONTROL,
];

/// The index of responses in [`TYPES`].
const RESPONSES: usize = 1;

/// The possible senders to a queue while its owner waits.
#[derive(Clone, Copy)]
pub(super) enum Senders {
    /// Nobody but the owner can send. The queue is a loopback's.
    Nobody,
    /// Any other thread of the process.
    Threads,
}

/// The queue of one handle.
pub(super) struct Queue {
    senders: Senders,
    inner: Mutex<Inner>,
    arrived: Condvar,
    /// Wakes the owner's reactor. It is made when the reactor first sleeps.
    alarm: OnceLock<EventFd>,
}

#[derive(Default)]
struct Inner {
    /// A FIFO for each of [`TYPES`].
    fifos: [Fifo; TYPES.len()],
    arrivals: u64,
    /// Matchtags of requests given up whose last response is still to come.
    /// Their responses are discarded.
    given_up: TagSet,
    closed: bool,
    /// Whether the owner's reactor waits for the alarm.
    asleep: bool,
    /// Whether the owner waits for `arrived`. If not, the sender can save the
    /// system call that notifies it.
    waiting: bool,
}

/// While this lives, the owner's reactor sleeps, and the next message sets off
/// the alarm.
pub(super) struct Asleep<'a> {
    queue: &'a Queue,
    alarm: &'a EventFd,
}

impl Queue {
    /// An empty queue.
    pub fn new(senders: Senders) -> Queue {
        Queue {
            senders,
            inner: Mutex::default(),
            arrived: Condvar::new(),
            alarm: OnceLock::new(),
        }
    }

    /// Takes the first message that matches; the others keep their order.
    /// `ETIMEDOUT` when `timeout` passes first, `EDEADLK` instead of a wait
    /// that nobody could end, `EPIPE` once the queue is closed and empty.
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

    /// Takes the first message, if there is one.
    pub fn take(&self) -> Option<Arc<Message>> {
        self.lock().take(&Match::any())
    }

    /// Lets the owner's reactor sleep until a descriptor wakes it. Returns None
    /// if a message is already queued.
    pub fn sleep(&self) -> Result<Option<Asleep<'_>>> {
        let mut inner = self.lock();
        if inner.fifos.iter().any(|fifo| !fifo.is_empty()) {
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

    /// Discards the responses with a matchtag: those in the queue, and those
    /// to come.
    pub fn give_up(&self, matchtag: u32) {
        if matchtag == MATCHTAG_NONE {
            return;
        }
        let mut inner = self.lock();
        let mut ended = inner.closed;
        let responses = &mut inner.fifos[RESPONSES];
        while let Some((position, _)) = responses.find(matchtag) {
            let taken = responses.take(position);
            ended |= taken.is_none_or(|response| response.is_last());
        }
        if !ended {
            inner.given_up.insert(matchtag);
        }
    }

    /// Whether a late response with this matchtag could still come.
    pub fn is_given_up(&self, matchtag: u32) -> bool {
        self.lock().given_up.contains(&matchtag)
    }

    /// Accepts no more messages. Those in the queue can still be received.
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

impl Receiver for Queue {
    /// Appends a message, and wakes the owner.
    fn deliver(&self, message: Message) {
        let mut inner = self.lock();
        if inner.closed || inner.discards(&message) {
            return;
        }
        let Some(fifo) = TYPES.iter().position(|&kind| kind == message.msgtype) else {
            return;
        };
        let arrival = inner.arrivals;
        inner.arrivals += 1;
        let message = Arc::new(message);
        inner.fifos[fifo].push(Queued { arrival, message });
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
}

impl Asleep<'_> {
    /// A descriptor that becomes readable when a message has arrived.
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
    /// Whether a message is a response to a request that was given up.
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
        let fifos = self.fifos.iter_mut().zip(TYPES);
        let found = fifos
            .filter(|(_, kind)| wanted.typemask & kind != 0)
            .filter_map(|(fifo, _)| {
                let (position, arrival) = fifo.find(wanted.matchtag)?;
                Some((arrival, position, fifo))
            });
        let (_, position, fifo) = found.min_by_key(|(arrival, ..)| *arrival)?;
        fifo.take(position)
    }

    /// Takes the message of these types that arrived first.
    fn take_first(&mut self, typemask: i32) -> Option<Arc<Message>> {
        let fifos = self.fifos.iter_mut().zip(TYPES);
        let fronts = fifos
            .filter(|(_, kind)| typemask & kind != 0)
            .filter_map(|(fifo, _)| Some((fifo.arrival()?, fifo)));
        let (_, fifo) = fronts.min_by_key(|(arrival, _)| *arrival)?;
        fifo.pop()
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

/// Whether this is the process's only thread. False if the system does not tell.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.take(2).count() == 1)
}
