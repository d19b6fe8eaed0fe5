//! `zmsg-lua.h`: messages of C code, of the class that all messages are, and
//! responded to by a callback of that code.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use super::{Count, enter, push_owned, set_errno};
use crate::api::{self, NewMessage, NoResponse, Responder, Responding};
use crate::backend::Message;
use crate::backend::libflux::{FluxMessage, flux_msg_t};
use crate::exported;
use crate::lua::{Error, Writer, lua_State};

/// C's `struct zmsg_info`: a message of its own, and what C code says of it.
/// Counted references to it are what both sides hold.
pub struct ZmsgInfo {
    message: FluxMessage,
    /// Where `zmsg_info_zmsg` lets C code find the message.
    raw: Cell<*mut flux_msg_t>,
    /// The type that scripts see.
    msgtype: c_int,
    callback: Cell<Option<(Callback, *mut c_void)>>,
    error_callback: Cell<Option<(ErrorCallback, *mut c_void)>>,
    /// Whether C code has given its reference to Lua.
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

/// The C bindings' signature, which existing code calls.
///
/// # Safety
/// `msg` is null, or points to null or a valid message.
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

/// # Safety
/// `zmsg_info_create` returned this, and it is alive; and so below.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_register_resp_cb(
    info: *const ZmsgInfo,
    callback: Option<Callback>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract, or null.
    let Some(info) = (unsafe { info.as_ref() }) else {
        set_errno(libc::EINVAL);
        return -1;
    };
    info.callback.set(callback.map(|callback| (callback, arg)));
    0
}

/// # Safety
/// As for [`zmsg_info_register_resp_cb`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_register_resp_error_cb(
    info: *const ZmsgInfo,
    callback: Option<ErrorCallback>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by the contract, or null.
    let Some(info) = (unsafe { info.as_ref() }) else {
        set_errno(libc::EINVAL);
        return -1;
    };
    let callback = callback.map(|callback| (callback, arg));
    info.error_callback.set(callback);
    0
}

/// # Safety
/// As for [`zmsg_info_register_resp_cb`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn zmsg_info_zmsg(info: *const ZmsgInfo) -> *mut *mut flux_msg_t {
    // SAFETY: by the contract, or null.
    match unsafe { info.as_ref() } {
        Some(info) => info.raw.as_ptr(),
        None => std::ptr::null_mut(),
    }
}

exported! {
    /// # Safety
    /// A C function, or the host, of this live state calls.
    fn l_zmsg_info_register_metatable(state: *mut lua_State) -> c_int {
        // SAFETY: by the contract.
        unsafe {
            enter(state, |state| {
                api::push_message_class(state);
                Ok(Count(1))
            })
        }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.fail(state) }
    }
}

exported! {
    /// `require "zmsg"`, where somebody calls the shared object so.
    ///
    /// # Safety
    /// As for [`l_zmsg_info_register_metatable`].
    fn luaopen_zmsg(state: *mut lua_State) -> c_int {
        // SAFETY: by the contract.
        unsafe { l_zmsg_info_register_metatable(state) }
    } unbound(error) {
        // SAFETY: the caller's promise.
        unsafe { error.raise(state) }
    }
}

exported! {
    /// Push the message, which this takes over.
    ///
    /// # Safety
    /// As for [`l_zmsg_info_register_metatable`], and `info` is null, or as
    /// [`zmsg_info_register_resp_cb`] asks.
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
        // SAFETY: the caller's promise. The message is freed.
        unsafe {
            drop(taken(info));
            error.fail(state)
        }
    }
}

/// C code's reference; what it pushes again while Lua still has the message is
/// one more.
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
    fn respond(&self, writer: &Writer<'_>, payload: &CStr) -> Responding {
        let (callback, arg) = self.callback.get().ok_or(NoResponse::NoCallback)?;
        // SAFETY: C code registered the function with this argument, for this
        // message; the frame may be jumped over.
        counted(unsafe { callback(writer.raw(), self, payload.as_ptr(), arg) })
    }

    fn respond_error(&self, writer: &Writer<'_>, errnum: c_int, text: Option<&CStr>) -> Responding {
        let (callback, arg) = self.error_callback.get().ok_or(NoResponse::NoCallback)?;
        let text = text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: as above.
        counted(unsafe { callback(writer.raw(), self, errnum, text, arg) })
    }
}

/// What a callback returned.
fn counted(count: c_int) -> Responding {
    match count {
        0.. => Ok(count),
        _ => Err(NoResponse::Failed),
    }
}
