//! Links the whole Lua that the features select and exports its symbols. The module
//! links to no Lua; it looks up the functions at run time.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CFLAGS");
    let archive = archive();
    println!(
        "cargo:rustc-link-arg-bins=-Wl,--whole-archive,{},--no-whole-archive",
        archive.display()
    );
    for arg in ["-rdynamic", "-lm", "-ldl"] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}

#[cfg(feature = "luajit")]
fn archive() -> PathBuf {
    let built = luajit_src::Build::new().build();
    built.lib_dir().join(format!("lib{}.a", built.libs()[0]))
}

#[cfg(not(feature = "luajit"))]
fn archive() -> PathBuf {
    let version = if cfg!(feature = "lua51") {
        lua_src::Lua51
    } else if cfg!(feature = "lua52") {
        lua_src::Lua52
    } else if cfg!(feature = "lua53") {
        lua_src::Lua53
    } else if cfg!(feature = "lua55") {
        lua_src::Lua55
    } else {
        lua_src::Lua54
    };
    let built = lua_src::Build::new().build(version);
    built.lib_dir().join(format!("lib{}.a", built.libs()[0]))
}
