//! Futures: a response that is waited for in a handle's queue, or an answer
//! that is known already.

use std::cell::{Cell, OnceCell};
use std::rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::broker::Instance;
use super::kvs;
use super::message::{Message, Payload};
use super::queue::Queue;
use super::reactor::Reactor;
use crate::backend::reactor::{Continuation, Watcher};
use crate::backend::{self, Error, MATCHTAG_NONE, Match, Result, msgtype, object};

type Answer = Option<Payload>;

/// What of a response is the future's payload.
#[derive(Clone, Copy)]
pub(super) enum Decode {
    All,
    /// Of a KVS lookup: the tree object.
    Object,
    /// Of a KVS lookup: the value's bytes.
    Bytes,
}

/// A request's response, or its responses one after the other, or an answer
/// that was known when the future was made.
pub(super) struct Response {
    queue: Arc<Queue>,
    reactor: rc::Weak<Reactor>,
    pub matchtag: u32,
    decode: Decode,
    /// Whom to tell when the future is given up: the instance, and who asked.
    pub asked: Option<(Weak<Instance>, u64)>,
    fulfilled: OnceCell<Result<Answer>>,
    /// The last response was received.
    ended: Cell<bool>,
}

impl Response {
    pub fn new(reactor: &rc::Rc<Reactor>, matchtag: u32, decode: Decode) -> Response {
        Response {
            queue: Arc::clone(reactor.queue()),
            reactor: rc::Rc::downgrade(reactor),
            matchtag,
            decode,
            asked: None,
            fulfilled: OnceCell::new(),
            ended: Cell::new(false),
        }
    }

    /// The answer is known.
    pub fn ready(reactor: &rc::Rc<Reactor>, answer: Result<Answer>) -> Response {
        let response = Response::new(reactor, MATCHTAG_NONE, Decode::All);
        response.fulfilled.get_or_init(|| answer);
        response.ended.set(true);
        response
    }

    pub fn fulfil(&self, response: &Message) {
        self.ended.set(response.is_last());
        self.fulfilled.get_or_init(|| decode(response, self.decode));
    }

    pub fn is_fulfilled(&self) -> bool {
        self.fulfilled.get().is_some()
    }

    /// What it is fulfilled with is the last.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }
}

impl backend::Future for Response {
    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        if self.is_fulfilled() {
            return Ok(());
        }
        let wanted = Match {
            typemask: msgtype::RESPONSE,
            matchtag: self.matchtag,
        };
        let response = self.queue.recv(&wanted, timeout)?;
        self.fulfil(&response);
        Ok(())
    }

    fn payload(&self) -> Result<Option<&[u8]>> {
        self.wait(None)?;
        self.fulfilled.get().map_or(Ok(None), borrow)
    }

    // The last value stays: nothing comes after it.
    fn reset(&mut self) {
        if !self.ended.get() {
            self.fulfilled.take();
        }
    }

    fn then(self: Box<Self>, continuation: Continuation) -> Result<Box<dyn Watcher>> {
        let Some(reactor) = self.reactor.upgrade() else {
            return Err(Error::with_detail(libc::EPIPE, "the handle is closed"));
        };
        Ok(reactor.watch_future(self, continuation))
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if self.ended.get() {
            return;
        }
        self.queue.give_up(self.matchtag);
        let asked = self.asked.take();
        if let Some((instance, id)) = asked.and_then(|(i, id)| Some((i.upgrade()?, id))) {
            instance.lock().cancel_stream(id, self.matchtag);
        }
    }
}

fn borrow(result: &Result<Answer>) -> Result<Option<&[u8]>> {
    match result {
        Ok(payload) => Ok(payload.as_deref()),
        Err(error) => Err(error.clone()),
    }
}

fn decode(response: &Message, decode: Decode) -> Result<Answer> {
    if response.errnum != 0 {
        let text = response.payload.as_deref();
        return Err(Error::answered(response.errnum, text));
    }
    let Some(payload) = response.payload.clone() else {
        return Ok(None);
    };
    let decoded: Option<Payload> = match decode {
        Decode::All => return Ok(Some(payload)),
        Decode::Object => val(&payload).map(Payload::from),
        Decode::Bytes => {
            let bytes = val(&payload).and_then(kvs::bytes_of);
            bytes.map(|bytes| bytes.as_slice().into())
        }
    };
    match decoded {
        Some(decoded) => Ok(Some(decoded)),
        None => Err(Error::new(libc::EPROTO)),
    }
}

/// The tree object in a lookup's response.
fn val(payload: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Answer<'t> {
        #[serde(borrow)]
        val: &'t RawValue,
    }
    let answer: Answer = object::read(payload)?;
    Some(answer.val.get().as_bytes())
}

/// Hands out a handle's matchtags, one after the other.
pub(super) struct Tags(Cell<u32>);

impl Tags {
    pub fn new() -> Tags {
        Tags(Cell::new(MATCHTAG_NONE))
    }

    /// A tag that no response given up could still come under.
    pub fn next(&self, queue: &Queue) -> u32 {
        loop {
            let tag = self.0.get().wrapping_add(1);
            self.0.set(tag);
            if tag != MATCHTAG_NONE && !queue.is_given_up(tag) {
                return tag;
            }
        }
    }
}
