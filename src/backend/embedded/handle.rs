//! A handle on an embedded instance. Attributes, events, the log and finished
//! KVS operations go to the instance directly, and end as the same requests
//! sent as messages would.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::reactor::{Callback, RunMode, Source, Watcher};
use super::super::{
    self as backend, Error, Future, Handle, MATCHTAG_NONE, Match, NODEID_ANY, NODEID_UPSTREAM,
    Result, Transaction, key, kvs_flags, object, rpc_flags,
};
use super::broker::Instance;
use super::future::{Decode, Response, Tags};
use super::kvs::{self, watch_flags};
use super::message::{
    self, Credentials, FLAG_NORESPONSE, FLAG_STREAMING, FLAG_UPSTREAM, Message, Payload, Route,
    Topics, carried,
};
use super::queue::Queue;
use super::reactor::Reactor;
use super::services;

/// The level of what goes wrong in a reactor.
pub(super) const LOG_ERR: i32 = 3;

pub(super) struct Embedded {
    instance: Arc<Instance>,
    /// This handle's endpoint in the instance.
    id: u64,
    rank: u32,
    queue: Arc<Queue>,
    tags: Tags,
    topics: Topics,
    reactor: Rc<Reactor>,
    credentials: Credentials,
}

impl Embedded {
    pub fn connect(instance: Arc<Instance>, rank: u32) -> Embedded {
        let (id, queue) = instance.connect(rank);
        let log = Arc::clone(&instance);
        let log = move |text: &str| log.lock().logs.log(rank, LOG_ERR, text);
        Embedded {
            reactor: Reactor::new(Arc::clone(&queue), log),
            instance,
            id,
            rank,
            queue,
            tags: Tags::new(),
            topics: Topics::default(),
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
        let mut request = new_request(
            self.topics.get(topic)?,
            payload,
            nodeid,
            flags,
            self.credentials.rolemask,
        )?;
        request.userid = self.credentials.userid;
        request.route = Some(Route {
            queue: Arc::downgrade(&self.queue),
            sender: Some(self.id),
        });
        if request.has(FLAG_UPSTREAM) {
            request.nodeid = self.rank;
        }
        if !request.has(FLAG_NORESPONSE) {
            request.matchtag = self.tags.next(&self.queue);
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
            return Ok(Box::new(Response::ready(&self.reactor, Ok(None))));
        }
        let mut response = Response::new(&self.reactor, matchtag, decode);
        response.asked = Some((Arc::downgrade(&self.instance), self.id));
        Ok(Box::new(response))
    }
}

/// A request without its way back. `flags`: [`rpc_flags`].
pub(super) fn new_request(
    topic: Arc<[u8]>,
    payload: Option<&[u8]>,
    nodeid: u32,
    flags: i32,
    rolemask: u32,
) -> Result<Message> {
    if flags & !(rpc_flags::NORESPONSE | rpc_flags::STREAMING) != 0 {
        return Err(Error::with_detail(libc::EINVAL, "unknown RPC flags"));
    }
    let mut request = Message::request(topic, payload, rolemask);
    request.nodeid = nodeid;
    for (wanted, flag) in [
        (flags & rpc_flags::NORESPONSE != 0, FLAG_NORESPONSE),
        (flags & rpc_flags::STREAMING != 0, FLAG_STREAMING),
        (nodeid == NODEID_UPSTREAM, FLAG_UPSTREAM),
    ] {
        if wanted {
            request.flags |= flag;
        }
    }
    Ok(request)
}

pub(super) fn namespace_or_default(namespace: Option<&str>) -> Result<String> {
    let namespace = match namespace {
        Some(namespace) => namespace.to_owned(),
        None => std::env::var_os("FLUX_KVS_NAMESPACE").map_or(kvs::PRIMARY.into(), |name| {
            name.to_string_lossy().into_owned()
        }),
    };
    carried(&namespace)?;
    Ok(namespace)
}

/// EINVAL for a lookup that no KVS takes.
pub(super) fn check_lookup(flags: i32, key: &str) -> Result<()> {
    let watching = kvs_flags::WATCH_FULL
        | kvs_flags::WATCH_UNIQ
        | kvs_flags::WATCH_APPEND
        | watch_flags::WATCH_INITIAL_SENTINEL;
    let kinds = flags & !(watching | WATCHED);
    let known = [
        0,
        kvs_flags::TREEOBJ,
        kvs_flags::READDIR,
        kvs_flags::READDIR | kvs_flags::TREEOBJ,
        kvs_flags::READLINK,
    ];
    if !known.contains(&kinds) || (flags & watching != 0 && flags & kvs_flags::WATCH == 0) {
        return Err(Error::with_detail(libc::EINVAL, "invalid lookup flags"));
    }
    key::check(key)
}

/// Lookups with one of these are the watch service's.
const WATCHED: i32 = kvs_flags::WATCH | kvs_flags::WAITCREATE | watch_flags::STREAM;

impl Handle for Embedded {
    fn attr_get(&self, name: &str) -> Result<String> {
        carried(name)?;
        self.instance.lock().attribute(self.rank, name)
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
        let mut event = Message::event(topic, payload, self.credentials.rolemask);
        event.userid = self.credentials.userid;
        self.instance.lock().publish(self.rank, &event);
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
        carried(topic)?;
        self.instance.lock().subscribe(self.id, topic);
        Ok(())
    }

