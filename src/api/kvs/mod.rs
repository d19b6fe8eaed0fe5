//! The key-value store: single keys and the pending transaction of a handle,
//! directories, watches, and byte streams.

mod commit;
pub mod dir;
pub mod keys;
pub mod pending;
mod refusal;
pub mod stream;
mod value;
pub mod watch;
pub mod watcher;
