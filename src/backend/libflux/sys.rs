//! The part of libflux-core's C interface that this back end uses: types, and
//! functions as pointers that are looked up once. `library` finds the library.

use std::ffi::{c_char, c_double, c_int, c_void};
use std::marker::PhantomData;

use crate::symbols::functions;

/// Types whose contents only libflux-core knows.
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
    /// An iterator over the names in a KVS directory.
    flux_kvsitr_t;
    /// A message.
    flux_msg_t;
    /// A result that may not be there yet.
    flux_future_t;
    /// A KVS transaction.
    flux_kvs_txn_t;
    /// An event loop.
    flux_reactor_t;
    /// An event source of a reactor.
    flux_watcher_t;
    /// A handler of messages.
    flux_msg_handler_t;
}

/// Which messages to receive. Passed by value.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct flux_match {
    /// Message types, as bits.
    pub typemask: c_int,
    /// A matchtag, or `MATCHTAG_NONE` for any.
    pub matchtag: u32,
    /// A terminated pattern, or null for any topic.
    pub topic_glob: *const c_char,
}

/// A buffer for the text of an error.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct flux_error_t {
    /// The text, terminated.
    pub text: [c_char; 160],
}

/// Flag of `flux_recv`: do not wait.
pub const FLUX_O_NONBLOCK: c_int = 4;
/// Flag of `flux_requeue`: put the message at the head of the queue.
pub const FLUX_RQ_HEAD: c_int = 1;
/// An error, as an event of a handle or descriptor.
pub const FLUX_POLLERR: c_int = 4;
/// A message flag: the nodeid is the sender's, and the request goes upstream.
pub const FLUX_MSGFLAG_UPSTREAM: c_int = 0x10;
/// Flag of `flux_conf_builtin_get`: use the installed tree or the build tree,
/// whichever is in use.
pub const FLUX_CONF_AUTO: c_int = 2;
/// Readable, as an event of a descriptor.
pub const FLUX_POLLIN: c_int = 1;
/// Flag of `flux_reactor_run`: handle only events that have happened.
pub const FLUX_REACTOR_NOWAIT: c_int = 1;
/// Flag of `flux_reactor_run`: handle events once, and wait if necessary.
pub const FLUX_REACTOR_ONCE: c_int = 2;
/// Any role.
pub const FLUX_ROLE_ALL: u32 = 0xFFFF_FFFF;

/// Called by libflux on an event of a watcher. The last argument is the one that
/// the watcher was created with.
pub type WatcherCallback =
    unsafe extern "C" fn(*mut flux_reactor_t, *mut flux_watcher_t, c_int, *mut c_void);
/// Called by libflux with a message.
pub type MessageCallback =
    unsafe extern "C" fn(*mut flux_t, *mut flux_msg_handler_t, *const flux_msg_t, *mut c_void);
/// Called by libflux to free a value that was attached to an object.
pub type FreeFunction = unsafe extern "C" fn(*mut c_void);
/// Called by libflux when a future is fulfilled.
pub type FutureCallback = unsafe extern "C" fn(*mut flux_future_t, *mut c_void);

// The prototypes of flux-core 0.88. They are right from 0.60 on, except that
// before 0.70 each `size_t` (`usize`) was an `int`. `text::Bytes` can receive
// either, and `text::fits_an_int` checks that the values passed fit both.
functions! {
    /// libflux-core's functions. Some functions are optional: only some
    /// supported versions have them, and the back end works without them.
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
        // Newer versions return an int, which says that this is not a stat
        // watcher.
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
            continuation: FutureCallback,
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
