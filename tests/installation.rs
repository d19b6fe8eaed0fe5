//! What a user installs is found: the modules by LuaRocks, inside a Flux
//! instance beside flux-core's own module, and the distribution's modules by
//! the `flux-lua` command.

mod installed;

use std::collections::BTreeSet;
use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use flux::lua::NAME;
use installed::{Flux, find_in_path, lua, skipped};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The module, which is beside this test program.
fn module() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    test.with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"))
}

/// A folder of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("installation-{test}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the target folder is writable");
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        let parent = path.parent().expect("a path in a folder");
        fs::create_dir_all(parent).expect("the target folder is writable");
        path
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the target folder is writable");
        path
    }

    /// Install the modules as README's commands do.
    fn install(&self) -> &Folder {
        symlink(module(), self.path("lib/lua/flux.so")).expect("the folder is new");
        fs::copy(
            Path::new(REPOSITORY).join("lua/kvs.lua"),
            self.path("share/lua/kvs.lua"),
        )
        .expect("kvs.lua is in the repository");
        self
    }

    fn cpath(&self) -> String {
        format!("{}/lib/lua/?.so", self.0.display())
    }

    fn lua_path(&self) -> String {
        format!("{}/share/lua/?.lua", self.0.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command with no settings of Lua's or Flux's from outside.
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

/// What a command printed, and what it printed as errors.
fn output(command: &mut Command) -> (String, String) {
    let output = command.output().expect("the command was found");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What a command that succeeds printed.
fn printed(command: &mut Command) -> String {
    let output = command.output().expect("the command was found");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The distribution's interpreter; the test is skipped without one.
fn interpreter() -> Option<PathBuf> {
    let found = lua::find();
    if found.is_none() {
        skipped(&format!("no interpreter of {} is in PATH", lua::VERSION));
    }
    found
}

/// The `flux` command; the test is skipped without one.
fn flux() -> Option<PathBuf> {
    let found = Flux::find_command();
    if found.is_none() {
        skipped("no flux is in FLUX_PREFIX, pkg-config or PATH");
    }
    found
}

fn flux_lua(chunk: &str) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_flux-lua"));
    command.args(["-e", chunk]);
    command
}

const SHOW_PATHS: &str = "print(package.path) print(package.cpath)";

#[test]
fn the_command_looks_where_the_distributions_interpreter_does_in_the_same_order() {
    let Some(lua) = interpreter() else { return };
    let theirs = printed(command(lua).args(["-e", SHOW_PATHS]));
    let ours = printed(&mut flux_lua(SHOW_PATHS));
    for (theirs, ours) in theirs.lines().zip(ours.lines()) {
        let mut rest = ours.split(';');
        // What LuaJIT brings is for its very version.
        for template in theirs.split(';').filter(|path| !path.contains("luajit")) {
            assert!(
                rest.any(|ours| ours == template),
                "{template} is not, or not in this order, in {ours}"
            );
        }
    }
}

#[test]
fn the_environments_paths_have_the_default_where_they_say_so_and_no_empty_template() {
    let default = printed(&mut flux_lua(SHOW_PATHS));
    let (default, _) = default.split_once('\n').expect("two paths");
    assert!(!default.contains(";;"), "{default}");
    for (path, expected) in [
        ("a/?.lua", "a/?.lua".to_owned()),
        ("a/?.lua;;", format!("a/?.lua;{default}")),
        (";;a/?.lua", format!("{default};a/?.lua")),
        // As the flux command makes it of none and of one with a default.
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

/// Lua 5.1 and LuaJIT know no other.
#[cfg(not(any(feature = "lua51", feature = "luajit")))]
#[test]
fn a_path_for_this_lua_alone_comes_before_the_one_for_all() {
    let version = NAME.trim_start_matches("Lua ").replace('.', "_");
    let shown = printed(
        flux_lua(SHOW_PATHS)
            .env("LUA_PATH", "all")
            .env(format!("LUA_PATH_{version}"), "one")
            .env(format!("LUA_CPATH_{version}"), "other"),
    );
    assert_eq!(shown, "one\nother\n");
}

#[test]
fn the_command_has_all_libraries_and_functions_of_the_distributions_interpreter() {
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
    let lacks: Vec<_> = theirs.difference(&ours).collect();
    assert!(lacks.is_empty(), "{lacks:?}");
}

/// A C module that the distribution has for most Luas, and what shows that it
/// works: it calls Lua's functions, and they are this interpreter's.
fn uses(module: &str, chunk: &str, expected: &str) {
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
fn the_distributions_cjson_works_in_the_command() {
    uses(
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
fn the_distributions_posix_works_in_the_command() {
    uses(
        "posix",
        r#"local posix = require "posix"
        local r, w = posix.pipe()
        posix.write(w, "through a pipe")
        print(posix.read(r, 100), (posix.stat "/").type, (posix.stat "/nonexistent"))"#,
        "through a pipe\tdirectory\tnil",
    );
}

#[test]
fn the_distributions_socket_works_in_the_command() {
    uses(
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

/// Flux-core's module, as far as `kvs` can tell.
const ANOTHER: &str = "return { new = function() end }";

#[test]
fn kvs_names_another_flux_that_was_found_first_and_says_how_to_have_ours() {
    let Some(lua) = interpreter() else { return };
    let folder = Folder::new("another");
    folder.install();
    let another = folder.write("core/flux.lua", ANOTHER);
    let core = format!("{}/core/?.lua", folder.0.display());
    for before in ["", "require 'flux' "] {
        let chunk = format!("{before} require 'kvs'");
        let (_, said) = output(
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
            assert!(said.contains(&expected), "{expected:?} is not in {said}");
        }
    }
}

#[test]
fn kvs_does_not_load_another_flux_so_to_find_out_that_it_is_another() {
    let Some(lua) = interpreter() else { return };
    let folder = Folder::new("unloaded");
    folder.install();
    // To load this would be an error of the loader's.
    let another = folder.write("core/flux.so", "no library");
    let core = format!("{}/core/?.so", folder.0.display());
    let (_, said) = output(
        command(lua)
            .args(["-e", "require 'kvs'"])
            .env("LUA_PATH", folder.lua_path())
            .env("LUA_CPATH", format!("{core};{}", folder.cpath())),
    );
    let expected = format!("another one first:\n\t{}\n", another.display());
    assert!(said.contains(&expected), "{said}");
    assert!(
        said.contains(&format!("PREPEND='{}'", folder.cpath())),
        "{said}"
    );
}

const SHOW_MODULES: &str =
    "print(require 'kvs' == require 'flux'.kvs, (select(3, require 'flux'.version())))";

/// In `flux start`: plainly, in the job of an instance, and in an instance in
/// an instance.
#[test]
fn flux_finds_the_modules_where_they_are_put_before_its_own() {
    let (Some(lua), Some(flux)) = (interpreter(), flux()) else {
        return;
    };
    let folder = Folder::new("prepended");
    folder.install();
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
        let said = printed(&mut command);
        assert_eq!(said, format!("true\t{NAME}\n"), "{inner:?}");
    }
}

#[test]
fn kvs_says_so_where_flux_puts_its_own_module_before() {
    let (Some(lua), Some(flux)) = (interpreter(), flux()) else {
        return;
    };
    let folder = printed(command(&flux).args(["config", "builtin", "lua_cpath_add"]));
    let theirs = folder.trim().replace('?', "flux");
    if !Path::new(&theirs).exists() {
        skipped(&format!("there is no {theirs}"));
        return;
    }
    let folder = Folder::new("appended");
    folder.install();
    let (_, said) = output(
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
        assert!(said.contains(&expected), "{expected:?} is not in {said}");
    }
}

/// LuaRocks in a home of its own, with a `cargo` that has built already.
struct LuaRocks {
    folder: Folder,
    version: String,
}

impl LuaRocks {
    /// None, loudly, where it is not installed for this Lua.
    fn find(test: &str) -> Option<LuaRocks> {
        let lua = interpreter()?;
        let version = printed(command(&lua).args(["-e", "io.write(_VERSION:match '%d.%d')"]));
        let rocks = LuaRocks {
            folder: Folder::new(test),
            version,
        };
        let asked = find_in_path("luarocks")
            .and_then(|_| rocks.command(&["config", "lua_version"]).output().ok());
        let serves = |said: std::process::Output| {
            said.status.success() && String::from_utf8_lossy(&said.stdout).trim() == rocks.version
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
                module().display()
            ),
        );
        fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        Some(rocks)
    }

    fn copy(&self, name: &str) {
        let from = Path::new(REPOSITORY).join(name);
        fs::copy(from, self.folder.path(&format!("source/{name}"))).expect("it is there");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command("luarocks");
        let path = env::var_os("PATH").unwrap_or_default();
        let own = std::iter::once(self.folder.path("bin"));
        let folders = own.chain(env::split_paths(&path));
        let source = self.folder.path("source/");
        fs::create_dir_all(&source).expect("the target folder is writable");
        command
            .arg(format!("--lua-version={}", self.version))
            .args(arguments)
            .current_dir(source)
            .env("PATH", env::join_paths(folders).expect("folders"))
            .env("HOME", self.folder.path("home"));
        command
    }

    /// The Lua headers that cargo was called with, and the feature.
    fn make(&self, arguments: &[&str]) -> (String, String) {
        printed(self.command(&["make", "--local"]).args(arguments));
        let called = self.folder.path("source/called");
        let called = fs::read_to_string(called).expect("cargo was called");
        let (include, words) = called.split_once(' ').expect("some words");
        let (_, feature) = words.trim_end().rsplit_once(' ').expect("some words");
        (include.to_owned(), feature.to_owned())
    }

    /// A program with the environment that `luarocks path` says to set.
    fn installed(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
        let path = self.command(&["path"]);
        let mut settings = path;
        let mut command = command("sh");
        command
            .args([
                "-c",
                &format!("{}\nexec \"$@\"", printed(&mut settings)),
                "sh",
            ])
            .arg(program)
            .args(arguments)
            .env("HOME", self.folder.path("home"));
        printed(&mut command)
    }
}

fn feature() -> String {
    match NAME {
        "LuaJIT" => "luajit".to_owned(),
        name => name.to_lowercase().replace([' ', '.'], ""),
    }
}

#[test]
fn luarocks_builds_for_its_lua_and_installs_what_that_finds() {
    let Some(rocks) = LuaRocks::find("luarocks") else {
        return;
    };
    if cfg!(feature = "luajit") {
        printed(&mut rocks.command(&["config", "lua_interpreter", "luajit"]));
        // Debian's LuaRocks has Lua 5.1's headers for it; others look further.
        let (include, made) = rocks.make(&[]);
        assert_eq!(made, "luajit", "with headers in {include}");
        assert!(!include.contains("lua5.1"), "{include}");
    } else {
        assert_eq!(rocks.make(&[]).1, feature());
    }
    let lua = interpreter().expect("it was found before");
    let shown = format!("true\t{NAME}\n");
    assert_eq!(rocks.installed(lua, &["-e", SHOW_MODULES]), shown);
    let command = rocks.folder.path("home/.luarocks/bin/flux-lua");
    assert_eq!(rocks.installed(command, &["-e", SHOW_MODULES]), shown);
}

#[test]
fn luarocks_builds_for_luajit_where_it_has_luajits_headers() {
    let Some(rocks) = LuaRocks::find("luajit-headers") else {
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
    let include = rocks.folder.path("include");
    let include = include.to_str().expect("a path that is text");
    let (used, made) = rocks.make(&[&format!("LUA_INCDIR={include}")]);
    assert_eq!((used.as_str(), made.as_str()), (include, "luajit"));
}
