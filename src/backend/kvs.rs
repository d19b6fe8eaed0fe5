//! The key value store, as every back end offers it.

use std::any::Any;

use super::error::Result;

/// Flags of [`Handle::lookup`](super::Handle::lookup) and of the operations of a
/// [`Transaction`].
pub mod kvs_flags {
    /// Look up a directory.
    pub const READDIR: i32 = 1;
    /// Look up a symbolic link itself.
    pub const READLINK: i32 = 2;
    /// Respond again when the key changes.
    pub const WATCH: i32 = 4;
    /// Wait until the key exists.
    pub const WAITCREATE: i32 = 8;
    /// Return the tree object of any entry.
    pub const TREEOBJ: i32 = 16;
    /// Append to a value, in place of replacing it.
    pub const APPEND: i32 = 32;
    /// With `WATCH`: compare the value at every commit.
    pub const WATCH_FULL: i32 = 64;
    /// With `WATCH`: respond only if the value differs from the last.
    pub const WATCH_UNIQ: i32 = 128;
    /// With `WATCH`: respond only with what was appended.
    pub const WATCH_APPEND: i32 = 256;
}

/// KVS operations that are committed together, in their order. If one fails,
/// none has an effect.
///
/// A key that no KVS can hold fails at once with EINVAL, and leaves the
/// transaction unchanged. Values are bytes.
pub trait Transaction {
    /// Sets a value. `flags`: 0 or [`kvs_flags::APPEND`].
    fn put(&mut self, flags: i32, key: &str, value: &[u8]) -> Result<()>;
    /// Makes an empty directory, in place of anything that has the key.
    fn mkdir(&mut self, key: &str) -> Result<()>;
    /// Removes a key, with everything below it.
    fn unlink(&mut self, key: &str) -> Result<()>;
    /// Makes a symbolic link. `namespace`: the target's, or None for the link's
    /// own.
    fn symlink(&mut self, key: &str, namespace: Option<&str>, target: &str) -> Result<()>;
    /// The back end's own type, for [`Handle::commit`](super::Handle::commit).
    fn as_any(&mut self) -> &mut dyn Any;
}
