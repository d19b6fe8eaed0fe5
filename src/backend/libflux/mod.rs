//! The real back end: libflux-core, found at run time. Each C object is owned
//! by one Rust type; what a handle can do is said in `backend`.

mod close;
mod connection;
mod continuation;
mod descriptor;
mod dispatch;
mod future;
mod handle;
mod kvs;
mod kvsdir;
mod library;
mod lookout;
mod message;
mod open;
mod reactor;
mod sigmask;
mod signal;
mod sys;
mod tags;
mod text;
mod watcher;

pub use handle::FluxHandle;
pub use kvsdir::FluxKvsdir;
pub use message::FluxMessage;
pub use open::open;
pub use sys::{flux_kvsdir_t, flux_msg_t, flux_t};

/// libflux-core's version, or `None` where it is not installed.
pub fn version() -> Option<String> {
    let api = library::api().ok()?;
    // SAFETY: gives a string that is the library's, and lives as long.
    unsafe { text::copied((api.flux_core_version_string)()) }
}
