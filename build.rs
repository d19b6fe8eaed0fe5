//! Finds the Lua to build for. bindgen makes the declarations from its headers; if
//! that is not possible, the declarations committed in src/lua/bindings are used.
//! For programs (feature `interpreter`) that Lua is compiled from source.
//! src/lua/sys.rs uses the declarations.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// A Lua that the module can be built for.
struct Lua {
    feature: &'static str,
    /// LUA_VERSION_NUM in its lua.h.
    version_num: u32,
    /// Its names in pkg-config; distributions use different ones.
    pkg_config: &'static [&'static str],
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    #[cfg_attr(
        not(feature = "interpreter"),
        expect(dead_code, reason = "says which Lua to compile")
    )]
    Puc(PucVersion),
    LuaJit,
}

#[derive(Clone, Copy)]
enum PucVersion {
    V51,
    V52,
    V53,
    V54,
    V55,
}

const LUAS: [Lua; 6] = [
    Lua {
        feature: "lua51",
        version_num: 501,
        pkg_config: &["lua5.1", "lua-5.1", "lua51"],
        source: Source::Puc(PucVersion::V51),
    },
    Lua {
        feature: "lua52",
        version_num: 502,
        pkg_config: &["lua5.2", "lua-5.2", "lua52"],
        source: Source::Puc(PucVersion::V52),
    },
    Lua {
        feature: "lua53",
        version_num: 503,
        pkg_config: &["lua5.3", "lua-5.3", "lua53"],
        source: Source::Puc(PucVersion::V53),
    },
    Lua {
        feature: "lua54",
        version_num: 504,
        pkg_config: &["lua5.4", "lua-5.4", "lua54"],
        source: Source::Puc(PucVersion::V54),
    },
    Lua {
        feature: "lua55",
        version_num: 505,
        pkg_config: &["lua5.5", "lua-5.5", "lua55"],
        source: Source::Puc(PucVersion::V55),
    },
    Lua {
        feature: "luajit",
        version_num: 501,
        pkg_config: &["luajit"],
        source: Source::LuaJit,
    },
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/lua/bindings");
    println!("cargo:rerun-if-env-changed=LUA_INCDIR");
    let lua = chosen();
    let vendored = vendored::build(lua);
    if let Some(library) = &vendored {
        link(&library.archive);
        // The tests that compile C programs use these.
        for (name, path) in [("ARCHIVE", &library.archive), ("INCLUDE", &library.include)] {
            println!("cargo:rustc-env=FLUX_LUA_{name}={}", path.display());
        }
    }
    compile_variadics();
    name_library(lua);
    let include = include_dir(lua, vendored.map(|library| library.include));
    declare(lua, include.as_deref());
}

/// Compiles lua_pusherror(), which is in C because it is variadic. A Rust library
/// exports no functions of C objects. So Rust defines and exports a function of
/// that name, and the linker replaces it by the C function.
fn compile_variadics() {
    println!("cargo:rerun-if-changed=src/capi/lutil.c");
    cc::Build::new()
        .file("src/capi/lutil.c")
        // LuaJIT unwinds the stack when an error is raised.
        .flag_if_supported("-fexceptions")
        .compile("flux_lua_variadics");
    println!("cargo:rustc-link-arg-cdylib=-Wl,--defsym=lua_pusherror=flux_lua_pusherror");
}

/// The version of the C ABI. It changes when code that was linked with an older
/// library cannot use a newer one.
const INTERFACE: u32 = 0;

/// Sets the SONAME of the shared object: the file name that code linked with it
/// loads. It names the Lua that the module is built for, because one process can
/// contain modules for several. The Makefile installs the library under it.
fn name_library(lua: &Lua) {
    let version = match lua.source {
        Source::Puc(_) => format!("{}.{}", lua.version_num / 100, lua.version_num % 100),
        Source::LuaJit => "jit".to_owned(),
    };
    let name = format!("libflux-lua{version}.so.{INTERFACE}");
    println!("cargo:rustc-env=FLUX_LUA_SONAME={name}");
    println!("cargo:rustc-link-arg-cdylib=-Wl,-soname,{name}");
}

