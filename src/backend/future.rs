//! The futures of all back ends.

use std::rc::Rc;
use std::time::Duration;

use super::error::Result;
use super::reactor::Watcher;

/// The result of an RPC, a KVS lookup or a commit, which may not have arrived
/// yet.
///
/// Dropping a future that is not fulfilled gives it up: a late response is
/// discarded, and its matchtag is used again only after that. If the future
/// streams, and the service can end the stream (as for a KVS watch), the
/// service is told to end it.
pub trait Future {
    /// Blocks until the future is fulfilled, with a value or an error. Restarts
    /// on EINTR. Fails with `ETIMEDOUT` if `timeout` passes first; the caller
    /// may then wait again. None waits forever.
    fn wait(&self, timeout: Option<Duration>) -> Result<()>;

    /// The value. For an RPC, it is the response's payload. For a KVS lookup,
    /// it is the value's bytes, or with `READDIR`, `READLINK` or `TREEOBJ` the
    /// tree object as JSON. A commit has no value.
    ///
    /// Waits if necessary. A service's error comes with its error text.
    fn payload(&self) -> Result<Option<&[u8]>>;

    /// Forgets this value of a stream, so that the next can be waited for. A
    /// future that does not stream, or whose stream has ended, keeps its value.
    fn reset(&mut self);

    /// Makes the handle's reactor call `continuation` each time the future is
    /// fulfilled. Dropping the watcher gives the future up.
    ///
    /// Do not call this after a [`Future::wait`] that timed out, because
    /// libflux cannot do both.
    fn then(self: Box<Self>, continuation: Continuation) -> Result<Box<dyn Watcher>>;
}

/// Called in the reactor each time a future is fulfilled; [`Future::payload`]
/// then has the value. A stream is reset after each call, until its error.
pub type Continuation = Rc<dyn Fn(&dyn Future)>;
