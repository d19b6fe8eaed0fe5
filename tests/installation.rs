//! Tests that installed modules are found: modules installed by LuaRocks; ours
//! inside a Flux instance, where flux-core has a module of the same name; and the
//! distribution's modules in the `flux-lua` command.

mod installed;
mod support;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use flux::lua::NAME;
use installed::{Flux, find_in_path, lua, skipped};
use support::TestFolder;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// A folder in which the modules are installed as the README says.
struct Installation(TestFolder);

impl Installation {
    fn new() -> Installation {
        let folder = TestFolder::new("installation");
        folder.link_module("lib/lua/flux.so");
        let kvs = Path::new(REPOSITORY).join("lua/kvs.lua");
        fs::copy(kvs, folder.join("share/lua/kvs.lua")).expect("kvs.lua is in the repository");
        Installation(folder)
    }

    /// Writes a file into the folder `core`, which stands for flux-core's modules.
    fn write_core(&self, name: &str, text: &str) -> PathBuf {
        self.0.write(format!("core/{name}"), text)
    }

    /// A search path for the folder `core`.
    fn core_path(&self, template: &str) -> String {
        format!("{}/core/{template}", self.0.path().display())
    }

    fn cpath(&self) -> String {
        format!("{}/lib/lua/?.so", self.0.path().display())
    }

    fn lua_path(&self) -> String {
        format!("{}/share/lua/?.lua", self.0.path().display())
    }
}

