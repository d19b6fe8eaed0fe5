//! Lookup flags beyond those in [`crate::backend::kvs_flags`].

/// Sends the value's blobs as a stream, which ends after the last one.
pub const STREAM: i32 = 512;
/// With WATCH_APPEND, sends an empty response between the present value and the
/// data that is appended later.
pub const WATCH_INITIAL_SENTINEL: i32 = 1024;
