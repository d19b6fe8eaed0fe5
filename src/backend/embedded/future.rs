//! Futures: a response that is waited for in a handle's queue, or an answer
//! that is known already.

use std::cell::{Cell, OnceCell};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::super::{self as backend, Error, MATCHTAG_NONE, Match, Result, msgtype};
use super::broker::Instance;
use super::kvs;
use super::message::Message;
use super::queue::Queue;

type Payload = Option<Arc<[u8]>>;

/// An answer that was known when the future was made.
pub(super) struct Ready(pub Result<Payload>);

impl backend::Future for Ready {
    fn wait(&self, _timeout: Option<Duration>) -> Result<()> {
        Ok(())
    }

    fn payload(&self) -> Result<Option<&[u8]>> {
        borrow(&self.0)
    }

    fn reset(&mut self) {}
}

/// What of a response is the future's payload.
#[derive(Clone, Copy)]
pub(super) enum Decode {
    All,
    /// Of a KVS lookup: the tree object.
    Object,
    /// Of a KVS lookup: the value's bytes.
    Bytes,
}

/// A request's response, or its responses one after the other.
pub(super) struct Response {
    pub queue: Arc<Queue>,
    pub matchtag: u32,
    pub decode: Decode,
    /// Whom to tell when the future is given up: the instance, and who asked.
    pub asked: Option<(Weak<Instance>, u64)>,
    fulfilled: OnceCell<Result<Payload>>,
    /// The last response was received.
    ended: Cell<bool>,
}

impl Response {
    pub fn new(queue: &Arc<Queue>, matchtag: u32, decode: Decode) -> Response {
        Response {
            queue: Arc::clone(queue),
            matchtag,
            decode,
            asked: None,
            fulfilled: OnceCell::new(),
            ended: Cell::new(false),
        }
    }
}

impl backend::Future for Response {
    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        if self.fulfilled.get().is_some() {
            return Ok(());
        }
        let wanted = Match {
            typemask: msgtype::RESPONSE,
            matchtag: self.matchtag,
        };
        let response = self.queue.recv(&wanted, timeout)?;
        self.ended.set(response.is_last());
        self.fulfilled
            .get_or_init(|| decode(&response, self.decode));
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

fn borrow(result: &Result<Payload>) -> Result<Option<&[u8]>> {
    match result {
        Ok(payload) => Ok(payload.as_deref()),
        Err(error) => Err(error.clone()),
    }
}

fn decode(response: &Message, decode: Decode) -> Result<Payload> {
    let payload = response.payload.clone();
    if response.errnum != 0 {
        return Err(Error {
            errnum: response.errnum,
            detail: payload.map(|text| String::from_utf8_lossy(&text).into_owned()),
        });
    }
    let Some(payload) = payload else {
        return Ok(None);
    };
    let val = |payload: &[u8]| {
        let text = std::str::from_utf8(payload).ok()?;
        let object = text.strip_prefix(r#"{"val":"#)?.strip_suffix('}')?;
        Some(object.to_owned())
    };
    let decoded = match decode {
        Decode::All => return Ok(Some(payload)),
        Decode::Object => val(&payload).map(String::into_bytes),
        Decode::Bytes => val(&payload).and_then(|object| kvs::bytes_of(&object)),
    };
    match decoded {
        Some(decoded) => Ok(Some(decoded.into())),
        None => Err(Error::new(libc::EPROTO)),
    }
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
