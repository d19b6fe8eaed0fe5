//! `loop://`: every message comes back to the handle that sent it. There is no
//! broker, so calls that need one fail.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::future::{Decode, EmbeddedFuture};
use super::kvs::EmbeddedTransaction;
use super::matchtag::MatchtagCounter;
use super::message::{
    self, Credentials, FLAG_NORESPONSE, FLAG_UPSTREAM, Message, Receiver, Route, TopicCache,
    without_nul,
};
use super::queue::{Queue, Senders};
use super::reactor::Reactor;
use super::services::log::lines;
use crate::backend::reactor::{Callback, RunMode, Source, Watcher};
use crate::backend::{
    self, Error, Future, Handle, MATCHTAG_NONE, Match, NODEID_ANY, Result, Transaction,
};

const RANK: u32 = 0;
const SIZE: u32 = 1;

/// A handle whose messages come back to itself.
pub(super) struct Loopback {
    queue: Arc<Queue>,
    matchtags: MatchtagCounter,
    topics: TopicCache,
    reactor: Rc<Reactor>,
}

impl Loopback {
    /// Opens a loopback.
    pub fn new() -> Loopback {
        let queue = Arc::new(Queue::new(Senders::Nobody));
        let own = Arc::clone(&queue);
        Loopback {
            reactor: Reactor::new(Arc::clone(&queue), move |text| {
                log(&own, libc::LOG_ERR, text)
            }),
            queue,
            matchtags: MatchtagCounter::default(),
            topics: TopicCache::default(),
        }
    }

    fn send_request(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<u32> {
        let topic = self.topics.get(topic)?;
        let from = Credentials::of_owner();
        let mut request = Message::request(topic, payload, nodeid, flags, from)?;
        let receiver: Weak<Queue> = Arc::downgrade(&self.queue);
        request.route = Some(Route {
            receiver,
            sender: None,
        });
        if request.has(FLAG_UPSTREAM) {
            request.nodeid = RANK;
        }
        if !request.has(FLAG_NORESPONSE) {
            request.matchtag = self.matchtags.next(&self.queue);
        }
        let matchtag = request.matchtag;
        self.queue.deliver(request);
        Ok(matchtag)
    }
}

/// The error for a call that would wait forever, because the request is in the
/// handle's own queue.
fn unanswered(topic: &str) -> Error {
    let text = format!("{topic}: a loopback has no broker that would answer");
    Error::with_detail(libc::EDEADLK, text)
}

/// Sends a text in the form in which a client sends it to a broker's log: each
/// line is a request that wants no response.
fn log(queue: &Queue, level: i32, text: &str) {
    let topic: Arc<[u8]> = Arc::from(&b"log.append"[..]);
    for line in lines(RANK, level, text) {
        let line = Some(line.as_bytes());
        let from = Credentials::of_owner();
        if let Ok(request) = Message::request(topic.clone(), line, NODEID_ANY, 0, from) {
            queue.deliver(request);
        }
    }
}

impl Handle for Loopback {
    fn attr_get(&self, name: &str) -> Result<String> {
        match name {
            "rank" => Ok(RANK.to_string()),
            "size" => Ok(SIZE.to_string()),
            _ => Err(unanswered("attr.get")),
        }
    }

    fn rank(&self) -> Result<u32> {
        Ok(RANK)
    }

    fn size(&self) -> Result<u32> {
        Ok(SIZE)
    }

    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32> {
        self.send_request(topic, payload, nodeid, 0)
    }

    fn give_up(&self, matchtag: u32) {
        self.queue.give_up(matchtag);
    }

    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()> {
        let topic = self.topics.get(topic)?;
        let event = Message::event(topic, payload, Credentials::of_owner());
        self.queue.deliver(event);
        Ok(())
    }

    fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<dyn backend::Message>> {
        let message = self.queue.recv(wanted, timeout)?;
        Ok(message)
    }

    fn respond(&self, request: &dyn backend::Message, payload: Option<&[u8]>) -> Result<()> {
        message::respond(request, 0, payload)
    }

    fn respond_error(
        &self,
        request: &dyn backend::Message,
        errnum: i32,
        text: Option<&str>,
    ) -> Result<()> {
        message::respond_error(request, errnum, text)
    }

    fn rpc(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<Box<dyn Future>> {
        let matchtag = self.send_request(topic, payload, nodeid, flags)?;
        if matchtag == MATCHTAG_NONE {
            return Ok(Box::new(EmbeddedFuture::ready(&self.reactor, Ok(None))));
        }
        Ok(Box::new(EmbeddedFuture::new(
            &self.reactor,
            matchtag,
            Decode::All,
        )))
    }

    fn subscribe(&self, topic: &str) -> Result<()> {
        without_nul(topic)?;
        Err(unanswered("event.subscribe"))
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        without_nul(topic)?;
        Err(unanswered("event.unsubscribe"))
    }

    fn lookup(&self, _namespace: Option<&str>, _flags: i32, _key: &str) -> Result<Box<dyn Future>> {
        Err(unanswered("kvs.lookup"))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(EmbeddedTransaction::default()))
    }

    fn commit(
        &self,
        _namespace: Option<&str>,
        _flags: i32,
        _transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>> {
        Err(unanswered("kvs.commit"))
    }

    fn log(&self, level: i32, text: &str) -> Result<()> {
        without_nul(text)?;
        log(&self.queue, level, text);
        Ok(())
    }

    fn reactor_run(&self, mode: RunMode) -> Result<u32> {
        self.reactor.run(mode)
    }

    fn reactor_stop(&self) {
        self.reactor.stop();
    }

    fn reactor_stop_error(&self) {
        self.reactor.stop_error();
    }

    fn watch(&self, source: Source<'_>, callback: Callback) -> Result<Box<dyn Watcher>> {
        self.reactor.watch(source, callback)
    }

    fn reopen(&self) -> Result<Box<dyn Handle>> {
        Ok(Box::new(Loopback::new()))
    }
}
