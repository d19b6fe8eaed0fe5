//! What a service of the embedded broker is, and what it may ask of the router.
//! Services know nothing else of the broker; `services` has all of them.

use std::any::Any;

use serde::Serialize;

use super::message::Message;
use crate::backend::{Error, Result, object};

/// A service of the broker. One value serves all ranks of an instance.
pub(super) trait Service: Any + Send {
    /// The names that its topics start with.
    fn names(&self) -> &'static [&'static str];

    /// Handles a request. An error becomes an error response.
    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply>;

    /// Whether a method concerns the sender's own connection. Such a request
    /// goes to the sender's rank, whatever its nodeid is.
    fn concerns_connection(&self, _method: &str) -> bool {
        false
    }

    /// A client is gone. Nothing that it sent needs a response any more.
    fn disconnect(&mut self, _client: u64) {}

    /// A client gave up the stream that it asked for under this matchtag.
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

/// What a service does about a request.
pub(super) enum Reply {
    /// It responds now, with this payload.
    Now(Option<Vec<u8>>),
    /// It responds in its own time, or not at all.
    Later,
}

/// What a service may ask of the router. Clients are the handles that are open
/// on the instance, known by their ids.
pub(super) trait Routing {
    /// How many ranks the instance has.
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
    /// Undoes one [`Routing::subscribe`]. ENOENT if there was none.
    fn unsubscribe(&mut self, client: u64, topic: &str) -> Result<()>;
    /// Has the requests for a service at a client's rank delivered to it.
    /// EEXIST if the service exists, EINVAL for a name that no topic can have.
    fn add_service(&mut self, client: u64, name: &str) -> Result<()>;
    /// Undoes [`Routing::add_service`]. ENOENT if the client has no such service.
    fn remove_service(&mut self, client: u64, name: &str) -> Result<()>;
}

impl Reply {
    /// A response without payload.
    pub fn empty() -> Result<Reply> {
        Ok(Reply::Now(None))
    }

    /// A response with this payload, written as JSON.
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

/// The error for a request whose payload is not what the method needs.
pub(super) fn protocol_error() -> Error {
    Error::new(libc::EPROTO)
}

/// At most `max` bytes of a text: a broker has buffers of these sizes.
fn truncated(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(end.unwrap_or(0));
    }
    text
}
