//! The functions and tables of module `flux` that need no handle.

pub mod assert;
pub mod exitstatus;
pub mod names;
