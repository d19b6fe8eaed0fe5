//! The hostile peer on a real instance. It builds messages part by part with
//! libflux-core's lowest functions, which check less than those that encode a
//! whole message.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use super::peer::{Credentials, Header, Peer};

/// libflux's `struct flux_match`.
#[repr(C)]
struct Match {
    typemask: c_int,
    matchtag: u32,
    topic_glob: *const c_char,
}

const REQUEST: c_int = 1;
const EVENT: c_int = 4;
const CONTROL: c_int = 8;
const STREAMING: c_int = 0x40;
const NORESPONSE: c_int = 0x04;

/// Opaque pointers.
type Handle = *mut c_void;
type Msg = *mut c_void;

macro_rules! functions {
    ($(fn $name:ident $args:tt $(-> $ret:ty)?;)*) => {
        struct Api { $($name: unsafe extern "C" fn $args $(-> $ret)?,)* }

        impl Api {
            /// # Safety
            /// `library` is dlopen's handle of libflux-core.
            unsafe fn load(library: *mut c_void) -> Api {
                let symbol = |name: &str| {
                    let name = CString::new(name).expect("a name");
                    // SAFETY: the library is never closed, and the name ends with
                    // a NUL.
                    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
                    assert!(!address.is_null(), "libflux-core has no {name:?}");
                    address
                };
                Api { $(
                    // SAFETY: the function of that name has that prototype.
                    $name: unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn $args $(-> $ret)?>(
                            symbol(stringify!($name)),
                        )
                    },
                )* }
            }
        }
    };
}

functions! {
    fn flux_open(uri: *const c_char, flags: c_int) -> Handle;
    fn flux_recv(h: Handle, wanted: Match, flags: c_int) -> Msg;
    fn flux_send(h: Handle, msg: Msg, flags: c_int) -> c_int;
    fn flux_service_register(h: Handle, name: *const c_char) -> *mut c_void;
    fn flux_future_get(f: *mut c_void, result: *mut *const c_void) -> c_int;
    fn flux_msg_create(kind: c_int) -> Msg;
    fn flux_msg_decref(msg: Msg);
    fn flux_msg_route_enable(msg: Msg);
    fn flux_response_derive(request: Msg, errnum: c_int) -> Msg;
    fn flux_msg_get_topic(msg: Msg, topic: *mut *const c_char) -> c_int;
    fn flux_msg_get_payload(msg: Msg, data: *mut *const c_void, size: *mut usize) -> c_int;
    fn flux_msg_set_topic(msg: Msg, topic: *const c_char) -> c_int;
    fn flux_msg_set_payload(msg: Msg, data: *const c_void, size: usize) -> c_int;
    fn flux_msg_set_flag(msg: Msg, flag: c_int) -> c_int;
    fn flux_msg_get_matchtag(msg: Msg, matchtag: *mut u32) -> c_int;
    fn flux_msg_set_matchtag(msg: Msg, matchtag: u32) -> c_int;
    fn flux_msg_set_userid(msg: Msg, userid: u32) -> c_int;
    fn flux_msg_set_rolemask(msg: Msg, rolemask: u32) -> c_int;
    fn flux_msg_set_errnum(msg: Msg, errnum: c_int) -> c_int;
    fn flux_msg_set_control(msg: Msg, kind: c_int, status: c_int) -> c_int;
}

/// A connection to the broker that `FLUX_URI` names.
pub struct Raw {
    api: Api,
    h: Handle,
}

// SAFETY: the connection moves to one other thread, which alone uses it.
unsafe impl Send for Raw {}

/// A message that is freed when dropped.
pub struct Message<'a> {
    api: &'a Api,
    msg: Msg,
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: this value owns a reference to the message.
        unsafe { (self.api.flux_msg_decref)(self.msg) }
    }
}

impl Message<'_> {
    fn topic(&self) -> String {
        let mut topic = ptr::null();
        // SAFETY: the message is valid; its topic ends with a NUL and is copied.
        unsafe {
            match (self.api.flux_msg_get_topic)(self.msg, &mut topic) {
                0 => CStr::from_ptr(topic).to_string_lossy().into_owned(),
                _ => String::new(),
            }
        }
    }

    fn set_topic(&self, topic: &[u8]) -> bool {
        let Ok(topic) = CString::new(topic) else {
            return false;
        };
        // SAFETY: the message is ours. The topic ends with a NUL and is copied.
        unsafe { (self.api.flux_msg_set_topic)(self.msg, topic.as_ptr()) == 0 }
    }

    fn set_sender(&self, from: Option<Credentials>) {
        let Some(from) = from else { return };
        // SAFETY: the message is ours.
        unsafe {
            (self.api.flux_msg_set_userid)(self.msg, from.userid);
            (self.api.flux_msg_set_rolemask)(self.msg, from.rolemask);
        }
    }

    fn set_payload(&self, payload: Option<&[u8]>) -> bool {
        let Some(payload) = payload.filter(|payload| !payload.is_empty()) else {
            return true;
        };
        let data = payload.as_ptr().cast();
        // SAFETY: the message is ours. The payload has that length and is copied.
        unsafe { (self.api.flux_msg_set_payload)(self.msg, data, payload.len()) == 0 }
    }
}

