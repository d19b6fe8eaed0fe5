//! Checks that the declarations of Lua's C API in src/lua/bindings are those
//! that bindgen generates.

/// The declarations that the build used, and where they come from: "bindgen" or
/// the committed file.
const USED: &str = include_str!(concat!(env!("OUT_DIR"), "/lua.rs"));
const ORIGIN: &str = env!("FLUX_LUA_DECLARATIONS");

#[cfg(feature = "lua51")]
const COMMITTED: &str = include_str!("../src/lua/bindings/lua51.rs");
#[cfg(feature = "lua52")]
const COMMITTED: &str = include_str!("../src/lua/bindings/lua52.rs");
#[cfg(feature = "lua53")]
const COMMITTED: &str = include_str!("../src/lua/bindings/lua53.rs");
#[cfg(feature = "lua54")]
const COMMITTED: &str = include_str!("../src/lua/bindings/lua54.rs");
#[cfg(feature = "lua55")]
const COMMITTED: &str = include_str!("../src/lua/bindings/lua55.rs");
#[cfg(feature = "luajit")]
const COMMITTED: &str = include_str!("../src/lua/bindings/luajit.rs");

#[test]
fn the_committed_declarations_are_those_that_bindgen_generates() {
    if ORIGIN != "bindgen" {
        println!("skipped: no libclang, so the build used the committed declarations");
        return;
    }
    assert!(
        USED == COMMITTED,
        "bindgen generates other declarations; copy {}/lua.rs over the committed file",
        env!("OUT_DIR")
    );
}
