//! The key-value store: single keys, the pending transaction of a handle, directories,
//! waiting for changes, watchers, and byte streams.

mod commit;
pub mod dir;
pub mod keys;
pub mod pending;
mod refusal;
pub mod stream;
mod value;
pub mod watch;
pub mod watcher;
