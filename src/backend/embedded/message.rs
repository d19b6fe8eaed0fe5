//! The message that travels: a plain value whose topic and payload are shared,
//! with the way back to its sender. Knows no service.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, Weak};

use super::super::{self as backend, Error, Result, msgtype};
use super::queue::Queue;

/// What a message's sender may do (RFC 12): the instance owner.
pub(super) const ROLE_OWNER: u32 = 1;
/// Sent from a handle of the receiver's own broker rank.
pub(super) const ROLE_LOCAL: u32 = 4;

pub(super) const FLAG_NORESPONSE: u8 = 0x04;
pub(super) const FLAG_UPSTREAM: u8 = 0x10;
pub(super) const FLAG_STREAMING: u8 = 0x40;

/// A handle's topics, of which the last is kept: the next message's is often
/// the same, and messages share it.
#[derive(Default)]
pub(super) struct Topics(RefCell<Arc<[u8]>>);

impl Topics {
    /// EINVAL for a text that holds a NUL.
    pub fn get(&self, topic: &str) -> Result<Arc<[u8]>> {
        let mut last = self.0.borrow_mut();
        if **last != *topic.as_bytes() {
            *last = carried(topic)?.into();
        }
        Ok(Arc::clone(&last))
    }
}

/// A text as a message can carry it: without a NUL.
pub(super) fn carried(text: &str) -> Result<&[u8]> {
    match text.contains('\0') {
        true => Err(Error::with_detail(libc::EINVAL, "the text holds a NUL")),
        false => Ok(text.as_bytes()),
    }
}

/// The way back to a request's sender.
#[derive(Clone)]
pub(super) struct Route {
    /// Dead once the sender's handle is gone: its responses are then dropped.
    pub queue: Weak<Queue>,
    /// The sending endpoint; `None` on a loopback, where a request is its own
    /// sender's and so its matchtag can be matched.
    pub sender: Option<u64>,
}

/// A payload: within the message where it is short, and shared by messages else.
#[derive(Clone)]
pub(super) enum Payload {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

/// The longest payload that takes no allocation of its own.
const SHORT: usize = 62;

impl From<&[u8]> for Payload {
    #[inline]
    fn from(payload: &[u8]) -> Payload {
        if payload.len() > SHORT {
            return Payload::Long(payload.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..payload.len()].copy_from_slice(payload);
        Payload::Short {
            len: payload.len() as u8,
            bytes,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Payload::Short { len, bytes } => &bytes[..usize::from(*len)],
            Payload::Long(bytes) => bytes,
        }
    }
}

#[derive(Clone)]
pub(super) struct Message {
    pub msgtype: i32,
    pub topic: Arc<[u8]>,
    pub payload: Option<Payload>,
    pub errnum: i32,
    pub matchtag: u32,
    pub nodeid: u32,
    pub userid: u32,
    pub rolemask: u32,
    pub flags: u8,
    pub route: Option<Route>,
}

impl Message {
    fn new(msgtype: i32, topic: Arc<[u8]>, payload: Option<&[u8]>, rolemask: u32) -> Message {
        Message {
            msgtype,
            topic,
            payload: payload.map(Payload::from),
            errnum: 0,
            matchtag: backend::MATCHTAG_NONE,
            nodeid: backend::NODEID_ANY,
            userid: userid(),
            rolemask,
            flags: 0,
            route: None,
        }
    }

    pub fn request(topic: Arc<[u8]>, payload: Option<&[u8]>, rolemask: u32) -> Message {
        Message::new(msgtype::REQUEST, topic, payload, rolemask)
    }

