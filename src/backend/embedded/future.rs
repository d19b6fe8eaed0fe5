//! A future: waits for a response in a handle's queue, or holds a value that is
//! already known.

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
use super::reactor::{Reactor, ResponseFuture};
use crate::backend::reactor::Watcher;
use crate::backend::{self, Continuation, Error, MATCHTAG_NONE, Match, Result, msgtype, object};

type Fulfilled = Result<Option<Payload>>;

/// The part of a response that is the future's payload.
#[derive(Clone, Copy)]
pub(super) enum Decode {
    /// The response's payload.
    All,
    /// The tree object in the response to a KVS lookup.
    Object,
    /// The value's bytes in the response to a KVS lookup.
    Bytes,
}

/// A future. Its values are the responses to a request, one after the other, or
/// one value that was known when the future was made.
pub(super) struct EmbeddedFuture {
    queue: Arc<Queue>,
    reactor: rc::Weak<Reactor>,
    matchtag: u32,
    decode: Decode,
    /// The instance to tell when the future is given up, and the client that
    /// sent the request.
    origin: Option<(Weak<Instance>, u64)>,
    fulfilled: OnceCell<Fulfilled>,
    /// Whether the last response was received.
    ended: Cell<bool>,
}

impl EmbeddedFuture {
    /// Makes a future that the response with this matchtag fulfils.
    pub fn new(reactor: &rc::Rc<Reactor>, matchtag: u32, decode: Decode) -> EmbeddedFuture {
        EmbeddedFuture {
            queue: Arc::clone(reactor.queue()),
            reactor: rc::Rc::downgrade(reactor),
            matchtag,
            decode,
            origin: None,
            fulfilled: OnceCell::new(),
            ended: Cell::new(false),
        }
    }

    /// Makes the future tell the instance when it is given up.
    pub fn sent_by(mut self, instance: &Arc<Instance>, client: u64) -> EmbeddedFuture {
        self.origin = Some((Arc::downgrade(instance), client));
        self
    }

    /// Makes a future that is already fulfilled.
    pub fn ready(reactor: &rc::Rc<Reactor>, value: Fulfilled) -> EmbeddedFuture {
        let future = EmbeddedFuture::new(reactor, MATCHTAG_NONE, Decode::All);
        future.fulfilled.get_or_init(|| value);
        future.ended.set(true);
        future
    }
}

impl ResponseFuture for EmbeddedFuture {
    fn matchtag(&self) -> u32 {
        self.matchtag
    }

    fn fulfil(&self, response: &Message) {
        self.ended.set(response.is_last());
        self.fulfilled.get_or_init(|| decode(response, self.decode));
    }

    fn is_fulfilled(&self) -> bool {
        self.fulfilled.get().is_some()
    }

    fn has_ended(&self) -> bool {
        self.ended.get()
    }
}

impl backend::Future for EmbeddedFuture {
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

    // The last value is kept, because no other follows it.
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

impl Drop for EmbeddedFuture {
    fn drop(&mut self) {
        if self.ended.get() {
            return;
        }
        self.queue.give_up(self.matchtag);
        let origin = self.origin.take();
        if let Some((instance, client)) = origin.and_then(|(i, id)| Some((i.upgrade()?, id))) {
            instance.lock().cancel_stream(client, self.matchtag);
        }
    }
}

fn borrow(result: &Fulfilled) -> Result<Option<&[u8]>> {
    match result {
        Ok(payload) => Ok(payload.as_deref()),
        Err(error) => Err(error.clone()),
    }
}

fn decode(response: &Message, decode: Decode) -> Fulfilled {
    if response.errnum != 0 {
        let text = response.payload.as_deref();
        return Err(Error::from_response(response.errnum, text));
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

/// Returns the tree object in the response to a lookup.
fn val(payload: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Lookup<'t> {
        #[serde(borrow)]
        val: &'t RawValue,
    }
    let lookup: Lookup = object::read(payload)?;
    Some(lookup.val.get().as_bytes())
}
