//! Futures, as every back end hands them out.

use std::rc::Rc;
use std::time::Duration;

use super::error::Result;
use super::reactor::Watcher;

/// The result of an RPC, a KVS lookup or a commit, which may be still to come.
///
/// To drop a future that is not fulfilled gives it up: a late response is
/// discarded, and its matchtag is used again only after that. If the future
/// streams, the service is told to stop, where it knows how to (a KVS watch).
pub trait Future {
    /// Blocks until the future is fulfilled, with a value or an error; restarts
    /// on EINTR. `ETIMEDOUT` if `timeout` passes first; the future may then be
    /// waited for again. None waits for ever.
    fn wait(&self, timeout: Option<Duration>) -> Result<()>;

    /// The value. Of an RPC: the response's payload. Of a KVS lookup: the
    /// value's bytes, or with `READDIR`, `READLINK` or `TREEOBJ` the tree
    /// object as JSON. Of a commit: nothing.
    ///
    /// Waits if necessary. A service's error comes with its error text.
    fn payload(&self) -> Result<Option<&[u8]>>;

    /// Forgets this value of a stream, so that the next can be waited for. A
    /// future that does not stream, or whose stream has ended, keeps its value.
    fn reset(&mut self);

    /// Has the handle's reactor call `continuation` each time the future is
    /// fulfilled. To drop the watcher gives the future up.
    ///
    /// Not after a [`Future::wait`] that timed out: libflux cannot do both.
    fn then(self: Box<Self>, continuation: Continuation) -> Result<Box<dyn Watcher>>;
}

/// Called in the reactor each time a future is fulfilled; [`Future::payload`]
/// then has the value. A stream is reset after each call, until its error.
pub type Continuation = Rc<dyn Fn(&dyn Future)>;
