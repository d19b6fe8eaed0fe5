//! `loop://`: what is sent comes back to the same handle. There is no broker
//! behind it, so what one would be asked for can only fail.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::reactor::{Callback, RunMode, Source, Watcher};
use super::super::{
    self as backend, Error, Future, Handle, MATCHTAG_NONE, Match, Result, Transaction,
};
use super::future::{Decode, Response, Tags};
use super::handle::{LOG_ERR, new_request};
use super::kvs;
use super::message::{
    self, FLAG_NORESPONSE, FLAG_UPSTREAM, Message, ROLE_OWNER, Route, Topics, carried,
};
use super::queue::{Queue, Senders};
use super::reactor::Reactor;
use super::services;

const RANK: u32 = 0;
const SIZE: u32 = 1;

pub(super) struct Loopback {
    queue: Arc<Queue>,
    tags: Tags,
    topics: Topics,
    reactor: Rc<Reactor>,
}

impl Loopback {
    pub fn new() -> Loopback {
        let queue = Arc::new(Queue::new(Senders::Nobody));
        let own = Arc::clone(&queue);
        Loopback {
            reactor: Reactor::new(Arc::clone(&queue), move |text| log(&own, LOG_ERR, text)),
            queue,
            tags: Tags::new(),
            topics: Topics::default(),
        }
    }

    fn send_request(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<u32> {
        let mut request = new_request(self.topics.get(topic)?, payload, nodeid, flags, ROLE_OWNER)?;
        request.route = Some(Route {
            queue: Arc::downgrade(&self.queue),
            sender: None,
        });
        if request.has(FLAG_UPSTREAM) {
            request.nodeid = RANK;
        }
        if !request.has(FLAG_NORESPONSE) {
            request.matchtag = self.tags.next(&self.queue);
        }
        let matchtag = request.matchtag;
        self.queue.deliver(request);
        Ok(matchtag)
    }
}

/// Where the request for it would wait for ever in the handle's own queue.
fn unanswered(topic: &str) -> Error {
    let text = format!("{topic}: a loopback has no broker that would answer");
    Error::with_detail(libc::EDEADLK, text)
}

/// To a broker, a log line is a request that wants no answer.
fn log(queue: &Queue, level: i32, text: &str) {
    let topic: Arc<[u8]> = Arc::from(&b"log.append"[..]);
    for line in services::log_lines(RANK, level, text) {
        let line = Some(line.as_bytes());
        queue.deliver(Message::request(topic.clone(), line, ROLE_OWNER));
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
        self.queue
            .deliver(Message::event(self.topics.get(topic)?, payload, ROLE_OWNER));
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
            return Ok(Box::new(Response::ready(&self.reactor, Ok(None))));
        }
        Ok(Box::new(Response::new(
            &self.reactor,
            matchtag,
            Decode::All,
        )))
    }

    fn subscribe(&self, topic: &str) -> Result<()> {
        carried(topic)?;
        Err(unanswered("event.subscribe"))
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        carried(topic)?;
        Err(unanswered("event.unsubscribe"))
    }

    fn lookup(&self, _namespace: Option<&str>, _flags: i32, _key: &str) -> Result<Box<dyn Future>> {
        Err(unanswered("kvs.lookup"))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(kvs::Transaction::default()))
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
        carried(text)?;
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
