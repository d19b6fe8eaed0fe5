//! libflux-core's C interface as far as this back end uses it: its types, and
//! its functions as pointers that are looked up once. Where the library comes
//! from is `library`'s business; what the calls mean is that of their callers.

use std::ffi::{c_char, c_double, c_int, c_void};
use std::marker::PhantomData;

use crate::symbols::functions;

/// Types that only libflux-core sees the inside of.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
            _not_send: PhantomData<*mut ()>,
        }
    )*};
}

opaque! {
    /// A connection to a broker.
    flux_t;
    /// A KVS directory as it was when it was looked up.
    flux_kvsdir_t;
    flux_kvsitr_t;
    flux_msg_t;
    flux_future_t;
    flux_kvs_txn_t;
    flux_reactor_t;
    flux_watcher_t;
    flux_msg_handler_t;
}

/// Which messages to take. Passed by value.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct flux_match {
    pub typemask: c_int,
    pub matchtag: u32,
    pub topic_glob: *const c_char,
}

/// The text of an error, for the functions that take one.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct flux_error_t {
    pub text: [c_char; 160],
}

pub const FLUX_O_NONBLOCK: c_int = 4;
pub const FLUX_RQ_HEAD: c_int = 1;
pub const FLUX_POLLERR: c_int = 4;
pub const FLUX_MSGFLAG_UPSTREAM: c_int = 0x10;
pub const FLUX_CONF_AUTO: c_int = 2;
pub const FLUX_POLLIN: c_int = 1;
pub const FLUX_REACTOR_NOWAIT: c_int = 1;
pub const FLUX_REACTOR_ONCE: c_int = 2;
pub const FLUX_ROLE_ALL: u32 = 0xFFFF_FFFF;

/// What libflux calls; the last argument is what it was told to pass.
pub type WatcherCallback =
    unsafe extern "C" fn(*mut flux_reactor_t, *mut flux_watcher_t, c_int, *mut c_void);
pub type MessageCallback =
    unsafe extern "C" fn(*mut flux_t, *mut flux_msg_handler_t, *const flux_msg_t, *mut c_void);
pub type FreeFunction = unsafe extern "C" fn(*mut c_void);
pub type Continuation = unsafe extern "C" fn(*mut flux_future_t, *mut c_void);

