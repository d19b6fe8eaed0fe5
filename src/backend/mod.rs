//! What a Flux handle can do, as one trait, and the plain types that go
//! through it. Two back ends implement it: `libflux` (the real one) and
//! `embedded` (a broker in this process). Knows no Lua.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

pub mod base64;
pub mod embedded;
mod error;
pub mod ids;
pub mod key;
pub mod libflux;
pub mod object;
pub mod reactor;
pub mod slab;
mod system;
pub mod treeobj;

pub use error::{Error, Result, Words, last_errno, strerror};
use reactor::{Callback, Continuation, RunMode, Source, Watcher};
pub use system::userid;

/// Message types, as bits so that a [`Match`] can name several.
pub mod msgtype {
    pub const REQUEST: i32 = 0x01;
    pub const RESPONSE: i32 = 0x02;
    pub const EVENT: i32 = 0x04;
    pub const CONTROL: i32 = 0x08;
    pub const ANY: i32 = 0x0f;
}

/// A request's destination: any rank that offers the service.
pub const NODEID_ANY: u32 = 0xFFFF_FFFF;
/// A request's destination: the service upstream of the sender.
pub const NODEID_UPSTREAM: u32 = 0xFFFF_FFFE;
/// No matchtag: in a [`Match`], any.
pub const MATCHTAG_NONE: u32 = 0;

/// Flags of [`Handle::rpc`].
pub mod rpc_flags {
    /// The request is answered by no response.
    pub const NORESPONSE: i32 = 1;
    /// The request is answered by many responses, the last an error (ENODATA at its regular end).
    pub const STREAMING: i32 = 2;
}

/// Flags of [`Handle::lookup`] and of a [`Transaction`]'s operations.
pub mod kvs_flags {
    pub const READDIR: i32 = 1;
    pub const READLINK: i32 = 2;
    pub const WATCH: i32 = 4;
    pub const WAITCREATE: i32 = 8;
    pub const TREEOBJ: i32 = 16;
    pub const APPEND: i32 = 32;
    pub const WATCH_FULL: i32 = 64;
    pub const WATCH_UNIQ: i32 = 128;
    pub const WATCH_APPEND: i32 = 256;
}

/// Which messages [`Handle::recv`] takes; all others stay in the handle's
/// queue, in their order.
#[derive(Clone, Debug)]
pub struct Match {
    /// An or of [`msgtype`] bits.
    pub typemask: i32,
    /// A response's matchtag, or [`MATCHTAG_NONE`] for any.
    pub matchtag: u32,
}

impl Match {
    pub fn any() -> Match {
        Match::of(msgtype::ANY)
    }

    /// Every message of these types.
    pub fn of(typemask: i32) -> Match {
        Match {
            typemask,
            matchtag: MATCHTAG_NONE,
        }
    }
}

/// A received message, which is shared by what works on it. It stays as it was
/// received; its text is borrowed.
pub trait Message {
    /// One [`msgtype`] bit.
    fn msgtype(&self) -> i32;
    /// Topic strings are bytes: what a peer sends need not be UTF-8.
    fn topic(&self) -> Option<&[u8]>;
    /// The raw payload, without the NUL that Flux appends to a string payload.
    fn payload(&self) -> Option<&[u8]>;
    /// 0 for success. Responses only: `EPROTO` on others.
    fn errnum(&self) -> Result<i32>;
    /// Requests and responses only: `EPROTO` on others.
    fn matchtag(&self) -> Result<u32>;
    /// Requests only: `EPROTO` on others.
    fn nodeid(&self) -> Result<u32>;
    fn userid(&self) -> Result<u32>;
    fn rolemask(&self) -> Result<u32>;
    /// Whether the request asks for, or the response is one of, many responses.
    fn is_streaming(&self) -> bool;
    /// Whether the request wants no response.
    fn is_noresponse(&self) -> bool;
    /// Whether both were sent by the same client of the broker.
    fn same_sender(&self, other: &dyn Message) -> bool;
    /// The back end's own type, for [`Handle::respond`].
    fn as_any(&self) -> &dyn Any;
}

/// Something that will be fulfilled: an RPC, a KVS lookup, a commit.
///
/// Dropping one that is not fulfilled gives it up: a late response is
/// discarded, and its matchtag used again only after that. Dropping one that
/// streams also tells the service to stop where the service knows how
/// (a KVS watch).
pub trait Future {
    /// Block until fulfilled, with a value or an error; restarts on EINTR.
    /// `ETIMEDOUT` when `timeout` passes first; the future may be waited for
    /// again. `None` waits for ever.
    fn wait(&self, timeout: Option<Duration>) -> Result<()>;

