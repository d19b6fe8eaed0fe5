//! The operations of a Flux handle, as traits and plain types. Two back ends
//! implement the traits: `libflux` (the real one) and `embedded` (a broker in
//! this process). Nothing here depends on Lua.

pub mod barrier;
pub mod base64;
pub mod embedded;
mod error;
mod future;
mod handle;
pub mod ids;
pub mod key;
mod kvs;
pub mod libflux;
mod message;
pub mod object;
pub mod reactor;
pub mod slab;
mod system;
pub mod treeobj;

pub use error::{Error, ErrorParts, Result, last_errno, strerror};
pub use future::{Continuation, Future};
pub use handle::{Handle, rpc_flags};
pub use kvs::{Transaction, kvs_flags};
pub use message::{
    MATCHTAG_NONE, Match, Message, NODEID_ANY, NODEID_UPSTREAM, ROLE_OWNER, msgtype,
};
pub use system::userid;
