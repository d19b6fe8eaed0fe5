//! The interface of a service of the embedded broker, and the requests that it
//! may make of the router. A service uses nothing else of the broker.
//! `services` contains all of them.

use std::any::Any;

use serde::Serialize;

use super::message::Message;
use crate::backend::{Error, Result, object};

/// A service of the broker. One value serves all ranks of an instance.
pub(super) trait Service: Any + Send {
    /// The names with which the service's topics start.
    fn names(&self) -> &'static [&'static str];

    /// Handles a request. An error becomes an error response.
    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply>;

    /// Whether a method concerns the sender's own connection. Such a request
    /// goes to the sender's rank, whatever its nodeid is.
    fn concerns_connection(&self, _method: &str) -> bool {
        false
    }

    /// Called when a client is gone. Its requests need no response any more.
    fn disconnect(&mut self, _client: u64) {}

    /// Called when a client has given up the stream that it requested with this
    /// matchtag.
    fn cancel(&mut self, _client: u64, _matchtag: u32) {}
}

/// A request that reached a service.
pub(super) struct Request<'m> {
    pub message: &'m Message,
    /// The rank whose service is to handle it.
    pub rank: u32,
    /// One of the service's names.
    pub service: &'m str,
    /// The topic after the service's name and a dot; may be empty.
    pub method: &'m str,
}

/// The reply of a service to a request.
pub(super) enum Reply {
    /// The service responds now, with this payload.
    Now(Option<Vec<u8>>),
    /// The service responds later, or not at all.
    Later,
}

/// The part of the router that services use. Clients are the handles that are
/// open on the instance, identified by their ids.
pub(super) trait Routing {
    /// The number of ranks of the instance.
    fn size(&self) -> u32;
    /// The URI that opens a handle at a rank of the instance.
    fn uri(&self, rank: u32) -> String;
    /// The rank of a client, None once it is gone.
    fn rank_of(&self, client: u64) -> Option<u32>;
    /// Delivers an event from rank `origin` to its subscribers. Returns its
    /// sequence number.
    fn publish(&mut self, origin: u32, event: &Message) -> i64;
    /// Whether an event of this topic would reach any client.
    fn has_subscriber(&self, topic: &str) -> bool;
    /// Subscribes a client to the topics that start with a text.
    fn subscribe(&mut self, client: u64, topic: &str);
    /// Undoes one [`Routing::subscribe`]. Fails with ENOENT if there was none.
    fn unsubscribe(&mut self, client: u64, topic: &str) -> Result<()>;
    /// Delivers the requests for a service at a client's rank to the client
    /// from now on. Fails with EEXIST if the service exists, and with EINVAL
    /// for a name that no topic can have.
    fn add_service(&mut self, client: u64, name: &str) -> Result<()>;
    /// Undoes [`Routing::add_service`]. Fails with ENOENT if the client has no
    /// such service.
    fn remove_service(&mut self, client: u64, name: &str) -> Result<()>;
}

impl Reply {
    /// Replies now, without payload.
    pub fn empty() -> Result<Reply> {
        Ok(Reply::Now(None))
    }

    /// Replies now with this payload, written as JSON.
    pub fn json(payload: &impl Serialize) -> Result<Reply> {
        Ok(Reply::Now(Some(object::write(payload).into_bytes())))
    }
}

impl Request<'_> {
    /// The error for a method that the service does not have.
    pub fn unknown_method(&self) -> Error {
        unknown_method(self.message)
    }
}

/// The error for a request that nothing handles.
pub(super) fn unknown_method(request: &Message) -> Error {
    let topic = String::from_utf8_lossy(&request.topic);
    let text = format!("Unknown service method '{topic}'");
    Error::with_detail(libc::ENOSYS, truncated(text, 255))
}

/// The error for a topic whose service does not exist.
pub(super) fn no_service(topic: &str) -> Error {
    let text = format!("No service matching {topic} is registered");
    Error::with_detail(libc::ENOSYS, truncated(text, 63))
}

/// The error for a request whose payload has the wrong form for the method.
pub(super) fn protocol_error() -> Error {
    Error::new(libc::EPROTO)
}

/// Cuts a text to at most `max` bytes, because a real broker has buffers of
/// these sizes.
fn truncated(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(end.unwrap_or(0));
    }
    text
}
