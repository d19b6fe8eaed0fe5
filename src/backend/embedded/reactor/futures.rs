//! Futures with a continuation: which response is whose, and which are ready
//! to be continued.

use std::collections::VecDeque;

use super::super::super::ids::{IdMap, Order, TagMap};
use super::super::super::reactor::Continuation;
use super::super::future::Response;
use super::super::message::Message;

#[derive(Default)]
pub(super) struct Futures {
    futures: IdMap<Continued>,
    /// Whose next response has which matchtag.
    tags: TagMap<u64>,
    /// The fulfilled, in the order in which they were.
    ready: Order,
    next_ready: u64,
    active: usize,
}

pub(super) struct Continued {
    /// Not here while its continuation runs.
    future: Option<Box<Response>>,
    continuation: Continuation,
    matchtag: u32,
    /// Responses that came before the continuation had seen the last one.
    backlog: VecDeque<Message>,
    /// More responses will come.
    open: bool,
    /// Its place among the ready.
    ready: Option<u64>,
}

/// A continuation to be called.
pub(super) struct Call {
    id: u64,
    pub future: Box<Response>,
    pub continuation: Continuation,
}

impl Futures {
    pub fn add(&mut self, id: u64, future: Box<Response>, continuation: Continuation) {
        let matchtag = future.matchtag;
        let (fulfilled, ended) = (future.is_fulfilled(), future.has_ended());
        let continued = Continued {
            future: Some(future),
            continuation,
            matchtag,
            backlog: VecDeque::new(),
            open: false,
            ready: None,
        };
        self.futures.insert(id, continued);
        if !ended {
            self.tags.insert(matchtag, id);
            self.change(id, |future| future.open = true);
        }
        if fulfilled {
            self.make_ready(id);
        }
    }

    pub fn remove(&mut self, id: u64) -> Option<Continued> {
        self.change(id, |future| future.open = false);
        self.not_ready(id);
        let continued = self.futures.remove(&id)?;
        if self.tags.get(&continued.matchtag) == Some(&id) {
            self.tags.remove(&continued.matchtag);
        }
        Some(continued)
    }

    pub fn active(&self) -> usize {
        self.active
    }

    pub fn expect_responses(&self) -> bool {
        !self.tags.is_empty()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Give a response to the future that it fulfils; whether there is one.
    pub fn deliver(&mut self, response: &Message) -> bool {
        let Some(&id) = self.tags.get(&response.matchtag) else {
            return false;
        };
        if response.is_last() {
            self.tags.remove(&response.matchtag);
            self.change(id, |future| future.open = false);
        }
        if let Some(continued) = self.futures.get_mut(&id) {
            continued.backlog.push_back(response.clone());
        }
        self.fulfil(id);
        true
    }

    /// Take the future that has been ready longest. One that has ended is
    /// forgotten by that.
    pub fn next(&mut self) -> Option<Call> {
        let &(_, id) = self.ready.first()?;
        self.not_ready(id);
        let continued = self.futures.get_mut(&id)?;
        let call = Call {
            id,
            future: continued.future.take()?,
            continuation: continued.continuation.clone(),
        };
        if call.future.has_ended() {
            self.futures.remove(&id);
        }
        Some(call)
    }

    /// Its continuation has run. What is to be dropped is returned.
    pub fn called(&mut self, call: Call) -> Option<Call> {
        let Some(continued) = self.futures.get_mut(&call.id) else {
            return Some(call);
        };
        continued.future = Some(call.future);
        self.fulfil(call.id);
        None
    }

    /// Fulfil the future with the next response that it has, if it can be.
    fn fulfil(&mut self, id: u64) {
        let Some(continued) = self.futures.get_mut(&id) else {
            return;
        };
        let future = continued.future.as_ref();
        let Some(future) = future.filter(|future| !future.is_fulfilled()) else {
            return;
        };
        let Some(response) = continued.backlog.pop_front() else {
            return;
        };
        future.fulfil(&response);
        self.make_ready(id);
    }

    fn make_ready(&mut self, id: u64) {
        let place = self.next_ready;
        self.next_ready += 1;
        self.ready.insert((place, id));
        self.change(id, |future| future.ready = Some(place));
    }

    fn not_ready(&mut self, id: u64) {
        let mut place = None;
        self.change(id, |future| place = future.ready.take());
        if let Some(place) = place {
            self.ready.remove(&(place, id));
        }
    }

    /// Change a future, and with it how many are active.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Continued)) {
        let Some(continued) = self.futures.get_mut(&id) else {
            return;
        };
        self.active -= usize::from(continued.is_active());
        change(continued);
        self.active += usize::from(continued.is_active());
    }
}

impl Continued {
    fn is_active(&self) -> bool {
        self.open || self.ready.is_some()
    }
}
