//! The messages of all back ends.

use std::any::Any;

use super::error::Result;

/// Message types, as bits, so that a [`Match`] can name several.
pub mod msgtype {
    /// A request to a service.
    pub const REQUEST: i32 = 0x01;
    /// A response to a request.
    pub const RESPONSE: i32 = 0x02;
    /// An event, which goes to all subscribers.
    pub const EVENT: i32 = 0x04;
    /// A message between brokers.
    pub const CONTROL: i32 = 0x08;
    /// Any of these.
    pub const ANY: i32 = 0x0f;
}

/// A request's destination: the nearest rank that offers the service.
pub const NODEID_ANY: u32 = 0xFFFF_FFFF;
/// A request's destination: the service upstream of the sender.
pub const NODEID_UPSTREAM: u32 = 0xFFFF_FFFE;
/// No matchtag. In a [`Match`], any matchtag.
pub const MATCHTAG_NONE: u32 = 0;

/// The role of the instance owner (RFC 12). Message handlers take messages of
/// the owner only, unless they ask for more.
pub const ROLE_OWNER: u32 = 1;

/// Selects the messages that [`Handle::recv`](super::Handle::recv) takes.
#[derive(Clone, Debug)]
pub struct Match {
    /// An or of [`msgtype`] bits.
    pub typemask: i32,
    /// The matchtag of a response, or [`MATCHTAG_NONE`] for any.
    pub matchtag: u32,
}

impl Match {
    /// Every message.
    pub fn any() -> Match {
        Match::of(msgtype::ANY)
    }

    /// Every message of these types.
    pub fn of(typemask: i32) -> Match {
        Match {
            typemask,
            matchtag: MATCHTAG_NONE,
        }
    }
}

/// A received message. It never changes, and may be shared. Its texts are
/// borrowed from it.
pub trait Message {
    /// One [`msgtype`] bit.
    fn msgtype(&self) -> i32;
    /// The topic, as bytes, because a peer may send topics that are not UTF-8.
    fn topic(&self) -> Option<&[u8]>;
    /// The raw payload, without the NUL that Flux appends to a string payload.
    fn payload(&self) -> Option<&[u8]>;
    /// The errno of a response, 0 for success. Fails with `EPROTO` for other
    /// messages.
    fn errnum(&self) -> Result<i32>;
    /// The matchtag of a request or response. Fails with `EPROTO` for other
    /// messages.
    fn matchtag(&self) -> Result<u32>;
    /// The nodeid of a request. Fails with `EPROTO` for other messages.
    fn nodeid(&self) -> Result<u32>;
    /// The sender's user id.
    fn userid(&self) -> Result<u32>;
    /// The sender's roles (RFC 12).
    fn rolemask(&self) -> Result<u32>;
    /// Whether the request asks for many responses, or the response is one of
    /// many.
    fn is_streaming(&self) -> bool;
    /// Whether the request wants no response.
    fn is_noresponse(&self) -> bool;
    /// Whether both were sent by the same client of the broker.
    fn same_sender(&self, other: &dyn Message) -> bool;
    /// The back end's own type, for [`Handle::respond`](super::Handle::respond).
    fn as_any(&self) -> &dyn Any;
}
