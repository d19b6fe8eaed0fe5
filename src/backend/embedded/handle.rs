//! A handle on an embedded instance. Operations on attributes, events and the
//! log, and KVS operations that finish at once, send no request. Their results
//! are the same as with one.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;

use super::broker::Instance;
use super::future::{Decode, EmbeddedFuture};
use super::kvs::flags::STREAM;
use super::kvs::{self, EmbeddedTransaction, Kvs};
use super::matchtag::MatchtagCounter;
use super::message::{
    self, Credentials, FLAG_NORESPONSE, FLAG_UPSTREAM, Message, Payload, Route, TopicCache,
    without_nul,
};
use super::queue::Queue;
use super::reactor::Reactor;
use super::services::attr::Attributes;
use super::services::kvs::commit;
use super::services::log::Logs;
use crate::backend::reactor::{Callback, RunMode, Source, Watcher};
use crate::backend::{
    self, Error, Future, Handle, MATCHTAG_NONE, Match, NODEID_ANY, Result, Transaction, kvs_flags,
    object, rpc_flags,
};

/// The watch service handles the lookups with one of these flags.
const WATCHED: i32 = kvs_flags::WATCH | kvs_flags::WAITCREATE | STREAM;

/// A handle that is open on a rank of an instance.
pub(super) struct EmbeddedHandle {
    instance: Arc<Instance>,
    /// This handle's client id in the instance.
    id: u64,
    rank: u32,
    queue: Arc<Queue>,
    matchtags: MatchtagCounter,
    topics: TopicCache,
    reactor: Rc<Reactor>,
    credentials: Credentials,
}

impl EmbeddedHandle {
    /// Opens a handle at a rank, which must be less than the instance's size.
    pub fn connect(instance: Arc<Instance>, rank: u32) -> EmbeddedHandle {
        let (id, queue) = instance.lock().connect(rank);
        let logged = Arc::clone(&instance);
        let log = move |text: &str| {
            // If the instance has no log, the text is lost.
            let _ = log(&logged, rank, libc::LOG_ERR, text);
        };
        EmbeddedHandle {
            reactor: Reactor::new(Arc::clone(&queue), log),
            instance,
            id,
            rank,
            queue,
            matchtags: MatchtagCounter::default(),
            topics: TopicCache::default(),
            credentials: Credentials::of_environment(),
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
        let mut request = Message::request(topic, payload, nodeid, flags, self.credentials)?;
        let receiver: Weak<Queue> = Arc::downgrade(&self.queue);
        request.route = Some(Route {
            receiver,
            sender: Some(self.id),
        });
        if request.has(FLAG_UPSTREAM) {
            request.nodeid = self.rank;
        }
        if !request.has(FLAG_NORESPONSE) {
            request.matchtag = self.matchtags.next(&self.queue);
        }
        let matchtag = request.matchtag;
        self.instance.lock().request(self.id, request);
        Ok(matchtag)
    }

    fn call(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
        decode: Decode,
    ) -> Result<Box<dyn Future>> {
        let matchtag = self.send_request(topic, payload, nodeid, flags)?;
        if matchtag == MATCHTAG_NONE {
            return Ok(Box::new(EmbeddedFuture::ready(&self.reactor, Ok(None))));
        }
        let future = EmbeddedFuture::new(&self.reactor, matchtag, decode);
        Ok(Box::new(future.sent_by(&self.instance, self.id)))
    }

    /// Starts a lookup that the watch service responds to.
    fn watched_lookup(&self, namespace: &str, flags: i32, key: &str) -> Result<Box<dyn Future>> {
        let streams = flags & (kvs_flags::WATCH | STREAM) != 0;
        let rpc_flags = if streams { rpc_flags::STREAMING } else { 0 };
        let decode = match returns_object(flags) {
            true => Decode::Object,
            false => Decode::Bytes,
        };
        let request = json!({ "flags": flags, "key": key, "namespace": namespace });
        let request = request.to_string();
        self.call(
            "kvs-watch.lookup",
            Some(request.as_bytes()),
            NODEID_ANY,
            rpc_flags,
            decode,
        )
    }
}

/// Whether a lookup with these flags returns a tree object, not a value's bytes.
fn returns_object(flags: i32) -> bool {
    flags & (kvs_flags::READDIR | kvs_flags::READLINK | kvs_flags::TREEOBJ) != 0
}

/// Returns the given namespace, or else the default namespace of the process.
fn namespace_or_default(namespace: Option<&str>) -> Result<String> {
    let namespace = match namespace {
        Some(namespace) => namespace.to_owned(),
        None => std::env::var_os("FLUX_KVS_NAMESPACE").map_or(kvs::PRIMARY.into(), |name| {
            name.to_string_lossy().into_owned()
        }),
    };
    without_nul(&namespace)?;
    Ok(namespace)
}

fn log(instance: &Instance, rank: u32, level: i32, text: &str) -> Result<()> {
    let mut broker = instance.lock();
    let (logs, _) = broker.service::<Logs>()?;
    logs.log(rank, level, text);
    Ok(())
}

impl Handle for EmbeddedHandle {
    fn attr_get(&self, name: &str) -> Result<String> {
        without_nul(name)?;
        let mut broker = self.instance.lock();
        let (attributes, router) = broker.service::<Attributes>()?;
        attributes.get(router, self.rank, name)
    }