/// The Lua whose feature is on. Fails unless exactly one is.
fn chosen() -> &'static Lua {
    let is_on =
        |lua: &&Lua| env::var_os(format!("CARGO_FEATURE_{}", lua.feature.to_uppercase())).is_some();
    let on: Vec<&'static Lua> = LUAS.iter().filter(is_on).collect();
    match on[..] {
        [lua] => lua,
        [] => fail(
            "choose the Lua to build for: --no-default-features --features \
                    lua51 | lua52 | lua53 | lua54 | lua55 | luajit",
        ),
        _ => {
            let names: Vec<&str> = on.iter().map(|lua| lua.feature).collect();
            fail(&format!(
                "the module is built for one Lua, and these features are on: {}; \
                 did you leave out --no-default-features?",
                names.join(", ")
            ))
        }
    }
}

fn fail(message: &str) -> ! {
    println!("cargo:warning={message}");
    eprintln!("error: {message}");
    exit(1)
}

/// Links the Lua into programs and tests. The shared object finds Lua's functions
/// at run time.
fn link(archive: &Path) {
    for kind in ["bins", "tests"] {
        // All of Lua is linked and exported: C modules that the program loads need
        // its functions.
        println!(
            "cargo:rustc-link-arg-{kind}=-Wl,--whole-archive,{},--no-whole-archive",
            archive.display()
        );
        for arg in ["-rdynamic", "-lm", "-ldl"] {
            println!("cargo:rustc-link-arg-{kind}={arg}");
        }
    }
}

/// The folder of Lua's headers: `LUA_INCDIR` (which LuaRocks sets), or pkg-config's,
/// or that of the Lua compiled from source.
fn include_dir(lua: &Lua, vendored: Option<PathBuf>) -> Option<PathBuf> {
    if let Some(dir) = env::var_os("LUA_INCDIR").filter(|dir| !dir.is_empty()) {
        let dir = PathBuf::from(dir);
        check_version(lua, &dir);
        return Some(dir);
    }
    lua.pkg_config
        .iter()
        .find_map(|name| pkg_config_include_dir(name))
        .filter(|dir| header_version(dir) == Some(lua.version_num))
        .or(vendored)
}

fn pkg_config_include_dir(name: &str) -> Option<PathBuf> {
    let output = Command::new("pkg-config")
        .args(["--cflags-only-I", name])
        .output()
        .ok()?;
    let flags = String::from_utf8(output.stdout).ok()?;
    let dirs = flags
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-I"));
    dirs.map(PathBuf::from)
        .chain([PathBuf::from("/usr/include")])
        .find(|dir| dir.join("lua.h").exists())
        .filter(|_| output.status.success())
}

fn check_version(lua: &Lua, dir: &Path) {
    match header_version(dir) {
        Some(version) if version == lua.version_num => check_luajit(lua, dir),
        Some(version) => fail(&format!(
            "LUA_INCDIR={} is Lua {}.{}, and the feature chosen is {}",
            dir.display(),
            version / 100,
            version % 100,
            lua.feature
        )),
        None => fail(&format!("LUA_INCDIR={} has no lua.h", dir.display())),
    }
}

/// Tells LuaJIT from Lua 5.1. Their headers have the same version, but each of the
/// two has functions that the other lacks.
fn check_luajit(lua: &Lua, dir: &Path) {
    let is_luajit = dir.join("luajit.h").exists();
    if is_luajit != matches!(lua.source, Source::LuaJit) {
        fail(&format!(
            "LUA_INCDIR={} is {}, and the feature chosen is {}",
            dir.display(),
            if is_luajit { "LuaJIT" } else { "Lua 5.1" },
            lua.feature
        ));
    }
}

/// LUA_VERSION_NUM in the lua.h in `dir`. Lua 5.5 defines it as an expression of the
/// major and minor version.
fn header_version(dir: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(dir.join("lua.h")).ok()?;
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix("#define"))
            .filter_map(|rest| rest.trim_start().strip_prefix(name))
            .find_map(|rest| rest.trim().trim_matches('"').parse::<u32>().ok())
    };
    value("LUA_VERSION_NUM").or_else(|| {
        let major = value("LUA_VERSION_MAJOR_N")?;
        Some(major * 100 + value("LUA_VERSION_MINOR_N")?)
    })
}