    fn unsubscribe(&self, topic: &str) -> Result<()> {
        carried(topic)?;
        self.instance.lock().unsubscribe(self.id, topic)
    }

    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>> {
        check_lookup(flags, key)?;
        let namespace = namespace_or_default(namespace)?;
        let objects = kvs_flags::READDIR | kvs_flags::READLINK | kvs_flags::TREEOBJ;
        let as_object = flags & objects != 0;
        if flags & WATCHED != 0 {
            let streams = flags & (kvs_flags::WATCH | watch_flags::STREAM) != 0;
            let rpc_flags = if streams { rpc_flags::STREAMING } else { 0 };
            let decode = if as_object {
                Decode::Object
            } else {
                Decode::Bytes
            };
            let request = json!({ "flags": flags, "key": key, "namespace": namespace });
            return self.call(
                "kvs-watch.lookup",
                Some(request.to_string().as_bytes()),
                NODEID_ANY,
                rpc_flags,
                decode,
            );
        }
        let found = self.instance.lock().kvs.lookup(&namespace, flags, key);
        let entry = found.and_then(|entry| entry.ok_or_else(|| Error::new(libc::ENOENT)));
        let payload = entry.map(|entry| match entry {
            kvs::Entry::Value(value) if !as_object => Payload::Long(value.bytes()),
            entry => {
                let entry = &entry;
                object::write(&kvs::Found { entry, flags })
                    .as_bytes()
                    .into()
            }
        });
        let payload = payload.map(Some);
        Ok(Box::new(Response::ready(&self.reactor, payload)))
    }

    fn transaction(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(kvs::Transaction::default()))
    }

    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>> {
        let transaction = transaction.as_any().downcast_ref::<kvs::Transaction>();
        let Some(transaction) = transaction else {
            return Err(Error::with_detail(
                libc::EINVAL,
                "the transaction was made by another back end",
            ));
        };
        let namespace = namespace_or_default(namespace)?;
        let mut state = self.instance.lock();
        let ops = &transaction.ops;
        let committed = services::kvs_commit(&mut state, self.rank, &namespace, flags, ops);
        let answer = committed.map(|_| None);
        Ok(Box::new(Response::ready(&self.reactor, answer)))
    }

    fn log(&self, level: i32, text: &str) -> Result<()> {
        carried(text)?;
        self.instance.lock().logs.log(self.rank, level, text);
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
        let instance = Arc::clone(&self.instance);
        Ok(Box::new(Embedded::connect(instance, self.rank)))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.instance.lock().disconnect(self.id);
    }
}
