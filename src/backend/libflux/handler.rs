//! Owns one `flux_msg_handler_t`. `dispatch` decides which handlers a script
//! gets.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use super::connection::Connection;
use super::sys::{Api, MessageCallback, flux_match, flux_msg_handler_t};
use crate::backend::{Error, MATCHTAG_NONE, Result};

/// Owns a message handler of libflux. It must be dropped before its handle.
pub struct MessageHandler {
    api: &'static Api,
    mh: NonNull<flux_msg_handler_t>,
}

impl MessageHandler {
    /// Makes a handler, which is not started yet. `typemask` contains the
    /// message types. The sender must have one of the roles in `rolemask`.
    ///
    /// # Safety
    ///
    /// `callback` may be called with `arg` until the handler is dropped.
    pub unsafe fn new(
        connection: &Connection,
        typemask: i32,
        topic_glob: Option<&CString>,
        rolemask: u32,
        callback: MessageCallback,
        arg: *mut c_void,
    ) -> Result<MessageHandler> {
        connection.ensure_pollfd()?;
        let api = connection.api;
        let wanted = wanted(typemask, topic_glob);
        // SAFETY: the handle is valid; the match is copied; `arg` by the contract.
        let mh =
            unsafe { (api.flux_msg_handler_create)(connection.as_ptr(), wanted, callback, arg) };
        let mh = NonNull::new(mh).ok_or_else(Error::last_os_error)?;
        // SAFETY: the handler is valid.
        unsafe { (api.flux_msg_handler_allow_rolemask)(mh.as_ptr(), rolemask) };
        Ok(MessageHandler { api, mh })
    }

    /// Starts the handler. May be repeated.
    pub fn start(&self) {
        // SAFETY: the handler is valid.
        unsafe { (self.api.flux_msg_handler_start)(self.mh.as_ptr()) };
    }

    /// Stops the handler. May be repeated.
    pub fn stop(&self) {
        // SAFETY: the handler is valid.
        unsafe { (self.api.flux_msg_handler_stop)(self.mh.as_ptr()) };
    }
}

impl Drop for MessageHandler {
    fn drop(&mut self) {
        // SAFETY: this owns the handler, and destroys it once, while its handle
        // is valid. A handler may be destroyed while libflux walks over them.
        unsafe { (self.api.flux_msg_handler_destroy)(self.mh.as_ptr()) };
    }
}

/// The match for messages of these types and topics, valid as long as
/// `topic_glob` is.
pub fn wanted(typemask: i32, topic_glob: Option<&CString>) -> flux_match {
    flux_match {
        typemask,
        matchtag: MATCHTAG_NONE,
        topic_glob: topic_glob.map_or(ptr::null(), |glob| glob.as_ptr()),
    }
}