/// Writes the declarations to OUT_DIR, and sets FLUX_LUA_DECLARATIONS to their origin.
fn declare(lua: &Lua, include: Option<&Path>) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("lua.rs");
    let committed = Path::new("src/lua/bindings").join(format!("{}.rs", lua.feature));
    let made = match include {
        Some(dir) => generate(lua, dir),
        None => Err("no Lua headers were found".to_owned()),
    };
    let origin = match made {
        Ok(text) => {
            std::fs::write(&out, text).expect("OUT_DIR is writable");
            "bindgen"
        }
        Err(why) => {
            println!(
                "cargo:warning=using the committed declarations of {}: {why}",
                lua.feature
            );
            std::fs::copy(&committed, &out).expect("the committed declarations are readable");
            "committed"
        }
    };
    println!("cargo:rustc-env=FLUX_LUA_DECLARATIONS={origin}");
    tabulate(&out);
}

/// Rewrites bindgen's `extern` block into a call of the macro `functions` of
/// src/lua/sys.rs, which makes a table of pointers: the module does not link Lua.
fn tabulate(declarations: &Path) {
    const BLOCK: &str = "unsafe extern \"C-unwind\" {";
    let text = std::fs::read_to_string(declarations).expect("the declarations were written");
    assert_eq!(text.matches(BLOCK).count(), 1, "bindgen merges all blocks");
    let table = declarations.with_file_name("lua_functions.rs");
    std::fs::write(table, text.replace(BLOCK, "functions! {")).expect("OUT_DIR is writable");
}

/// The functions that the crate calls, of all versions of Lua. A function that the
/// headers declare must be in the Lua that loads the module.
const FUNCTIONS: &str = "lua_(call|callk|checkstack|close|concat|cpcall|createtable|error|gc|getallocf|\
getfenv|getfield|getglobal|gethook|gethookcount|gethookmask|getiuservalue|getmetatable|gettop|getuservalue|insert|isinteger|isnumber|newthread|\
newuserdata|newuserdatauv|next|objlen|pcall|pcallk|pushboolean|pushcclosure|pushinteger|\
pushlightuserdata|pushlstring|pushnil|pushnumber|pushthread|pushvalue|rawequal|rawget|rawgeti|\
rawgetp|rawlen|rawset|rawseti|rawsetp|remove|rotate|setfenv|setfield|setglobal|sethook|\
setiuservalue|setmetatable|settop|setuservalue|toboolean|tointegerx|tolstring|tonumber|\
tonumberx|topointer|tothread|touserdata|type|xmove)|\
luaL_(argerror|checkstack|checkversion_|loadbuffer|loadbufferx|newstate|openlibs|\
openselectedlibs|where)";

/// Functions that LuaJIT 2.1 took over from later Luas. The crate does not call
/// them there, so LuaJIT 2.0 works too.
const NOT_IN_LUAJIT_2_0: &str = "lua_(tointegerx|tonumberx)|luaL_loadbufferx";

const CONSTANTS: &str = "LUA_(VERSION_NUM|REGISTRYINDEX|GLOBALSINDEX|MULTRET|MINSTACK|\
T(NONE|NIL|BOOLEAN|LIGHTUSERDATA|NUMBER|STRING|TABLE|FUNCTION|USERDATA|THREAD)|\
GC(COLLECT|COUNT|COUNTB|STEP|STOP|RESTART))";

