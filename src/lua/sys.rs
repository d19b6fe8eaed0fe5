//! Lua's C API as its headers declare it: made by `build.rs`. What differs
//! from version to version is in `compat`.

pub use declarations::*;

// The names are C's, and each Lua version leaves another part unused.
#[allow(dead_code, non_camel_case_types, non_snake_case)]
mod declarations {
    include!(concat!(env!("OUT_DIR"), "/lua.rs"));
}