    pub fn event(topic: Arc<[u8]>, payload: Option<&[u8]>, rolemask: u32) -> Message {
        Message::new(msgtype::EVENT, topic, payload, rolemask)
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The endpoint that sent this request.
    pub fn sender(&self) -> Option<u64> {
        self.route.as_ref().and_then(|route| route.sender)
    }

    /// Whether nothing follows this response under its matchtag.
    pub fn is_last(&self) -> bool {
        self.errnum != 0 || !self.has(FLAG_STREAMING)
    }

    pub fn matches_tag(&self, matchtag: u32) -> bool {
        let own = match self.msgtype {
            msgtype::RESPONSE => true,
            msgtype::REQUEST => self.route.as_ref().is_some_and(|r| r.sender.is_none()),
            _ => false,
        };
        own && self.matchtag == matchtag
    }

    /// Send a response to this request, if it wants one and its sender is
    /// still there.
    pub fn respond(&self, errnum: i32, payload: Option<&[u8]>) {
        let queue = self.route.as_ref().and_then(|route| route.queue.upgrade());
        let Some(queue) = queue.filter(|_| !self.has(FLAG_NORESPONSE)) else {
            return;
        };
        queue.deliver(Message {
            errnum,
            matchtag: self.matchtag,
            nodeid: self.nodeid,
            flags: self.flags,
            ..Message::new(
                msgtype::RESPONSE,
                self.topic.clone(),
                payload,
                self.rolemask,
            )
        });
    }

    /// Send an error response, with the error text where there is one.
    pub fn respond_error(&self, error: &Error) {
        self.respond(error.errnum, error.detail.as_deref().map(str::as_bytes));
    }
}

impl backend::Message for Message {
    fn msgtype(&self) -> i32 {
        self.msgtype
    }

    fn topic(&self) -> Option<&[u8]> {
        Some(&self.topic)
    }

    fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    fn errnum(&self) -> Result<i32> {
        match self.msgtype {
            msgtype::RESPONSE => Ok(self.errnum),
            _ => Err(Error::new(libc::EPROTO)),
        }
    }

    fn matchtag(&self) -> Result<u32> {
        match self.msgtype {
            msgtype::REQUEST | msgtype::RESPONSE => Ok(self.matchtag),
            _ => Err(Error::new(libc::EPROTO)),
        }
    }

    fn nodeid(&self) -> Result<u32> {
        match self.msgtype {
            msgtype::REQUEST => Ok(self.nodeid),
            _ => Err(Error::new(libc::EPROTO)),
        }
    }

    fn userid(&self) -> Result<u32> {
        Ok(self.userid)
    }

    fn rolemask(&self) -> Result<u32> {
        Ok(self.rolemask)
    }

    fn is_streaming(&self) -> bool {
        self.has(FLAG_STREAMING)
    }

    fn is_noresponse(&self) -> bool {
        self.has(FLAG_NORESPONSE)
    }

    fn same_sender(&self, other: &dyn backend::Message) -> bool {
        let other = other.as_any().downcast_ref::<Message>();
        let other = other.and_then(|other| other.route.as_ref());
        match (&self.route, other) {
            (Some(route), Some(other)) => route.queue.ptr_eq(&other.queue),
            _ => false,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What `Handle::respond` and `respond_error` do, on every kind of handle.
pub(super) fn respond(
    request: &dyn backend::Message,
    errnum: i32,
    payload: Option<&[u8]>,
) -> Result<()> {
    let Some(request) = request.as_any().downcast_ref::<Message>() else {
        return Err(Error::with_detail(
            libc::EINVAL,
            "the message was received by another back end",
        ));
    };
    if request.msgtype != msgtype::REQUEST {
        return Err(Error::with_detail(
            libc::EPROTO,
            "only a request can be responded to",
        ));
    }
    request.respond(errnum, payload);
    Ok(())
}

/// As [`respond`], with an error and its text.
pub(super) fn respond_error(
    request: &dyn backend::Message,
    errnum: i32,
    text: Option<&str>,
) -> Result<()> {
    if errnum == 0 {
        let text = "an error response needs an errno";
        return Err(Error::with_detail(libc::EINVAL, text));
    }
    respond(request, errnum, text.map(str::as_bytes))
}

/// Whom a handle's messages are from.
#[derive(Clone, Copy)]
pub(super) struct Credentials {
    pub userid: u32,
    pub rolemask: u32,
}

impl Credentials {
    /// The owner's, or those that the environment names to a test of access
    /// control, as libflux's handles have them.
    pub fn of_environment() -> Credentials {
        let named = |name: &str| number(&std::env::var(name).ok()?);
        Credentials {
            userid: named("FLUX_HANDLE_USERID").unwrap_or_else(userid),
            rolemask: named("FLUX_HANDLE_ROLEMASK")
                .filter(|&roles| roles != 0)
                .unwrap_or(ROLE_OWNER | ROLE_LOCAL),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The real user id, as the kernel tells it.
pub(super) fn userid() -> u32 {
    static USERID: OnceLock<u32> = OnceLock::new();
    *USERID.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.and_then(|uids| uids.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    })
}
