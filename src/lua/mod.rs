//! A safe layer over Lua's C API. It does not depend on Flux or JSON.
//!
//! # Errors
//!
//! A Lua error leaves a function by a jump to the innermost protected call. The
//! jump runs no destructors of the Rust frames that it skips. Two types keep
//! errors and destructors apart:
//!
//! - A [`State`] offers only what cannot raise. Entry points read their arguments
//!   and do their work with it.
//! - A [`Writer`] offers what may raise: allocations above all. Code gets one only
//!   inside a protected call ([`State::protect`]) or at the end of an entry
//!   point, and owns nothing there: a value with a destructor lives in the frame
//!   that made the protected call, or in a userdata.
//!
//! An entry point returns a value that pushes itself ([`Push`]), or an
//! [`Error`]. [`mod@entry`] explains how they reach Lua.
//!
//! # The rules of the stack
//!
//! Four rules of Lua's API are not checked here, because a check would cost as
//! much as the call that it guards:
//!
//! 1. An index is that of an argument, of a value that was pushed, or a
//!    pseudo-index.
//! 2. A value is pushed only into a free slot. A call from Lua begins with 20 of
//!    them; loops and recursion reserve more.
//! 3. A function pops no more than its arguments and what it has pushed.
//! 4. Bytes and objects that were read from a slot are used only while the value
//!    stays in the slot.
//!
//! The contracts of [`State::new`] and [`Writer::new`] include these rules for all
//! code that gets the value. Debug builds of Lua check the first three
//! (`LUA_USE_APICHECK`); the tests run with such a build. Everything else that
//! Lua's API demands is checked, or is the contract of an `unsafe fn`.

pub mod callbacks;
pub(crate) mod compat;
pub mod entry;
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
pub use error::{Cause, Error, Failure, Raised, Result, StackError};
#[cfg(feature = "interpreter")]
pub use interpreter::Interpreter;
#[cfg(feature = "interpreter")]
pub use library::bind_to_program;
pub use library::{BindError, bind, check_version};
pub use push::{Bytes, FieldValue, Integer, Nil, OnTop, Push, Scratch, Text, copy};
pub use state::{Kind, RegistryKey, State};
pub use sys::{lua_CFunction, lua_State};
pub use userdata::{Class, ClassInfo, Object, Preallocated, closed};
pub use writer::Writer;
