//! Handles: the connections to a broker, for all back ends.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::error::Result;
use super::future::Future;
use super::kvs::Transaction;
use super::message::{Match, Message};
use super::reactor::{Callback, RunMode, Source, Watcher};

/// Flags of [`Handle::rpc`].
pub mod rpc_flags {
    /// The request gets no response.
    pub const NORESPONSE: i32 = 1;
    /// The request gets many responses. The last is an error: ENODATA at the
    /// regular end.
    pub const STREAMING: i32 = 2;
}

/// A connection to a broker. It belongs to the thread that opened it.
///
/// Topics, keys and names may be any text. A text that the broker cannot carry,
/// because it contains a NUL, fails with EINVAL. Nothing that a script can pass
/// causes a panic. The trait extends `Any`, so that `capi` can find the
/// `flux_t` of a libflux handle.
pub trait Handle: Any {
    /// The value of a broker attribute. Fails with ENOENT if it has none.
    fn attr_get(&self, name: &str) -> Result<String>;
    /// The rank of the broker.
    fn rank(&self) -> Result<u32>;
    /// How many brokers the instance has.
    fn size(&self) -> Result<u32>;

    /// Sends a request, and returns its matchtag. The matchtag is free again
    /// once [`Handle::recv`] has returned the last response.
    ///
    /// `payload` is JSON text, without a trailing NUL. `nodeid` is a rank,
    /// [`NODEID_ANY`](super::NODEID_ANY) or
    /// [`NODEID_UPSTREAM`](super::NODEID_UPSTREAM).
    fn send(&self, topic: &str, payload: Option<&[u8]>, nodeid: u32) -> Result<u32>;
    /// Gives up a request that [`Handle::send`] sent with this matchtag. A late
    /// response is discarded, and the matchtag is used again only after that.
    fn give_up(&self, matchtag: u32);
    /// Publishes an event.
    fn send_event(&self, topic: &str, payload: Option<&[u8]>) -> Result<()>;
    /// Blocks until a message matches. Restarts on EINTR. Other messages stay
    /// in the handle's queue, in their order. Fails with `ETIMEDOUT` if
    /// `timeout` passes first, so zero returns only messages that have arrived.
    fn recv(&self, wanted: &Match, timeout: Option<Duration>) -> Result<Arc<dyn Message>>;
    /// Responds to a request that this handle, or another of the same back end,
    /// received. A request that wants no response gets none.
    fn respond(&self, request: &dyn Message, payload: Option<&[u8]>) -> Result<()>;
    /// Responds with an error, and perhaps a text for people. Fails with EINVAL
    /// if `errnum` is 0.
    fn respond_error(&self, request: &dyn Message, errnum: i32, text: Option<&str>) -> Result<()>;
    /// Calls a service. `flags` is a set of [`rpc_flags`].
    fn rpc(
        &self,
        topic: &str,
        payload: Option<&[u8]>,
        nodeid: u32,
        flags: i32,
    ) -> Result<Box<dyn Future>>;

    /// Subscribes to the events whose topic starts with `topic`. Returns once the
    /// broker has done it.
    fn subscribe(&self, topic: &str) -> Result<()>;
    /// Undoes one [`Handle::subscribe`]. Fails with ENOENT if there was none.
    fn unsubscribe(&self, topic: &str) -> Result<()>;

    /// Looks up a KVS key. `flags` is a set of [`kvs_flags`](super::kvs_flags).
    /// The default namespace is that of the process: `FLUX_KVS_NAMESPACE`, or
    /// else "primary".
    fn lookup(&self, namespace: Option<&str>, flags: i32, key: &str) -> Result<Box<dyn Future>>;
    /// Makes an empty transaction.
    fn transaction(&self) -> Result<Box<dyn Transaction>>;
    /// Commits a transaction of the same back end. `flags` is a set of
    /// flux-core's commit flags.
    fn commit(
        &self,
        namespace: Option<&str>,
        flags: i32,
        transaction: &mut dyn Transaction,
    ) -> Result<Box<dyn Future>>;

    /// Writes to the broker's log. `level` is a syslog level, from 0 (emerg) to
    /// 7 (debug).
    fn log(&self, level: i32, text: &str) -> Result<()>;

    /// Runs the handle's reactor. A callback of the reactor may call this too.
    /// Returns how many watchers are still active, or an error after
    /// [`Handle::reactor_stop_error`], or when the broker is gone. Restarts on
    /// EINTR.
    fn reactor_run(&self, mode: RunMode) -> Result<u32>;
    /// Makes the running [`Handle::reactor_run`]s return.
    fn reactor_stop(&self);
    /// Makes the running [`Handle::reactor_run`]s return an error.
    fn reactor_stop_error(&self);
    /// Makes the reactor call `callback` on each event of `source`, until the
    /// watcher is dropped.
    fn watch(&self, source: Source<'_>, callback: Callback) -> Result<Box<dyn Watcher>>;

    /// Opens another connection to the same broker, with a queue of its own.
    fn reopen(&self) -> Result<Box<dyn Handle>>;
}
