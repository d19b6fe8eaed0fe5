//! What a handle's reactor waits for: running and stopping it, and the objects
//! that scripts make from a table with a `handler`.

pub mod fd;
pub mod form;
pub mod iowatcher;
pub mod making;
pub mod msghandler;
pub mod reference;
pub mod run;
pub mod signal;
pub mod slots;
pub mod stat;
pub mod timer;
pub mod watcher;
