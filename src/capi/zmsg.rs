//! `zmsg-lua.h`: messages that C code makes for scripts. Scripts see the same class
//! as for all messages (`api::message`); a callback of C code sends the responses.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use super::{Count, enter, push_owned, set_errno};
use crate::api::{self, NewMessage, NoResponse, Responder, ResponderResult};
use crate::backend::Message;
use crate::backend::libflux::{FluxMessage, flux_msg_t};
use crate::exported;
use crate::lua::{Error, Writer, lua_State};

/// C's `struct zmsg_info`: a copy of a message, and the callbacks that respond
/// to it. C code and Lua hold counted references to it.
pub struct ZmsgInfo {
    message: FluxMessage,
    /// A pointer to the message. `zmsg_info_zmsg` returns the address of this field.
    raw: Cell<*mut flux_msg_t>,
    /// The type that scripts see.
    msgtype: c_int,
    callback: Cell<Option<(Callback, *mut c_void)>>,
    error_callback: Cell<Option<(ErrorCallback, *mut c_void)>>,
    /// Whether C code's reference has been passed to Lua.
    is_lent: Cell<bool>,
}

/// C's `zi_resp_f`.
type Callback = unsafe extern "C-unwind" fn(
    *mut lua_State,
    *const ZmsgInfo,
    *const c_char,
    *mut c_void,
) -> c_int;

/// C's `zi_resp_error_f`.
type ErrorCallback = unsafe extern "C-unwind" fn(
    *mut lua_State,
    *const ZmsgInfo,
    c_int,
    *const c_char,
    *mut c_void,
) -> c_int;

/// Copies a message. This is the signature of the C bindings, which existing code
/// calls.
///
/// # Safety
/// `msg` is null, or points to null or to a valid message.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_create(
    msg: *mut *mut flux_msg_t,
    msgtype: c_int,
) -> *const ZmsgInfo {
    // SAFETY: by the contract.
    unsafe {
        let msg = msg.as_ref().map_or(std::ptr::null(), |msg| *msg);
        zmsg_info_create_from(msg, msgtype)
    }
}

/// Copies a message.
///
/// # Safety
/// `msg` is null or a valid message.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_create_from(
    msg: *const flux_msg_t,
    msgtype: c_int,
) -> *const ZmsgInfo {
    // SAFETY: by the contract.
    let errnum = match unsafe { FluxMessage::copy_of(msg) } {
        Ok(message) if message.topic().is_none() => libc::EPROTO,
        Err(error) => error.errnum,
        Ok(message) => {
            return Rc::into_raw(Rc::new(ZmsgInfo {
                raw: Cell::new(message.as_ptr().cast_mut()),
                message,
                msgtype,
                callback: Cell::new(None),
                error_callback: Cell::new(None),
                is_lent: Cell::new(false),
            }));
        }
    };
    set_errno(errnum);
    std::ptr::null()
}

/// Sets the callback for responses.
///
/// # Safety
/// `info` is null, or was returned by `zmsg_info_create` and is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_register_resp_cb(
    info: *const ZmsgInfo,
    callback: Option<Callback>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract.
    let Some(info) = (unsafe { info.as_ref() }) else {
        set_errno(libc::EINVAL);
        return -1;
    };
    info.callback.set(callback.map(|callback| (callback, arg)));
    0
}

/// Sets the callback for error responses.
///
/// # Safety
/// As for [`zmsg_info_register_resp_cb`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_register_resp_error_cb(
    info: *const ZmsgInfo,
    callback: Option<ErrorCallback>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract.
    let Some(info) = (unsafe { info.as_ref() }) else {
        set_errno(libc::EINVAL);
        return -1;
    };
    let callback = callback.map(|callback| (callback, arg));
    info.error_callback.set(callback);
    0
}

/// Returns the address of the pointer to the copied message.
///
/// # Safety
/// As for [`zmsg_info_register_resp_cb`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_zmsg(info: *const ZmsgInfo) -> *mut *mut flux_msg_t {
    // SAFETY: by the contract.
    match unsafe { info.as_ref() } {
        Some(info) => info.raw.as_ptr(),
        None => std::ptr::null_mut(),
    }
}

exported! {
    /// Pushes the metatable of messages.
    ///
    /// # Safety
    /// `state` is live, and the caller may use it on this thread. No frame
    /// between this one and Lua has a destructor to run.
    fn l_zmsg_info_register_metatable(state: *mut lua_State) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| {
                api::push_message_class(state);
                Ok(Count(1))
            })
        }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.fail(state) }
    }
}

exported! {
    /// `require "zmsg"`, if the shared object is installed under that name.
    ///
    /// # Safety
    /// As for [`l_zmsg_info_register_metatable`].
    fn luaopen_zmsg(state: *mut lua_State) -> c_int {
        // SAFETY: by the contract.
        unsafe { l_zmsg_info_register_metatable(state) }
    } unbound(error) {
        // SAFETY: by the contract.
        unsafe { error.raise(state) }
    }
}

exported! {
    /// Pushes a message, and takes ownership of it.
    ///
    /// # Safety
    /// As for [`l_zmsg_info_register_metatable`] and, for `info`,
    /// [`zmsg_info_register_resp_cb`].
    fn lua_push_zmsg_info(state: *mut lua_State, info: *const ZmsgInfo) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            let info = taken(info);
            enter(state, move |state| {
                let Some(info) = info else {
                    return Err(Error::failure("Invalid argument"));
                };
                let message = info.message.clone().into_shared();
                let new = NewMessage::with_responder(message, info.msgtype, info);
                push_owned(state, 0, new)
            })
        }
    } unbound(error) {
        // SAFETY: by the contract. The message is freed first.
        unsafe {
            drop(taken(info));
            error.fail(state)
        }
    }
}

/// C code's reference. C code can push the same message again while Lua has it:
/// then this is a new reference.
///
/// # Safety
/// As for [`lua_push_zmsg_info`].
unsafe fn taken(info: *const ZmsgInfo) -> Option<Rc<ZmsgInfo>> {
    // SAFETY: by the contract.
    unsafe {
        if info.as_ref()?.is_lent.replace(true) {
            Rc::increment_strong_count(info);
        }
        Some(Rc::from_raw(info))
    }
}

impl Responder for ZmsgInfo {
    fn respond(&self, writer: &Writer<'_>, payload: &CStr) -> ResponderResult {
        let (callback, arg) = self.callback.get().ok_or(NoResponse::NoCallback)?;
        // SAFETY: C code registered this function with this argument for this
        // message. The function may raise an error, because this frame owns
        // nothing.
        counted(unsafe { callback(writer.raw(), self, payload.as_ptr(), arg) })
    }

    fn respond_error(
        &self,
        writer: &Writer<'_>,
        errnum: c_int,
        text: Option<&CStr>,
    ) -> ResponderResult {
        let (callback, arg) = self.error_callback.get().ok_or(NoResponse::NoCallback)?;
        let text = text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: as above.
        counted(unsafe { callback(writer.raw(), self, errnum, text, arg) })
    }
}

/// The meaning of a callback's return value.
fn counted(count: c_int) -> ResponderResult {
    match count {
        0.. => Ok(count),
        _ => Err(NoResponse::Failed),
    }
}
