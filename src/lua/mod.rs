//! Lua's C API made safe to build on. Knows nothing of Flux.
//!
//! The shape that keeps a Lua error from jumping over a destructor:
//!
//! - A [`State`] offers only what cannot raise. Entry points read their
//!   arguments and do their work with it, inside the panic barrier.
//! - A [`Writer`] offers what may raise, allocations above all. It is handed
//!   out only inside a protected call ([`State::protect`]) to code that owns
//!   nothing: whatever has a destructor lives in the frame that made that
//!   call, or in userdata.
//! - What an entry point returns is a value that knows how to [`Push`] itself;
//!   `entry` pushes it that way, drops it, and only then raises if it must.

pub mod callbacks;
pub(crate) mod compat;
mod entry;
mod error;
mod exported;
mod external_memory;
#[cfg(feature = "interpreter")]
mod interpreter;
mod library;
mod push;
mod state;
pub(crate) mod sys;
mod traceback;
mod userdata;
mod writer;

pub use callbacks::Callbacks;
pub use compat::{NAME, upvalue_index};
pub use entry::{Prepare, enter};
pub use error::{Cause, Error, Failure, Result, StackError};
#[cfg(feature = "interpreter")]
pub use interpreter::Interpreter;
#[cfg(feature = "interpreter")]
pub use library::bind_to_program;
pub use library::{Refusal, bind, check_version};
pub use push::{Bytes, FieldValue, Integer, Nil, OnTop, Push, Scratch, Text, copy};
pub use state::{Kind, Raised, RegistryKey, State};
pub use sys::{lua_CFunction, lua_State};
pub use userdata::{Class, ClassInfo, Object, Preallocated, closed};
pub use writer::Writer;