// The prototypes of flux-core 0.88. They hold from 0.60 on, but that before
// 0.70 each `size_t` (`usize`) was an `int`: `text::Bytes` receives either,
// `text::fits_an_int` sees to it that those passed are right for both.
functions! {
    /// libflux-core's functions. Optional are those that only some supported
    /// versions have and the back end can do without.
    Api, "C";
    // Nothing works without these, or they have no way to say that they fail.
    required {
        fn flux_core_version_string() -> *const c_char;
        fn flux_open(uri: *const c_char, flags: c_int) -> *mut flux_t;
        fn flux_close(h: *mut flux_t);
        fn flux_incref(h: *mut flux_t) -> *mut flux_t;
        fn flux_log(h: *mut flux_t, level: c_int, fmt: *const c_char, ...) -> c_int;
        fn flux_matchtag_alloc(h: *mut flux_t) -> u32;
        fn flux_matchtag_free(h: *mut flux_t, matchtag: u32);
        fn flux_send(h: *mut flux_t, msg: *const flux_msg_t, flags: c_int) -> c_int;
        fn flux_recv(h: *mut flux_t, wanted: flux_match, flags: c_int) -> *mut flux_msg_t;
        fn flux_requeue(h: *mut flux_t, msg: *const flux_msg_t, flags: c_int) -> c_int;
        fn flux_pollfd(h: *mut flux_t) -> c_int;
        fn flux_pollevents(h: *mut flux_t) -> c_int;
        fn flux_request_encode(topic: *const c_char, s: *const c_char) -> *mut flux_msg_t;
        fn flux_response_derive(request: *const flux_msg_t, errnum: c_int) -> *mut flux_msg_t;
        fn flux_msg_incref(msg: *const flux_msg_t) -> *const flux_msg_t;
        fn flux_msg_decref(msg: *const flux_msg_t);
        fn flux_msg_cmp(msg: *const flux_msg_t, wanted: flux_match) -> bool;
        fn flux_msg_cmp_matchtag(msg: *const flux_msg_t, matchtag: u32) -> bool;
        fn flux_msg_route_match_first(a: *const flux_msg_t, b: *const flux_msg_t) -> bool;
        fn flux_msg_get_type(msg: *const flux_msg_t, msgtype: *mut c_int) -> c_int;
        fn flux_msg_get_topic(msg: *const flux_msg_t, topic: *mut *const c_char) -> c_int;
        fn flux_msg_get_payload(
            msg: *const flux_msg_t,
            buf: *mut *const c_void,
            size: *mut usize,
        ) -> c_int;
        fn flux_msg_get_errnum(msg: *const flux_msg_t, errnum: *mut c_int) -> c_int;
        fn flux_msg_get_matchtag(msg: *const flux_msg_t, matchtag: *mut u32) -> c_int;
        fn flux_msg_get_nodeid(msg: *const flux_msg_t, nodeid: *mut u32) -> c_int;
        fn flux_msg_get_userid(msg: *const flux_msg_t, userid: *mut u32) -> c_int;
        fn flux_msg_get_rolemask(msg: *const flux_msg_t, rolemask: *mut u32) -> c_int;
        fn flux_msg_is_streaming(msg: *const flux_msg_t) -> bool;
        fn flux_msg_is_noresponse(msg: *const flux_msg_t) -> bool;
        fn flux_msg_set_string(msg: *mut flux_msg_t, s: *const c_char) -> c_int;
        fn flux_msg_set_matchtag(msg: *mut flux_msg_t, matchtag: u32) -> c_int;
        fn flux_msg_set_nodeid(msg: *mut flux_msg_t, nodeid: u32) -> c_int;
        fn flux_msg_copy(msg: *const flux_msg_t, payload: bool) -> *mut flux_msg_t;
        fn flux_msg_set_flag(msg: *mut flux_msg_t, flag: c_int) -> c_int;
        fn flux_rpc(
            h: *mut flux_t,
            topic: *const c_char,
            s: *const c_char,
            nodeid: u32,
            flags: c_int,
        ) -> *mut flux_future_t;
        fn flux_rpc_get_raw(
            f: *mut flux_future_t,
            data: *mut *const c_void,
            len: *mut usize,
        ) -> c_int;
        fn flux_rpc_get_matchtag(f: *mut flux_future_t) -> u32;
        fn flux_future_wait_for(f: *mut flux_future_t, timeout: c_double) -> c_int;
        fn flux_future_is_ready(f: *mut flux_future_t) -> bool;
        fn flux_future_get(f: *mut flux_future_t, result: *mut *const c_void) -> c_int;
        fn flux_future_reset(f: *mut flux_future_t);
        fn flux_future_destroy(f: *mut flux_future_t);
        fn flux_future_has_error(f: *mut flux_future_t) -> bool;
        fn flux_future_error_string(f: *mut flux_future_t) -> *const c_char;
        fn flux_future_get_flux(f: *mut flux_future_t) -> *mut flux_t;
        fn flux_reactor_stop(r: *mut flux_reactor_t);
        fn flux_reactor_stop_error(r: *mut flux_reactor_t);
        fn flux_reactor_now_update(r: *mut flux_reactor_t);
        // Newer versions return an int, which says that this is no stat watcher.
        fn flux_stat_watcher_get_rstat(
            w: *mut flux_watcher_t,
            stat: *mut libc::stat,
            prev: *mut libc::stat,
        );
        fn flux_watcher_start(w: *mut flux_watcher_t);
        fn flux_watcher_stop(w: *mut flux_watcher_t);
        fn flux_watcher_destroy(w: *mut flux_watcher_t);
        fn flux_msg_handler_destroy(mh: *mut flux_msg_handler_t);
        fn flux_msg_handler_start(mh: *mut flux_msg_handler_t);
        fn flux_msg_handler_stop(mh: *mut flux_msg_handler_t);
        fn flux_msg_handler_allow_rolemask(mh: *mut flux_msg_handler_t, rolemask: u32);
    }
    // Each fails by itself.
    replaceable {
        fn flux_attr_get(h: *mut flux_t, name: *const c_char) -> *const c_char;
        fn flux_get_rank(h: *mut flux_t, rank: *mut u32) -> c_int;
        fn flux_get_size(h: *mut flux_t, size: *mut u32) -> c_int;
        fn flux_dispatch_requeue(h: *mut flux_t) -> c_int;
        fn flux_event_encode(topic: *const c_char, s: *const c_char) -> *mut flux_msg_t;
        fn flux_event_subscribe_ex(
            h: *mut flux_t,
            topic: *const c_char,
            flags: c_int,
        ) -> *mut flux_future_t;
        fn flux_event_unsubscribe_ex(
            h: *mut flux_t,
            topic: *const c_char,
            flags: c_int,
        ) -> *mut flux_future_t;
        fn flux_future_then(
            f: *mut flux_future_t,
            timeout: c_double,
            continuation: Continuation,
            arg: *mut c_void,
        ) -> c_int;
        fn flux_get_reactor(h: *mut flux_t) -> *mut flux_reactor_t;
        fn flux_reactor_run(r: *mut flux_reactor_t, flags: c_int) -> c_int;
        fn flux_timer_watcher_create(
            r: *mut flux_reactor_t,
            after: c_double,
            repeat: c_double,
            callback: WatcherCallback,
            arg: *mut c_void,
        ) -> *mut flux_watcher_t;
        fn flux_fd_watcher_create(
            r: *mut flux_reactor_t,
            fd: c_int,
            events: c_int,
            callback: WatcherCallback,
            arg: *mut c_void,
        ) -> *mut flux_watcher_t;
        fn flux_stat_watcher_create(
            r: *mut flux_reactor_t,
            path: *const c_char,
            interval: c_double,
            callback: WatcherCallback,
            arg: *mut c_void,
        ) -> *mut flux_watcher_t;
        fn flux_handle_watcher_create(
            r: *mut flux_reactor_t,
            h: *mut flux_t,
            events: c_int,
            callback: WatcherCallback,
            arg: *mut c_void,
        ) -> *mut flux_watcher_t;
        fn flux_msg_handler_create(
            h: *mut flux_t,
            wanted: flux_match,
            callback: MessageCallback,
            arg: *mut c_void,
        ) -> *mut flux_msg_handler_t;
        fn flux_kvs_lookup(
            h: *mut flux_t,
            ns: *const c_char,
            flags: c_int,
            key: *const c_char,
        ) -> *mut flux_future_t;
        fn flux_kvs_lookup_get_raw(
            f: *mut flux_future_t,
            data: *mut *const c_void,
            len: *mut usize,
        ) -> c_int;
        fn flux_kvs_lookup_get_treeobj(
            f: *mut flux_future_t,
            treeobj: *mut *const c_char,
        ) -> c_int;
        fn flux_kvs_lookup_cancel(f: *mut flux_future_t) -> c_int;
        fn flux_kvs_commit(
            h: *mut flux_t,
            ns: *const c_char,
            flags: c_int,
            txn: *mut flux_kvs_txn_t,
        ) -> *mut flux_future_t;
        fn flux_kvs_txn_create() -> *mut flux_kvs_txn_t;
        fn flux_kvs_txn_destroy(txn: *mut flux_kvs_txn_t);
        fn flux_kvs_txn_put_raw(
            txn: *mut flux_kvs_txn_t,
            flags: c_int,
            key: *const c_char,
            data: *const c_void,
            len: usize,
        ) -> c_int;
        fn flux_kvs_txn_mkdir(
            txn: *mut flux_kvs_txn_t,
            flags: c_int,
            key: *const c_char,
        ) -> c_int;
        fn flux_kvs_txn_unlink(
            txn: *mut flux_kvs_txn_t,
            flags: c_int,
            key: *const c_char,
        ) -> c_int;
        fn flux_kvs_txn_symlink(
            txn: *mut flux_kvs_txn_t,
            flags: c_int,
            key: *const c_char,
            ns: *const c_char,
            target: *const c_char,
        ) -> c_int;
        fn flux_kvsdir_incref(dir: *mut flux_kvsdir_t);
        fn flux_kvsdir_destroy(dir: *mut flux_kvsdir_t);
        fn flux_kvsdir_key(dir: *const flux_kvsdir_t) -> *const c_char;
        fn flux_kvsdir_handle(dir: *const flux_kvsdir_t) -> *mut c_void;
        fn flux_kvsitr_create(dir: *const flux_kvsdir_t) -> *mut flux_kvsitr_t;
        fn flux_kvsitr_next(itr: *mut flux_kvsitr_t) -> *const c_char;
        fn flux_kvsitr_destroy(itr: *mut flux_kvsitr_t);
    }
    optional {
        fn flux_open_ex(
            uri: *const c_char,
            flags: c_int,
            error: *mut flux_error_t,
        ) -> *mut flux_t;
        fn flux_aux_set(
            h: *mut flux_t,
            name: *const c_char,
            aux: *mut c_void,
            destroy: FreeFunction,
        ) -> c_int;
        fn flux_watcher_unref(w: *mut flux_watcher_t);
        // Until 0.69, which has no flux_watcher_unref.
        fn flux_reactor_active_incref(r: *mut flux_reactor_t);
        fn flux_reactor_active_decref(r: *mut flux_reactor_t);
        fn flux_conf_builtin_get(key: *const c_char, hint: c_int) -> *const c_char;
    }
}