    /// What it was fulfilled with. Of an RPC: the response's payload. Of a KVS
    /// lookup: the value's bytes, or with `READDIR`, `READLINK` or `TREEOBJ`
    /// the tree object's JSON text. Of a commit: nothing.
    ///
    /// Waits if it must. A service's error comes with its error text.
    fn payload(&self) -> Result<Option<&[u8]>>;

    /// Of a stream: forget this value, so that the next one can be waited for.
    /// What is no stream, or has ended, stays as it is.
    fn reset(&mut self);

    /// Have the handle's reactor call this once fulfilled, each time it is.
    /// Dropping the watcher gives the future up.
    ///
    /// Not after a [`Future::wait`] that timed out: libflux cannot do both.
    fn then(self: Box<Self>, continuation: Continuation) -> Result<Box<dyn Watcher>>;
}

/// KVS operations that land together or not at all, in their order.
///
/// A key that no KVS can hold (empty) is refused at once, with EINVAL, and
/// leaves the transaction as it was. Values are bytes.
pub trait Transaction {
    /// `flags`: 0 or [`kvs_flags::APPEND`].
    fn put(&mut self, flags: i32, key: &str, value: &[u8]) -> Result<()>;
    fn mkdir(&mut self, key: &str) -> Result<()>;
    fn unlink(&mut self, key: &str) -> Result<()>;
    /// `namespace`: that of the target, or the link's own.
    fn symlink(&mut self, key: &str, namespace: Option<&str>, target: &str) -> Result<()>;
    /// The back end's own type, for [`Handle::commit`].
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A connection to a broker. Belongs to the thread that opened it.
///
/// Topics, keys and names may be any text; one that the broker cannot carry
/// (it holds a NUL) is EINVAL. Nothing here panics on what a script can pass.
/// It is `Any` so that `capi` finds the `flux_t` of libflux's.
pub trait Handle: Any {
    fn attr_get(&self, name: &str) -> Result<String>;
    fn rank(&self) -> Result<u32>;
    fn size(&self) -> Result<u32>;

    /// Send a request and return its matchtag. The tag is free again once
    /// [`Handle::recv`] has returned its last response.
    /// `payload`: JSON text, without a trailing NUL.
    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32>;
    /// Give up the request that [`Handle::send`] returned this matchtag for: a
    /// late response is discarded, and the tag used again only after that.
    fn give_up(&self, matchtag: u32);
    /// Publish an event.
    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()>;
    /// Block until a message matches; restarts on EINTR. `ETIMEDOUT` when
    /// `timeout` passes first, so zero asks only for what has arrived.
    fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<dyn Message>>;
    /// Respond to a request that this handle (or, in the same back end,
    /// another) received. A request that wants no response gets none.
    fn respond(&self, request: &dyn Message, payload: Option<&[u8]>) -> Result<()>;
    /// Respond with an error; `text` is the human-readable one. EINVAL for errnum 0.
    fn respond_error(&self, request: &dyn Message, errnum: i32, text: Option<&str>) -> Result<()>;
    /// Call a service. `flags`: [`rpc_flags`].
    fn rpc(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<Box<dyn Future>>;

    /// `topic` is a prefix: it matches every event whose topic starts with it.
    /// Returns once the broker has it.
    fn subscribe(&self, topic: &str) -> Result<()>;
    /// ENOENT for what was not subscribed.
    fn unsubscribe(&self, topic: &str) -> Result<()>;

    /// Look up a KVS key. `flags`: [`kvs_flags`]. No namespace: the process's
    /// own (`FLUX_KVS_NAMESPACE`, else "primary").
    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>>;
    fn transaction(&self) -> Result<Box<dyn Transaction>>;
    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>>;

    /// Write a line to the broker's log. `level`: syslog's, 0 (emerg) to 7 (debug).
    fn log(&self, level: i32, text: &str) -> Result<()>;

    /// Run the handle's reactor; may be called from within it. Returns how many
    /// watchers are still active; an error after [`Handle::reactor_stop_error`],
    /// or when the broker is gone. Restarts on EINTR.
    fn reactor_run(&self, mode: RunMode) -> Result<u32>;
    /// Make the running [`Handle::reactor_run`]s return.
    fn reactor_stop(&self);
    /// The same, with an error.
    fn reactor_stop_error(&self);
    /// Have the reactor call `callback` on each event of `source`, until the
    /// watcher is dropped.
    fn watch(&self, source: Source<'_>, callback: Callback) -> Result<Box<dyn Watcher>>;

    /// Another connection to the same broker, with a queue of its own.
    fn reopen(&self) -> Result<Box<dyn Handle>>;
}
