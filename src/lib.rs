//! Lua bindings for Flux, as one shared object: `require "flux"`.
//!
//! Arrows go down only:
//!
//! - [`api`]: what a script sees, one file a Lua class
//! - [`capi`]: what a C plugin sees, over the same classes
//! - [`json`]: Lua ↔ JSON, straight between the Lua stack and bytes
//! - [`lua`]: Lua's C API made safe to build on; knows nothing of Flux
//! - [`backend`]: what a Flux handle can do, as one trait; knows no Lua
//!   - [`backend::libflux`]: the real one, found at run time
//!   - [`backend::embedded`]: a broker in this process
//! - `symbols`: C functions that are found at run time; knows nothing of whose

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
