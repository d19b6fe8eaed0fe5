//! The reactor of a handle: running and stopping it, and the watchers that scripts
//! make from a table with a `handler`. Watchers of KVS keys are in `kvs`.

pub mod builder;
pub mod class;
pub mod fd;
pub mod iowatcher;
pub mod msghandler;
pub mod options;
pub mod reference;
pub mod run;
pub mod signal;
pub mod slots;
mod spelling;
pub mod stat;
pub mod timer;
pub mod watcher;
