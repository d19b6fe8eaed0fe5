//! The real back end: libflux-core, found at run time. One Rust type owns each
//! C object. `backend` describes the operations of a handle.
//!
//! Each module uses only those above it:
//!
//! - `sys`, `text`, `library`: C's functions and strings, and the search for
//!   the library
//! - `sigmask`, `close`: precautions around some of libflux's calls
//! - `message`, `tags`: messages, and matchtags in use
//! - `connection`, `open`: a handle, its queue, and how it is opened
//! - `disconnect`, `reactor`: runs of its reactor
//! - `handler`, `session`: message handlers, and the state that all modules
//!   below share
//! - `dispatch`, `descriptor`, `signal`, `watcher`: the sources of a reactor's
//!   events
//! - `future`, `kvs`, `kvsdir`, `handle`: the operations of scripts

mod close;
mod connection;
mod descriptor;
mod disconnect;
mod dispatch;
mod future;
mod handle;
mod handler;
mod kvs;
mod kvsdir;
mod library;
mod message;
mod open;
mod reactor;
mod session;
mod sigmask;
mod signal;
mod sys;
mod tags;
mod text;
mod watcher;

pub use handle::{FluxHandle, open};
pub use kvsdir::FluxKvsdir;
pub use message::FluxMessage;
pub use sys::{flux_kvsdir_t, flux_msg_t, flux_t};

/// libflux-core's version. None if it is not installed.
pub fn version() -> Option<String> {
    let api = library::api().ok()?;
    // SAFETY: the call returns a string that is valid for ever.
    unsafe { text::copied((api.flux_core_version_string)()) }
}