/// A command without the environment's settings for Lua, Flux and LuaRocks.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("LUA_") || text.starts_with("FLUX_") || text.starts_with("LUAROCKS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command. Returns its output and its errors.
fn output(command: &mut Command) -> (String, String) {
    let output = command.output().expect("the command was found");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a command, which must succeed. Returns its output.
fn printed(command: &mut Command) -> String {
    let output = command.output().expect("the command was found");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The distribution's interpreter. Without one the test is skipped.
fn interpreter() -> Option<PathBuf> {
    let found = lua::find();
    if found.is_none() {
        skipped(&format!("no interpreter of {} is in PATH", lua::VERSION));
    }
    found
}

/// Runs `test` with the distribution's interpreter and each `flux` command.
fn each_flux(test: impl Fn(PathBuf, PathBuf)) {
    let Some(lua) = interpreter() else { return };
    let fluxes = Flux::all_with_command();
    if fluxes.is_empty() {
        skipped("no flux is in FLUX_PREFIX, pkg-config or PATH");
    }
    for flux in fluxes {
        println!("{flux}");
        test(lua.clone(), flux.command().expect("a command"));
    }
}

/// The `flux-lua` command with a chunk to run.
fn flux_lua(chunk: &str) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_flux-lua"));
    command.args(["-e", chunk]);
    command
}

const SHOW_PATHS: &str = "print(package.path) print(package.cpath)";

#[test]
fn flux_lua_searches_the_paths_of_the_distributions_interpreter_in_the_same_order() {
    let Some(lua) = interpreter() else { return };
    let theirs = printed(command(lua).args(["-e", SHOW_PATHS]));
    let ours = printed(&mut flux_lua(SHOW_PATHS));
    for (theirs, ours) in theirs.lines().zip(ours.lines()) {
        let mut rest = ours.split(';');
        // LuaJIT's own modules fit only its exact version.
        for template in theirs.split(';').filter(|path| !path.contains("luajit")) {
            assert!(
                rest.any(|ours| ours == template),
                "{template} is missing or in another order in {ours}"
            );
        }
    }
}

#[test]
fn two_semicolons_in_lua_path_stand_for_the_default_and_leave_no_empty_template() {
    let default = printed(&mut flux_lua(SHOW_PATHS));
    let (default, _) = default.split_once('\n').expect("two paths");
    assert!(!default.contains(";;"), "{default}");
    for (path, expected) in [
        ("a/?.lua", "a/?.lua".to_owned()),
        ("a/?.lua;;", format!("a/?.lua;{default}")),
        (";;a/?.lua", format!("{default};a/?.lua")),
        // The flux command makes such paths when it adds its own.
        ("a/?.lua;;;", format!("a/?.lua;{default}")),
        ("a/?.lua;b/?.lua;;;;", format!("a/?.lua;b/?.lua;{default}")),
        ("a/?.lua;;b/?.lua;;", format!("a/?.lua;{default};b/?.lua")),
        ("", String::new()),
    ] {
        let mut command = flux_lua(SHOW_PATHS);
        let shown = printed(command.env("LUA_PATH", path).env("LUA_CPATH", path));
        let (shown, cpath) = shown.split_once('\n').expect("two paths");
        assert_eq!(shown, expected, "{path}");
        assert!(!cpath.contains(";;"), "{cpath}");
    }
}

/// Lua 5.1 and LuaJIT have no variables for one version.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[test]
fn the_variable_for_this_lua_version_overrides_the_one_for_all_versions() {
    let version = NAME.trim_start_matches("Lua ").replace('.', "_");
    let shown = printed(
        flux_lua(SHOW_PATHS)
            .env("LUA_PATH", "for all")
            .env(format!("LUA_PATH_{version}"), "for this")
            .env(format!("LUA_CPATH_{version}"), "for this, C"),
    );
    assert_eq!(shown, "for this\nfor this, C\n");
}

#[test]
fn flux_lua_has_all_libraries_and_functions_of_the_distributions_interpreter() {
    let Some(lua) = interpreter() else { return };
    let list = "for name, value in pairs(_G) do
      print(name)
      for key in pairs(type(value) == 'table' and value or {}) do
        if value ~= _G and type(key) == 'string' then print(name .. '.' .. key) end
      end
    end";
    let theirs = printed(command(lua).args(["-e", list]));
    let ours = printed(&mut flux_lua(list));
    let ours: BTreeSet<&str> = ours.lines().collect();
    let theirs: BTreeSet<&str> = theirs.lines().collect();
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs a chunk in flux-lua that uses one of the distribution's C modules. Skips
/// the test if the distribution does not have the module for this Lua.
fn check_c_module(module: &str, chunk: &str, expected: &str) {
    let Some(lua) = interpreter() else { return };
    let has = format!("assert(pcall(require, '{module}'))");
    let is_there = command(lua).args(["-e", &has]).output();
    if !is_there.is_ok_and(|asked| asked.status.success()) {
        skipped(&format!("{} has no module {module}", lua::VERSION));
        return;
    }
    assert_eq!(printed(&mut flux_lua(chunk)).trim_end(), expected);
}

#[test]
fn the_distributions_cjson_works_in_flux_lua() {
    check_c_module(
        "cjson",
        r#"local cjson = require "cjson"
        local t = cjson.decode '{"list":[1,{"a":"b"}],"none":null}'
        print(t.list[2].a, t.none == cjson.null, cjson.encode { t.list })
        print(pcall(cjson.decode, "{"))"#,
        "b\ttrue\t[[1,{\"a\":\"b\"}]]\n\
         false\tExpected object key string but found T_END at character 2",
    );
}

#[test]
fn the_distributions_posix_works_in_flux_lua() {
    check_c_module(
        "posix",
        r#"local posix = require "posix"
        local r, w = posix.pipe()
        posix.write(w, "through a pipe")
        print(posix.read(r, 100), (posix.stat "/").type, (posix.stat "/nonexistent"))"#,
        "through a pipe\tdirectory\tnil",
    );
}

#[test]
fn the_distributions_socket_works_in_flux_lua() {
    check_c_module(
        "socket",
        r#"local socket = require "socket"
        local server = assert(socket.bind("127.0.0.1", 0))
        local address, port = server:getsockname()
        local client = assert(socket.connect(address, port))
        local peer = assert(server:accept())
        peer:send "one line\n"
        print((client:receive "*l"))
        peer:close()
        print((select(2, client:receive "*l")))"#,
        "one line\nclosed",
    );
}

/// A stand-in for flux-core's module.
const CORE_MODULE: &str = "return { new = function() end }";

#[test]
fn kvs_names_another_flux_module_that_is_found_first_and_how_to_prefer_ours() {
    let Some(lua) = interpreter() else { return };
    let folder = Installation::new();
    let another = folder.write_core("flux.lua", CORE_MODULE);
    let core = folder.core_path("?.lua");
    for before in ["", "require 'flux' "] {
        let chunk = format!("{before} require 'kvs'");
        let (_, output) = output(
            command(&lua)
                .args(["-e", &chunk])
                .env("LUA_PATH", format!("{core};{}", folder.lua_path()))
                .env("LUA_CPATH", folder.cpath()),
        );
        for expected in [
            format!("\t{}\n", another.display()),
            format!("\texport FLUX_LUA_CPATH_PREPEND='{}'\n", folder.cpath()),
            format!("\texport FLUX_LUA_PATH_PREPEND='{}'\n", folder.lua_path()),
        ] {
            assert!(
                output.contains(&expected),
                "{expected:?} is not in {output}"
            );
        }
    }
}

#[test]
fn kvs_recognizes_another_flux_so_without_loading_it() {
    let Some(lua) = interpreter() else { return };
    let folder = Installation::new();
    // Loading this file would fail with another error.
    let another = folder.write_core("flux.so", "not a library");
    let core = folder.core_path("?.so");
    let (_, output) = output(
        command(lua)
            .args(["-e", "require 'kvs'"])
            .env("LUA_PATH", folder.lua_path())
            .env("LUA_CPATH", format!("{core};{}", folder.cpath())),
    );
    let expected = format!("another one first:\n\t{}\n", another.display());
    assert!(output.contains(&expected), "{output}");
    assert!(
        output.contains(&format!("PREPEND='{}'", folder.cpath())),
        "{output}"
    );
}

const SHOW_MODULES: &str =
    "print(require 'kvs' == require 'flux'.kvs, (select(3, require 'flux'.version())))";

/// Runs a script directly in `flux start`, in a job, and in a nested instance.
#[test]
fn with_the_prepend_variables_a_flux_instance_finds_our_modules() {
    each_flux(find_our_modules);
}

fn find_our_modules(lua: PathBuf, flux: PathBuf) {
    let folder = Installation::new();
    for inner in [&["env"][..], &["run"], &["start", "flux", "env"]] {
        let mut command = command(&flux);
        command.args(["start"]).arg(&flux).args(inner);
        command
            .arg(&lua)
            .args(["-e", SHOW_MODULES])
            .env("FLUX_LUA_CPATH_PREPEND", folder.cpath())
            .env("FLUX_LUA_PATH_PREPEND", folder.lua_path());
        if let Some(bin) = flux.parent() {
            let path = env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(bin.to_owned()).chain(env::split_paths(&path));
            command.env("PATH", env::join_paths(folders).expect("folders"));
        }
        let output = printed(&mut command);
        assert_eq!(output, format!("true\t{NAME}\n"), "{inner:?}");
    }
}

#[test]
fn without_the_prepend_variables_kvs_names_flux_cores_module() {
    each_flux(name_flux_cores_module);
}

fn name_flux_cores_module(lua: PathBuf, flux: PathBuf) {
    let folder = printed(command(&flux).args(["config", "builtin", "lua_cpath_add"]));
    let theirs = folder.trim().replace('?', "flux");
    if !Path::new(&theirs).exists() {
        skipped(&format!("there is no {theirs}"));
        return;
    }
    let folder = Installation::new();
    let (_, output) = output(
        command(flux)
            .arg("start")
            .arg(lua)
            .args(["-e", "require 'kvs'"])
            .env("LUA_CPATH", format!("{};;", folder.cpath()))
            .env("LUA_PATH", format!("{};;", folder.lua_path())),
    );
    for expected in [
        format!("\t{theirs}\n"),
        format!("\texport FLUX_LUA_CPATH_PREPEND='{}'\n", folder.cpath()),
        format!("\texport FLUX_LUA_PATH_PREPEND='{}'\n", folder.lua_path()),
    ] {
        assert!(
            output.contains(&expected),
            "{expected:?} is not in {output}"
        );
    }
}

/// LuaRocks with a home folder of its own, and a fake `cargo` that installs the
/// module already built.
struct LuaRocks {
    folder: TestFolder,
    version: String,
}

impl LuaRocks {
    /// None, with a message, if it is not installed for this Lua.
    fn find() -> Option<LuaRocks> {
        let lua = interpreter()?;
        let version = printed(command(&lua).args(["-e", "io.write(_VERSION:match '%d.%d')"]));
        let rocks = LuaRocks {
            folder: TestFolder::new("luarocks"),
            version,
        };
        let asked = find_in_path("luarocks")
            .and_then(|_| rocks.command(&["config", "lua_version"]).output().ok());
        let serves = |output: std::process::Output| {
            output.status.success()
                && String::from_utf8_lossy(&output.stdout).trim() == rocks.version
        };
        if !asked.is_some_and(serves) {
            skipped(&format!("no luarocks serves {}", lua::VERSION));
            return None;
        }
        rocks.folder.write("home/.luarocks/made", "");
        rocks.copy("flux-lua-scm-1.rockspec");
        rocks.copy("lua/kvs.lua");
        rocks.copy("lua/flux-lua.lua");
        let cargo = rocks.folder.write(
            "bin/cargo",
            &format!(
                "#!/bin/sh\n\
                 echo \"$LUA_INCDIR $*\" >called\n\
                 mkdir -p target/release && cp '{}' target/release/libflux.so\n",
                support::module().display()
            ),
        );
        fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).expect("the file exists");
        Some(rocks)
    }

    /// Copies a file of the repository to the folder that LuaRocks builds.
    fn copy(&self, name: &str) {
        let from = Path::new(REPOSITORY).join(name);
        let to = self.folder.join(format!("source/{name}"));
        fs::copy(from, to).expect("the file is in the repository");
    }

    /// A luarocks command.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command("luarocks");
        let path = env::var_os("PATH").unwrap_or_default();
        let own = std::iter::once(self.folder.join("bin"));
        let folders = own.chain(env::split_paths(&path));
        let source = self.folder.join("source/");
        fs::create_dir_all(&source).expect("the folder is writable");
        command
            .arg(format!("--lua-version={}", self.version))
            .args(arguments)
            .current_dir(source)
            .env(
                "PATH",
                env::join_paths(folders).expect("no colons in paths"),
            )
            .env("HOME", self.folder.join("home"));
        command
    }

    /// Runs `luarocks make`. Returns the folder of Lua headers and the feature
    /// with which it called cargo.
    fn make(&self, arguments: &[&str]) -> (String, String) {
        printed(self.command(&["make", "--local"]).args(arguments));
        let called = self.folder.join("source/called");
        let called = fs::read_to_string(called).expect("cargo was called");
        let (include, arguments) = called.split_once(' ').expect("cargo has arguments");
        let feature = arguments
            .split_whitespace()
            .last()
            .expect("cargo has arguments");
        (include.to_owned(), feature.to_owned())
    }

    /// Runs a program in the environment that `luarocks path` prints. Returns its
    /// output.
    fn run_installed(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        let settings = printed(&mut self.command(&["path"]));
        let mut command = command("sh");
        command
            .args(["-c", &format!("{settings}\nexec \"$@\""), "sh"])
            .arg(program)
            .args(arguments)
            .env("HOME", self.folder.join("home"));
        printed(&mut command)
    }
}

