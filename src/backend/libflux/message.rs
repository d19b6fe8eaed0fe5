//! A message that was received, or is about to be sent. Owns one `flux_msg_t`.
//! Nothing here depends on a handle.

use std::any::Any;
use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::Arc;

use super::library;
use super::sys::{Api, flux_match, flux_msg_t};
use super::text::{self, Bytes};
use crate::backend::{Error, Match, Message, Result, msgtype};

/// Owns a reference on a `flux_msg_t`.
pub struct FluxMessage {
    api: &'static Api,
    msg: *mut flux_msg_t,
}

impl FluxMessage {
    /// Takes over a message that a libflux call returned; null is the call's
    /// errno.
    ///
    /// # Safety
    ///
    /// `msg` is null with errno just set, or a valid message, and the caller owns
    /// a reference on it and gives it up.
    pub unsafe fn from_owned(api: &'static Api, msg: *mut flux_msg_t) -> Result<FluxMessage> {
        if msg.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(FluxMessage { api, msg })
    }

    /// Takes a new reference on a message.
    ///
    /// # Safety
    ///
    /// `msg` is a valid message that does not change any more.
    pub unsafe fn shared(api: &'static Api, msg: *const flux_msg_t) -> FluxMessage {
        // SAFETY: valid by the contract. This owns the new reference.
        let msg = unsafe { (api.flux_msg_incref)(msg) };
        FluxMessage {
            api,
            msg: msg.cast_mut(),
        }
    }

    /// Makes a request. `flags` is a set of `FLUX_MSGFLAG_*` bits.
    pub fn request(
        api: &'static Api,
        topic: &CStr,
        payload: &Option<CString>,
        nodeid: u32,
        flags: c_int,
        matchtag: u32,
    ) -> Result<FluxMessage> {
        // SAFETY: the strings are terminated, and copied by the call, which
        // returns a new message or null with errno set.
        let request = unsafe {
            let msg = (api.flux_request_encode)(topic.as_ptr(), text::pointer(payload));
            FluxMessage::from_owned(api, msg)?
        };
        // SAFETY: the message is valid, and nothing else has it yet.
        request.check(unsafe { (api.flux_msg_set_nodeid)(request.msg, nodeid) })?;
        // SAFETY: as above.
        request.check(unsafe { (api.flux_msg_set_matchtag)(request.msg, matchtag) })?;
        if flags != 0 {
            // SAFETY: as above.
            request.check(unsafe { (api.flux_msg_set_flag)(request.msg, flags) })?;
        }
        Ok(request)
    }

    /// Makes an event.
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

    /// Makes a response to this request. `payload` is the error text if
    /// `errnum` is not 0.
    pub fn response(&self, errnum: i32, payload: &Option<CString>) -> Result<FluxMessage> {
        // SAFETY: the request is valid; the call returns a new message or null with
        // errno set.
        let response = unsafe {
            let msg = (self.api.flux_response_derive)(self.msg, errnum);
            FluxMessage::from_owned(self.api, msg)?
        };
        // SAFETY: the message is valid, and nothing else has it yet; the text is
        // copied.
        response.check(unsafe {
            (self.api.flux_msg_set_string)(response.msg, text::pointer(payload))
        })?;
        Ok(response)
    }

    /// Copies a message of C code. Fails with EINVAL for null.
    ///
    /// # Safety
    ///
    /// `msg` is null or a valid message.
    pub unsafe fn copy_of(msg: *const flux_msg_t) -> Result<FluxMessage> {
        if msg.is_null() {
            return Err(Error::new(libc::EINVAL));
        }
        let api = library::api()?;
        // SAFETY: valid by the contract; the call returns a new message or null
        // with errno set.
        unsafe { FluxMessage::from_owned(api, (api.flux_msg_copy)(msg, true)) }
    }

