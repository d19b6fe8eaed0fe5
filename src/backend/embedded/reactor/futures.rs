//! Keeps the futures that have a continuation. Finds the future that a response
//! fulfils, and the futures that are ready.

use std::collections::VecDeque;

use crate::backend::embedded::message::Message;
use crate::backend::ids::{IdMap, Order, TagMap};
use crate::backend::{Continuation, Future};

/// A future that responses fulfil.
pub trait ResponseFuture: Future {
    /// The matchtag of the future's responses.
    fn matchtag(&self) -> u32;
    /// Fulfils the future with a response. Does nothing if it is already
    /// fulfilled.
    fn fulfil(&self, response: &Message);
    /// Whether the future has a value.
    fn is_fulfilled(&self) -> bool;
    /// Whether the future's value is its last.
    fn has_ended(&self) -> bool;
}

/// The futures with a continuation.
#[derive(Default)]
pub struct Futures {
    futures: IdMap<Continued>,
    /// The futures that expect a response, by its matchtag.
    tags: TagMap<u64>,
    /// The fulfilled futures, in the order of their fulfilment.
    ready: Order,
    next_ready: u64,
    /// The number of futures that are ready or expect a response.
    active: usize,
}

/// A future with its continuation.
pub struct Continued {
    /// None while its continuation runs.
    future: Option<Box<dyn ResponseFuture>>,
    continuation: Continuation,
    matchtag: u32,
    /// Responses that arrived before the continuation had seen the one before.
    backlog: VecDeque<Message>,
    /// Whether more responses will come.
    open: bool,
    /// The future's key in [`Futures::ready`].
    ready: Option<u64>,
}

/// A continuation to be called.
pub struct Call {
    id: u64,
    /// The future to pass to the continuation.
    pub future: Box<dyn ResponseFuture>,
    pub continuation: Continuation,
}

impl Futures {
    /// Adds a future.
    pub fn add(&mut self, id: u64, future: Box<dyn ResponseFuture>, continuation: Continuation) {
        let matchtag = future.matchtag();
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

    /// Removes a future.
    pub fn remove(&mut self, id: u64) -> Option<Continued> {
        self.change(id, |future| future.open = false);
        self.not_ready(id);
        let continued = self.futures.remove(&id)?;
        if self.tags.get(&continued.matchtag) == Some(&id) {
            self.tags.remove(&continued.matchtag);
        }
        Some(continued)
    }

    /// The number of futures that are ready or expect a response.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Whether any future expects a response.
    pub fn expect_responses(&self) -> bool {
        !self.tags.is_empty()
    }

    /// Whether any continuation is to be called.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Gives a response to the future that expects it. Returns whether there is
    /// such a future.
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

    /// Takes the future that has been ready longest. A future that has ended is
    /// then forgotten.
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

    /// Puts a future back after its continuation has run. If the future has
    /// ended or was removed, returns the call instead, and the caller must drop
    /// it.
    pub fn called(&mut self, call: Call) -> Option<Call> {
        let Some(continued) = self.futures.get_mut(&call.id) else {
            return Some(call);
        };
        continued.future = Some(call.future);
        self.fulfil(call.id);
        None
    }

    /// Fulfils a future with its next response, if it has one and is not
    /// fulfilled.
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

    /// Changes a future, and counts again whether it is active.
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
