//! Lua bindings for Flux, as one shared object: `require "flux"`.
//!
//! ARCHITECTURE.md describes how the parts work together. Each uses only those
//! below it:
//!
//! - [`capi`]: the functions that C code calls
//! - [`api`]: the classes and functions that scripts use
//! - [`json`]: converts between Lua values and JSON text
//! - [`lua`]: Lua's C API, made safe. Knows nothing of Flux or JSON
//! - [`backend`]: what a Flux handle can do, as traits. Knows nothing of Lua
//!   - [`backend::libflux`]: the traits on libflux-core
//!   - [`backend::embedded`]: the traits on a broker in this process
//! - `symbols`: tables of C functions that are found at run time
//!
//! The Rust API is for the tests and the interpreter of this package. It may
//! change at any time.

#![warn(missing_docs)]
#![warn(clippy::undocumented_unsafe_blocks)]

#[cfg(not(target_os = "linux"))]
compile_error!("flux-lua supports Linux only, as Flux does");

pub mod api;
pub mod backend;
pub mod capi;
pub mod json;
pub mod lua;
mod symbols;

/// How many JSON arrays and objects may be open within one another, in every
/// text that is read or written here.
pub const MAX_JSON_DEPTH: u32 = 1000;

pub use api::{luaopen_flux, luaopen_kvs};