/// The cargo feature for this Lua.
fn feature() -> String {
    match NAME {
        "LuaJIT" => "luajit".to_owned(),
        name => name.to_lowercase().replace([' ', '.'], ""),
    }
}

#[test]
fn luarocks_builds_for_its_lua_and_that_lua_finds_the_modules() {
    let Some(rocks) = LuaRocks::find() else {
        return;
    };
    if cfg!(feature = "luajit") {
        printed(&mut rocks.command(&["config", "lua_interpreter", "luajit"]));
        // Debian's LuaRocks passes Lua 5.1's headers for LuaJIT. The rockspec
        // must find LuaJIT's.
        let (include, made) = rocks.make(&[]);
        assert_eq!(made, "luajit", "with headers in {include}");
        assert!(!include.contains("lua5.1"), "{include}");
    } else {
        assert_eq!(rocks.make(&[]).1, feature());
    }
    let lua = interpreter().expect("the interpreter was found before");
    let shown = format!("true\t{NAME}\n");
    assert_eq!(rocks.run_installed(lua, &["-e", SHOW_MODULES]), shown);
    let command = rocks.folder.join("home/.luarocks/bin/flux-lua");
    assert_eq!(rocks.run_installed(command, &["-e", SHOW_MODULES]), shown);
}

#[test]
fn luarocks_builds_for_luajit_if_it_is_given_luajits_headers() {
    let Some(rocks) = LuaRocks::find() else {
        return;
    };
    if rocks.version != "5.1" {
        skipped("LuaRocks serves LuaJIT as Lua 5.1");
        return;
    }
    rocks.folder.write("include/luajit.h", "");
    rocks
        .folder
        .write("include/lua.h", "#define LUA_VERSION_NUM 501\n");
    let include = rocks.folder.join("include");
    let include = include.to_str().expect("the path is UTF-8");
    let (used, made) = rocks.make(&[&format!("LUA_INCDIR={include}")]);
    assert_eq!((used.as_str(), made.as_str()), (include, "luajit"));
}