impl Raw {
    /// Connects and registers the services.
    pub fn open(services: &[&str]) -> Raw {
        // This makes the back end load the library, which is then found by name.
        let version = flux::backend::libflux::version();
        assert!(version.is_some(), "libflux-core cannot be loaded");
        let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD;
        // SAFETY: the name ends with a NUL.
        let library = unsafe { libc::dlopen(c"libflux-core.so.2".as_ptr(), flags) };
        // SAFETY: the library is libflux-core.
        let api = unsafe { Api::load(library) };
        // SAFETY: a null URI stands for FLUX_URI.
        let h = unsafe { (api.flux_open)(ptr::null(), 0) };
        assert!(!h.is_null(), "the peer cannot connect");
        for service in services {
            let name = CString::new(*service).expect("a name");
            // SAFETY: the handle is valid, and the name ends with a NUL.
            let added = unsafe {
                let future = (api.flux_service_register)(h, name.as_ptr());
                (api.flux_future_get)(future, ptr::null_mut())
            };
            assert_eq!(added, 0, "the service cannot be registered");
        }
        Raw { api, h }
    }

    /// A request's payload, without a NUL at its end.
    pub fn payload(&self, request: &Request) -> Vec<u8> {
        let (mut data, mut size) = (ptr::null(), 0);
        // SAFETY: the message is valid; its payload has that length and is copied.
        unsafe {
            if (self.api.flux_msg_get_payload)(request.0, &mut data, &mut size) < 0 {
                return Vec::new();
            }
            let bytes = std::slice::from_raw_parts(data.cast::<u8>(), size);
            bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec()
        }
    }

    fn new_message(&self, kind: c_int) -> Message<'_> {
        // SAFETY: the call has no preconditions.
        let msg = unsafe { (self.api.flux_msg_create)(kind) };
        assert!(!msg.is_null(), "a message cannot be made");
        Message {
            api: &self.api,
            msg,
        }
    }

    fn send(&self, message: &Message<'_>) -> bool {
        // SAFETY: the handle and the message are valid.
        unsafe { (self.api.flux_send)(self.h, message.msg, 0) == 0 }
    }
}

/// A request that was received. It is never freed.
pub struct Request(Msg);

impl Peer for Raw {
    type Request = Request;

    fn next(&self) -> Option<(Request, String)> {
        let wanted = Match {
            typemask: REQUEST,
            matchtag: 0,
            topic_glob: ptr::null(),
        };
        // SAFETY: the handle is valid.
        let msg = unsafe { (self.api.flux_recv)(self.h, wanted, 0) };
        if msg.is_null() {
            return None;
        }
        // Not dropped, as the Request keeps the message.
        let message = std::mem::ManuallyDrop::new(Message {
            api: &self.api,
            msg,
        });
        Some((Request(msg), message.topic()))
    }

    fn respond(&self, request: &Request, header: Header, payload: Option<&[u8]>) -> bool {
        // SAFETY: the request is valid, and the response is ours.
        let response = Message {
            api: &self.api,
            msg: unsafe { (self.api.flux_response_derive)(request.0, 0) },
        };
        let mut matchtag = 0;
        // SAFETY: both messages are valid, and the response is ours.
        unsafe {
            (self.api.flux_msg_set_errnum)(response.msg, header.errnum);
            (self.api.flux_msg_get_matchtag)(request.0, &mut matchtag);
            let other = matchtag.wrapping_add(header.tag_offset);
            (self.api.flux_msg_set_matchtag)(response.msg, other);
            if header.streaming {
                (self.api.flux_msg_set_flag)(response.msg, STREAMING);
            }
        }
        response.set_payload(payload) && self.send(&response)
    }

    fn event(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool {
        let event = self.new_message(EVENT);
        // SAFETY: the message is ours.
        unsafe { (self.api.flux_msg_route_enable)(event.msg) };
        event.set_sender(from);
        event.set_topic(topic) && event.set_payload(payload) && self.send(&event)
    }

    fn request(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool {
        let request = self.new_message(REQUEST);
        // SAFETY: the message is ours.
        unsafe {
            (self.api.flux_msg_route_enable)(request.msg);
            (self.api.flux_msg_set_flag)(request.msg, NORESPONSE);
        }
        request.set_sender(from);
        request.set_topic(topic) && request.set_payload(payload) && self.send(&request)
    }

    fn control(&self) -> bool {
        let control = self.new_message(CONTROL);
        // SAFETY: the message is ours.
        unsafe { (self.api.flux_msg_set_control)(control.msg, 77, -1) };
        self.send(&control)
    }
}