    fn rank(&self) -> Result<u32> {
        Ok(self.rank)
    }

    fn size(&self) -> Result<u32> {
        Ok(self.instance.size)
    }

    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32> {
        self.send_request(topic, payload, nodeid, 0)
    }

    fn give_up(&self, matchtag: u32) {
        self.queue.give_up(matchtag);
    }

    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()> {
        let topic = self.topics.get(topic)?;
        let event = Message::event(topic, payload, self.credentials);
        self.instance.lock().router().publish(self.rank, &event);
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
        self.call(topic, payload, nodeid, flags, Decode::All)
    }

    fn subscribe(&self, topic: &str) -> Result<()> {
        without_nul(topic)?;
        self.instance.lock().router().subscribe(self.id, topic);
        Ok(())
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        without_nul(topic)?;
        self.instance.lock().router().unsubscribe(self.id, topic)
    }

    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>> {
        kvs::check_lookup(flags, key)?;
        let namespace = namespace_or_default(namespace)?;
        if flags & WATCHED != 0 {
            return self.watched_lookup(&namespace, flags, key);
        }
        let mut broker = self.instance.lock();
        let (kvs, _) = broker.service::<Kvs>()?;
        let found = kvs.lookup(&namespace, flags, key);
        let entry = found.and_then(|entry| entry.ok_or_else(|| Error::new(libc::ENOENT)));
        let payload = entry.map(|entry| match entry {
            kvs::Entry::Value(value) if !returns_object(flags) => Payload::Long(value.bytes()),
            entry => {
                let entry = &entry;
                object::write(&kvs::Found { entry, flags })
                    .as_bytes()
                    .into()
            }
        });
        let future = EmbeddedFuture::ready(&self.reactor, payload.map(Some));
        Ok(Box::new(future))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(EmbeddedTransaction::default()))
    }

    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>> {
        let transaction = transaction.as_any().downcast_ref::<EmbeddedTransaction>();
        let Some(transaction) = transaction else {
            return Err(Error::with_detail(
                libc::EINVAL,
                "the transaction was made by another back end",
            ));
        };
        let namespace = namespace_or_default(namespace)?;
        let mut broker = self.instance.lock();
        let (kvs, router) = broker.service::<Kvs>()?;
        let ops = &transaction.ops;
        let committed = commit(kvs, router, self.rank, &namespace, flags, ops);
        let value = committed.map(|_| None);
        Ok(Box::new(EmbeddedFuture::ready(&self.reactor, value)))
    }

    fn log(&self, level: i32, text: &str) -> Result<()> {
        without_nul(text)?;
        log(&self.instance, self.rank, level, text)
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
        let instance = Arc::clone(&self.instance);
        Ok(Box::new(EmbeddedHandle::connect(instance, self.rank)))
    }
}

impl Drop for EmbeddedHandle {
    fn drop(&mut self) {
        self.instance.lock().disconnect(self.id);
    }
}
