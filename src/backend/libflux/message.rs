//! One `flux_msg_t` and its owner: what was received, or is about to be sent.
//! Knows no handle.

use std::any::Any;
use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::Arc;

use super::library;
use super::sys::{Api, flux_match, flux_msg_t};
use super::text::{self, Bytes};
use crate::backend::{Error, Match, Message, Result, msgtype};

/// Owns a reference on a message.
pub struct FluxMessage {
    api: &'static Api,
    msg: *mut flux_msg_t,
}

impl FluxMessage {
    /// Take over what a libflux call returned: null is its errno.
    ///
    /// # Safety
    ///
    /// `msg` is null with errno just set, or a valid message whose reference
    /// is the caller's to give.
    pub unsafe fn from_owned(api: &'static Api, msg: *mut flux_msg_t) -> Result<FluxMessage> {
        if msg.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(FluxMessage { api, msg })
    }

    /// Share a message that somebody else owns.
    ///
    /// # Safety
    ///
    /// `msg` is a valid message, which nobody changes any more.
    pub unsafe fn shared(api: &'static Api, msg: *const flux_msg_t) -> FluxMessage {
        // SAFETY: valid by the contract; the reference taken is ours.
        let msg = unsafe { (api.flux_msg_incref)(msg) };
        FluxMessage {
            api,
            msg: msg.cast_mut(),
        }
    }

    pub fn request(
        api: &'static Api,
        topic: &CStr,
        payload: &Option<CString>,
    ) -> Result<FluxMessage> {
        // SAFETY: terminated strings that outlive the call, which copies them;
        // a new message or null is returned.
        unsafe {
            let msg = (api.flux_request_encode)(topic.as_ptr(), text::pointer(payload));
            FluxMessage::from_owned(api, msg)
        }
    }

    pub fn event(
        api: &'static Api,
        topic: &CStr,
        payload: &Option<CString>,
    ) -> Result<FluxMessage> {
        // SAFETY: as for a request.
        unsafe {
            let msg = (api.flux_event_encode)(topic.as_ptr(), text::pointer(payload));
            FluxMessage::from_owned(api, msg)
        }
    }

    /// The response to this request; `payload` is the error's text where
    /// `errnum` is not 0.
    pub fn response(&self, errnum: i32, payload: &Option<CString>) -> Result<FluxMessage> {
        // SAFETY: a valid request; a new message or null is returned.
        let response = unsafe {
            let msg = (self.api.flux_response_derive)(self.msg, errnum);
            FluxMessage::from_owned(self.api, msg)?
        };
        // SAFETY: a valid message of ours alone; the text is copied.
        response.check(unsafe {
            (self.api.flux_msg_set_string)(response.msg, text::pointer(payload))
        })?;
        Ok(response)
    }

    /// A message of our own like this one of C code's.
    ///
    /// # Safety
    ///
    /// `msg` is null or a valid message.
    pub unsafe fn copy_of(msg: *const flux_msg_t) -> Result<FluxMessage> {
        if msg.is_null() {
            return Err(Error::new(libc::EINVAL));
        }
        let api = library::api()?;
        // SAFETY: valid by the contract; a new message or null is returned.
        unsafe { FluxMessage::from_owned(api, (api.flux_msg_copy)(msg, true)) }
    }

    /// Where a request goes, and by what its response is known.
    pub fn address(&self, nodeid: u32, flags: c_int, matchtag: u32) -> Result<()> {
        // SAFETY: a valid message, not yet sent, of which we hold the only
        // reference; likewise below.
        self.check(unsafe { (self.api.flux_msg_set_nodeid)(self.msg, nodeid) })?;
        // SAFETY: see above.
        self.check(unsafe { (self.api.flux_msg_set_matchtag)(self.msg, matchtag) })?;
        if flags != 0 {
            // SAFETY: see above.
            self.check(unsafe { (self.api.flux_msg_set_flag)(self.msg, flags) })?;
        }
        Ok(())
    }