/// bindgen's declarations. The error is a text; bindgen fails without libclang.
fn generate(lua: &Lua, include: &Path) -> Result<String, String> {
    let builder = bindgen::Builder::default()
        .header_contents(
            "flux_lua_api.h",
            "#include <lua.h>\n#include <lauxlib.h>\n#include <lualib.h>\n",
        )
        .clang_arg(format!("-I{}", include.display()))
        .allowlist_function(FUNCTIONS)
        .blocklist_function(match lua.source {
            Source::LuaJit => NOT_IN_LUAJIT_2_0,
            Source::Puc(_) => "",
        })
        .allowlist_var(CONSTANTS)
        .opaque_type("lua_Debug")
        .blocklist_type("lua_(CFunction|Hook|KFunction|State|Debug|KContext)")
        .raw_line("pub enum lua_State {}")
        .raw_line("pub enum lua_Debug {}")
        .raw_line("pub type lua_KContext = isize;")
        .raw_line("pub type lua_CFunction = Option<unsafe extern \"C-unwind\" fn(L: *mut lua_State) -> ::std::os::raw::c_int>;")
        .raw_line("pub type lua_KFunction = Option<unsafe extern \"C-unwind\" fn(L: *mut lua_State, status: ::std::os::raw::c_int, ctx: lua_KContext) -> ::std::os::raw::c_int>;")
        .raw_line("pub type lua_Hook = Option<unsafe extern \"C-unwind\" fn(L: *mut lua_State, ar: *mut lua_Debug)>;")
        .override_abi(bindgen::Abi::CUnwind, ".*")
        .layout_tests(false)
        .formatter(bindgen::Formatter::Prettyplease)
        .generate_comments(false)
        .disable_header_comment()
        .merge_extern_blocks(true)
        .rust_target(bindgen::RustTarget::stable(85, 0).expect("a Rust release"))
        .rust_edition(bindgen::RustEdition::Edition2024);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate()));
    std::panic::set_hook(hook);
    match made {
        Ok(Ok(bindings)) => Ok(bindings.to_string()),
        Ok(Err(error)) => Err(format!("bindgen: {error}")),
        Err(_) => Err("bindgen found no libclang".to_owned()),
    }
}

struct Library {
    archive: PathBuf,
    include: PathBuf,
}

#[cfg(feature = "interpreter")]
mod vendored {
    use std::env;

    use super::{Library, Lua, PucVersion, Source};

    pub fn build(lua: &Lua) -> Option<Library> {
        Some(match lua.source {
            Source::Puc(version) => puc(version),
            Source::LuaJit => luajit(),
        })
    }

    fn puc(version: PucVersion) -> Library {
        // Distributions compile Lua as its own makefile does, which includes
        // functions of the version before. C modules use those.
        define(match version {
            PucVersion::V51 => None,
            PucVersion::V52 => Some("LUA_COMPAT_ALL"),
            PucVersion::V53 => Some("LUA_COMPAT_5_2"),
            PucVersion::V54 => Some("LUA_COMPAT_5_3"),
            PucVersion::V55 => Some("LUA_COMPAT_5_4"),
        });
        let built = lua_src::Build::new().build(match version {
            PucVersion::V51 => lua_src::Lua51,
            PucVersion::V52 => lua_src::Lua52,
            PucVersion::V53 => lua_src::Lua53,
            PucVersion::V54 => lua_src::Lua54,
            PucVersion::V55 => lua_src::Lua55,
        });
        Library {
            archive: built.lib_dir().join(format!("lib{}.a", built.libs()[0])),
            include: built.include_dir().to_owned(),
        }
    }

    /// Defines a macro for all C code that is compiled after this call.
    fn define(name: Option<&str>) {
        let Some(name) = name else { return };
        let target = env::var("TARGET").expect("cargo sets TARGET");
        // The crate cc uses the first of these that is set.
        let variables = [
            format!("CFLAGS_{target}"),
            format!("CFLAGS_{}", target.replace('-', "_")),
            "TARGET_CFLAGS".to_owned(),
            "CFLAGS".to_owned(),
        ];
        let is_set = |variable: &&String| env::var_os(variable).is_some();
        let variable = variables.iter().find(is_set).unwrap_or(&variables[3]);
        let flags = env::var(variable).unwrap_or_default();
        // SAFETY: this program has only one thread.
        unsafe { env::set_var(variable, format!("{flags} -D{name}")) };
    }

    fn luajit() -> Library {
        let built = luajit_src::Build::new().build();
        Library {
            archive: built.lib_dir().join(format!("lib{}.a", built.libs()[0])),
            include: built.include_dir().to_owned(),
        }
    }
}

#[cfg(not(feature = "interpreter"))]
mod vendored {
    use super::{Library, Lua};

    pub fn build(_: &Lua) -> Option<Library> {
        None
    }
}