    /// The message as every back end hands it out.
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "messages of the embedded back end cross threads, this one does not"
    )]
    pub fn into_shared(self) -> Arc<dyn Message> {
        Arc::new(self)
    }

    /// The `flux_msg_t`, which is valid as long as this lives.
    pub fn as_ptr(&self) -> *const flux_msg_t {
        self.msg
    }

    /// Whether the message matches, by libflux's rules: a response that is still
    /// on its way through brokers matches no matchtag.
    pub fn matches(&self, wanted: &Match) -> bool {
        let wanted = flux_match {
            typemask: wanted.typemask,
            matchtag: wanted.matchtag,
            topic_glob: ptr::null(),
        };
        // SAFETY: the topic is null.
        unsafe { self.compares(wanted) }
    }

    /// Whether the message matches, by libflux's rules.
    ///
    /// # Safety
    ///
    /// The topic of `wanted` is null or a terminated string.
    pub unsafe fn compares(&self, wanted: flux_match) -> bool {
        // SAFETY: the message is valid; the match by the contract.
        unsafe { (self.api.flux_msg_cmp)(self.msg, wanted) }
    }

    /// The matchtag of a response to the handle that received it. None for other
    /// messages.
    pub fn response_tag(&self) -> Option<u32> {
        if self.msgtype() != msgtype::RESPONSE {
            return None;
        }
        let matchtag = self.matchtag().ok()?;
        // SAFETY: the message is valid.
        let ours = unsafe { (self.api.flux_msg_cmp_matchtag)(self.msg, matchtag) };
        ours.then_some(matchtag)
    }

    /// Whether this response is the last: a stream ends with an error.
    pub fn is_last_response(&self) -> bool {
        !self.is_streaming() || !matches!(self.errnum(), Ok(0))
    }

    fn check(&self, rc: c_int) -> Result<()> {
        if rc < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }

    /// Reads a number that only messages of the types in `typemask` have. Fails
    /// with `EPROTO` for other messages.
    ///
    /// # Safety
    ///
    /// `get` takes any valid message, and writes a `T` to the pointer.
    unsafe fn field<T: Default>(
        &self,
        typemask: i32,
        get: unsafe extern "C" fn(*const flux_msg_t, *mut T) -> c_int,
    ) -> Result<T> {
        if self.msgtype() & typemask == 0 {
            return Err(Error::new(libc::EPROTO));
        }
        let mut value = T::default();
        // SAFETY: the message is valid; the rest by the contract.
        self.check(unsafe { get(self.msg, &mut value) })?;
        Ok(value)
    }
}

impl Clone for FluxMessage {
    fn clone(&self) -> FluxMessage {
        // SAFETY: the message is valid, and complete.
        unsafe { FluxMessage::shared(self.api, self.msg) }
    }
}

impl Drop for FluxMessage {
    fn drop(&mut self) {
        // SAFETY: this owns a reference, and gives it up once.
        unsafe { (self.api.flux_msg_decref)(self.msg) };
    }
}

impl Message for FluxMessage {
    fn msgtype(&self) -> i32 {
        let mut msgtype = 0;
        // SAFETY: the message and the place are valid. On failure the type stays 0.
        unsafe { (self.api.flux_msg_get_type)(self.msg, &mut msgtype) };
        msgtype
    }

    fn topic(&self) -> Option<&[u8]> {
        let mut topic = ptr::null();
        // SAFETY: the message and the place are valid.
        let rc = unsafe { (self.api.flux_msg_get_topic)(self.msg, &mut topic) };
        if rc < 0 || topic.is_null() {
            return None;
        }
        // SAFETY: the string is terminated, and belongs to the message, which does
        // not change.
        Some(unsafe { CStr::from_ptr(topic) }.to_bytes())
    }

    fn payload(&self) -> Option<&[u8]> {
        let mut bytes = Bytes::new();
        // SAFETY: the message and both places are valid.
        let rc = unsafe {
            (self.api.flux_msg_get_payload)(self.msg, &mut bytes.data, &mut bytes.length)
        };
        if rc < 0 {
            return None;
        }
        // SAFETY: libflux has filled it in. The bytes belong to the message, which
        // does not change.
        let payload = unsafe { bytes.get() };
        Some(text::without_terminator(payload.unwrap_or_default()))
    }

    fn errnum(&self) -> Result<i32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.field(msgtype::RESPONSE, self.api.flux_msg_get_errnum) }
    }

    fn matchtag(&self) -> Result<u32> {
        let typemask = msgtype::REQUEST | msgtype::RESPONSE;
        // SAFETY: the accessor writes one number.
        unsafe { self.field(typemask, self.api.flux_msg_get_matchtag) }
    }

    fn nodeid(&self) -> Result<u32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.field(msgtype::REQUEST, self.api.flux_msg_get_nodeid) }
    }

    fn userid(&self) -> Result<u32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.field(msgtype::ANY, self.api.flux_msg_get_userid) }
    }

    fn rolemask(&self) -> Result<u32> {
        // SAFETY: the accessor writes one number.
        unsafe { self.field(msgtype::ANY, self.api.flux_msg_get_rolemask) }
    }

    fn is_streaming(&self) -> bool {
        // SAFETY: the message is valid.
        unsafe { (self.api.flux_msg_is_streaming)(self.msg) }
    }

    fn is_noresponse(&self) -> bool {
        // SAFETY: the message is valid.
        unsafe { (self.api.flux_msg_is_noresponse)(self.msg) }
    }

    fn same_sender(&self, other: &dyn Message) -> bool {
        let Some(other) = other.as_any().downcast_ref::<FluxMessage>() else {
            return false;
        };
        // SAFETY: both messages are valid, and only read.
        unsafe { (self.api.flux_msg_route_match_first)(self.msg, other.msg) }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