    /// As all back ends hand out messages.
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "the embedded broker's cross threads, and this one stays on its own"
    )]
    pub fn into_shared(self) -> Arc<dyn Message> {
        Arc::new(self)
    }

    pub fn as_ptr(&self) -> *const flux_msg_t {
        self.msg
    }

    /// By libflux's own rules: a response that is still on its way through
    /// brokers matches no tag.
    pub fn matches(&self, wanted: &Match) -> bool {
        let wanted = flux_match {
            typemask: wanted.typemask,
            matchtag: wanted.matchtag,
            topic_glob: ptr::null(),
        };
        // SAFETY: the match has no topic.
        unsafe { self.compares(wanted) }
    }

    /// Whether libflux finds that the message matches.
    ///
    /// # Safety
    ///
    /// `wanted`'s topic is null or a terminated string.
    pub unsafe fn compares(&self, wanted: flux_match) -> bool {
        // SAFETY: a valid message; the match by the contract.
        unsafe { (self.api.flux_msg_cmp)(self.msg, wanted) }
    }

    /// The matchtag of a response to a request of the handle that received it.
    pub fn response_tag(&self) -> Option<u32> {
        if self.msgtype() != msgtype::RESPONSE {
            return None;
        }
        let matchtag = self.matchtag().ok()?;
        // SAFETY: a valid message.
        let ours = unsafe { (self.api.flux_msg_cmp_matchtag)(self.msg, matchtag) };
        ours.then_some(matchtag)
    }

    /// Whether no response follows this one: a stream ends with an error.
    pub fn is_last_response(&self) -> bool {
        !self.is_streaming() || !matches!(self.errnum(), Ok(0))
    }

    fn check(&self, rc: c_int) -> Result<()> {
        if rc < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }

    /// A number that only messages of the types in `typemask` have.
    fn field<T: Default>(
        &self,
        typemask: i32,
        get: unsafe extern "C" fn(*const flux_msg_t, *mut T) -> c_int,
    ) -> Result<T> {
        if self.msgtype() & typemask == 0 {
            return Err(Error::new(libc::EPROTO));
        }
        let mut value = T::default();
        // SAFETY: a valid message; `get` is one of libflux's accessors, which
        // write the number where they are told.
        self.check(unsafe { get(self.msg, &mut value) })?;
        Ok(value)
    }
}

impl Clone for FluxMessage {
    fn clone(&self) -> FluxMessage {
        // SAFETY: a valid message, which was received.
        unsafe { FluxMessage::shared(self.api, self.msg) }
    }
}

impl Drop for FluxMessage {
    fn drop(&mut self) {
        // SAFETY: our reference, given up once.
        unsafe { (self.api.flux_msg_decref)(self.msg) };
    }
}

impl Message for FluxMessage {
    fn msgtype(&self) -> i32 {
        let mut msgtype = 0;
        // SAFETY: a valid message, and a place for its type; fails for no such.
        unsafe { (self.api.flux_msg_get_type)(self.msg, &mut msgtype) };
        msgtype
    }

    fn topic(&self) -> Option<&[u8]> {
        let mut topic = ptr::null();
        // SAFETY: a valid message, and a place for the pointer.
        let rc = unsafe { (self.api.flux_msg_get_topic)(self.msg, &mut topic) };
        if rc < 0 || topic.is_null() {
            return None;
        }
        // SAFETY: a terminated string that is the message's, and the message
        // does not change while it is borrowed.
        Some(unsafe { CStr::from_ptr(topic) }.to_bytes())
    }

    fn payload(&self) -> Option<&[u8]> {
        let mut bytes = Bytes::new();
        // SAFETY: a valid message, and places for pointer and length.
        let rc = unsafe {
            (self.api.flux_msg_get_payload)(self.msg, &mut bytes.data, &mut bytes.length)
        };
        if rc < 0 {
            return None;
        }
        // SAFETY: filled in; the bytes are the message's, which does not
        // change while it is borrowed.
        let payload = unsafe { bytes.get() };
        Some(text::without_terminator(payload.unwrap_or_default()))
    }

    fn errnum(&self) -> Result<i32> {
        self.field(msgtype::RESPONSE, self.api.flux_msg_get_errnum)
    }

    fn matchtag(&self) -> Result<u32> {
        let typemask = msgtype::REQUEST | msgtype::RESPONSE;
        self.field(typemask, self.api.flux_msg_get_matchtag)
    }

    fn nodeid(&self) -> Result<u32> {
        self.field(msgtype::REQUEST, self.api.flux_msg_get_nodeid)
    }

    fn userid(&self) -> Result<u32> {
        self.field(msgtype::ANY, self.api.flux_msg_get_userid)
    }

    fn rolemask(&self) -> Result<u32> {
        self.field(msgtype::ANY, self.api.flux_msg_get_rolemask)
    }

    fn is_streaming(&self) -> bool {
        // SAFETY: a valid message.
        unsafe { (self.api.flux_msg_is_streaming)(self.msg) }
    }

    fn is_noresponse(&self) -> bool {
        // SAFETY: a valid message.
        unsafe { (self.api.flux_msg_is_noresponse)(self.msg) }
    }

    fn same_sender(&self, other: &dyn Message) -> bool {
        let Some(other) = other.as_any().downcast_ref::<FluxMessage>() else {
            return false;
        };
        // SAFETY: two valid messages, which are only looked at.
        unsafe { (self.api.flux_msg_route_match_first)(self.msg, other.msg) }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
