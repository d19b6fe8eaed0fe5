//! Lookup flags beyond those in [`crate::backend::kvs_flags`].

/// The value's blobs as a stream that ends with the last one.
pub const STREAM: i32 = 512;
/// With WATCH_APPEND: an empty response between the present value and what is
/// appended.
pub const WATCH_INITIAL_SENTINEL: i32 = 1024;
