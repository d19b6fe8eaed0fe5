//! The committed declarations of Lua's C API are those that bindgen makes.

/// What the build used, and whose that was.
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
fn committed_declarations_are_what_bindgen_makes() {
    if ORIGIN != "bindgen" {
        println!("skipped: there is no libclang, so the build used the committed declarations");
        return;
    }
    assert!(
        USED == COMMITTED,
        "bindgen now makes other declarations; copy {}/lua.rs over the committed file",
        env!("OUT_DIR")
    );
}
