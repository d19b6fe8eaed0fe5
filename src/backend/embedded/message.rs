//! The message of the embedded back end: a plain value that any thread may
//! hold, with the way back to its sender. `queue` and `router` queue and route
//! messages.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::backend::system::userid;
use crate::backend::{self, Error, NODEID_UPSTREAM, ROLE_OWNER, Result, msgtype, rpc_flags};

/// A role (RFC 12): sent from a handle of the receiver's own broker rank.
pub(super) const ROLE_LOCAL: u32 = 4;

/// The request wants no response.
pub(super) const FLAG_NORESPONSE: u8 = 0x04;
/// The request is for the service upstream of the sender.
pub(super) const FLAG_UPSTREAM: u8 = 0x10;
/// The request asks for many responses, or the response is one of them.
pub(super) const FLAG_STREAMING: u8 = 0x40;

/// A request, response or event.
#[derive(Clone)]
pub(super) struct Message {
    /// One [`msgtype`] bit.
    pub msgtype: i32,
    pub topic: Arc<[u8]>,
    pub payload: Option<Payload>,
    /// 0 unless it is an error response.
    pub errnum: i32,
    pub matchtag: u32,
    /// For upstream requests, the sender's rank.
    pub nodeid: u32,
    pub userid: u32,
    pub rolemask: u32,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// None for messages that cannot be responded to.
    pub route: Option<Route>,
}

/// The way back to a request's sender.
#[derive(Clone)]
pub(super) struct Route {
    /// Dead once the sender's handle is gone: responses are then dropped.
    pub receiver: Weak<dyn Receiver>,
    /// The sender's client id. None on a loopback, where a request comes back
    /// to its sender, who may ask for it by its matchtag.
    pub sender: Option<u64>,
}

/// Takes the messages that are sent to a handle, on any thread.
pub(super) trait Receiver: Send + Sync {
    /// Delivers a message. A receiver that is closed drops it.
    fn deliver(&self, message: Message);
}

impl Message {
    fn new(msgtype: i32, topic: Arc<[u8]>, payload: Option<&[u8]>, from: Credentials) -> Message {
        Message {
            msgtype,
            topic,
            payload: payload.map(Payload::from),
            errnum: 0,
            matchtag: backend::MATCHTAG_NONE,
            nodeid: backend::NODEID_ANY,
            userid: from.userid,
            rolemask: from.rolemask,
            flags: 0,
            route: None,
        }
    }

    /// Makes a request without matchtag and route. `flags` is a set of
    /// [`rpc_flags`]. Fails with EINVAL for any other flag.
    pub fn request(
        topic: Arc<[u8]>,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
        from: Credentials,
    ) -> Result<Message> {
        if flags & !(rpc_flags::NORESPONSE | rpc_flags::STREAMING) != 0 {
            return Err(Error::with_detail(libc::EINVAL, "unknown RPC flags"));
        }
        let mut request = Message::new(msgtype::REQUEST, topic, payload, from);
        request.nodeid = nodeid;
        for (is_wanted, flag) in [
            (flags & rpc_flags::NORESPONSE != 0, FLAG_NORESPONSE),
            (flags & rpc_flags::STREAMING != 0, FLAG_STREAMING),
            (nodeid == NODEID_UPSTREAM, FLAG_UPSTREAM),
        ] {
            if is_wanted {
                request.flags |= flag;
            }
        }
        Ok(request)
    }

    /// An event.
    pub fn event(topic: Arc<[u8]>, payload: Option<&[u8]>, from: Credentials) -> Message {
        Message::new(msgtype::EVENT, topic, payload, from)
    }

    /// Whether one of these flags is set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// The id of the client that sent this request.
    pub fn sender(&self) -> Option<u64> {
        self.route.as_ref().and_then(|route| route.sender)
    }

    /// Whether this response is the last with its matchtag.
    pub fn is_last(&self) -> bool {
        self.errnum != 0 || !self.has(FLAG_STREAMING)
    }

    /// Whether the receiver may ask for this message by this matchtag.
    pub fn matches_tag(&self, matchtag: u32) -> bool {
        let has_tag = match self.msgtype {
            msgtype::RESPONSE => true,
            msgtype::REQUEST => self.route.as_ref().is_some_and(|r| r.sender.is_none()),
            _ => false,
        };
        has_tag && self.matchtag == matchtag
    }

    /// Sends a response to this request, if it wants one and its sender still
    /// exists.
    pub fn respond(&self, errnum: i32, payload: Option<&[u8]>) {
        let receiver = self.route.as_ref().and_then(|r| r.receiver.upgrade());
        let Some(receiver) = receiver.filter(|_| !self.has(FLAG_NORESPONSE)) else {
            return;
        };
        let from = Credentials {
            userid: userid(),
            rolemask: self.rolemask,
        };
        receiver.deliver(Message {
            errnum,
            matchtag: self.matchtag,
            nodeid: self.nodeid,
            flags: self.flags,
            ..Message::new(msgtype::RESPONSE, self.topic.clone(), payload, from)
        });
    }

    /// Sends an error response, with the error text if there is one.
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
            (Some(route), Some(other)) => route.receiver.ptr_eq(&other.receiver),
            _ => false,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Implements [`backend::Handle::respond`] for both kinds of embedded handle.
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

/// Implements [`backend::Handle::respond_error`] for both kinds of embedded
/// handle.
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

/// A payload: stored in the message if it is short, else shared by messages.
#[derive(Clone)]
pub(super) enum Payload {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

/// The longest payload that needs no allocation of its own.
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

/// The last topic that a handle sent. It is kept because the next message often
/// has the same topic, and can share it.
#[derive(Default)]
pub(super) struct TopicCache(RefCell<Arc<[u8]>>);

impl TopicCache {
    /// Returns the topic in the form in which messages carry it. Fails with
    /// EINVAL if the text contains a NUL.
    pub fn get(&self, topic: &str) -> Result<Arc<[u8]>> {
        let mut last = self.0.borrow_mut();
        if **last != *topic.as_bytes() {
            *last = without_nul(topic)?.into();
        }
        Ok(Arc::clone(&last))
    }
}

/// Returns the bytes of a text. Fails with EINVAL if it contains a NUL, because
/// no message can carry one.
pub(super) fn without_nul(text: &str) -> Result<&[u8]> {
    match text.contains('\0') {
        true => Err(Error::with_detail(libc::EINVAL, "the text holds a NUL")),
        false => Ok(text.as_bytes()),
    }
}

/// The user and the roles that messages are sent with.
#[derive(Clone, Copy)]
pub(super) struct Credentials {
    pub userid: u32,
    pub rolemask: u32,
}

impl Credentials {
    /// The credentials of the instance owner.
    pub fn of_owner() -> Credentials {
        Credentials {
            userid: userid(),
            rolemask: ROLE_OWNER,
        }
    }

    /// The credentials of a handle. They are the local owner's, unless the
    /// environment sets others to test access control, as it can for libflux's
    /// handles.
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
