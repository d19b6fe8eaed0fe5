//! Tests of `make install`: the files that it installs, and the programs in
//! examples/c, which are built against them with pkg-config.

mod installed;
mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use installed::{Flux, find_in_path, lua, pkg_config, skipped};

/// The name of this Lua for `make`: its version, or `luajit`.
fn make_name() -> &'static str {
    lua::VERSION.strip_prefix("Lua ").unwrap_or("luajit")
}

/// The version in the path of this Lua's modules.
fn path_version() -> &'static str {
    lua::VERSION.strip_prefix("Lua ").unwrap_or("5.1")
}

#[test]
fn make_install_uses_destdir_prefix_and_libdir() {
    let Some(place) = Place::new("package") else {
        return;
    };
    let stage = place.path("stage");
    let _ = fs::remove_dir_all(&stage);
    place.install(&[
        &format!("DESTDIR={}", stage.display()),
        "PREFIX=/usr",
        "LIBDIR=/usr/lib64",
    ]);
    let library = stage.join("usr/lib64").join(env!("FLUX_LUA_SONAME"));
    let file = library.canonicalize().expect("the library is installed");
    assert_eq!(file.parent(), library.parent());
    // All names lead to one file, so that a process never loads it twice.
    for link in [
        stage.join("usr/lib64").join(format!("lib{}.so", name())),
        stage.join(format!("usr/lib64/lua/{}/flux.so", path_version())),
    ] {
        assert_eq!(link.canonicalize().expect("a link"), file);
        let target = fs::read_link(&link).expect("a link");
        assert!(target.is_relative(), "{link:?} leads to {target:?}");
    }
    assert!(
        stage
            .join(format!("usr/share/lua/{}/kvs.lua", path_version()))
            .exists()
    );
    for header in ["flux", "jansson", "kvs", "zmsg"] {
        let header = format!("usr/include/flux-lua/{header}-lua.h");
        assert!(stage.join(&header).exists(), "{header}");
    }
    assert!(stage.join("usr/include/flux-lua/lutil.h").exists());

    let packages = stage.join("usr/lib64/pkgconfig");
    let text = fs::read_to_string(packages.join("flux-lua.pc")).expect("flux-lua.pc");
    assert_eq!(
        fs::read_to_string(packages.join(format!("{}.pc", name()))).expect("the file for this Lua"),
        text
    );
    assert!(
        text.contains("prefix=/usr\nlibdir=${prefix}/lib64\n"),
        "{text}"
    );
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("Version: {version}\n")), "{text}");
    assert!(!text.contains('@'), "{text}");
}

#[test]
fn the_librarys_soname_is_the_name_of_the_installed_file() {
    if find_in_path("readelf").is_none() {
        return skipped("no readelf, so the SONAME was not checked");
    }
    let output = Command::new("readelf")
        .arg("-d")
        .arg(support::module())
        .output()
        .expect("readelf runs");
    let output = String::from_utf8_lossy(&output.stdout);
    let soname = format!("[lib{}.so.0]", name());
    assert!(output.contains(&soname), "no {soname} in {output}");
    assert_eq!(soname, format!("[{}]", env!("FLUX_LUA_SONAME")));
}

#[test]
fn make_install_refuses_an_unknown_lua() {
    let Some(place) = Place::new("unknown") else {
        return;
    };
    let output = place.make(&["-C", env!("CARGO_MANIFEST_DIR"), "install", "LUA=4.0"]);
    let output = output.expect_err("make fails");
    assert!(output.contains("LUA=4.0 is none of 5.1,"), "{output}");
}

#[test]
fn a_program_built_with_pkg_config_runs_scripts() {
    let Some(place) = Place::new("program") else {
        return;
    };
    let program = place.example("embed");
    let output = run(Command::new(&program)
        .arg(place.path("embed.lua"))
        .arg("World")
        .env("FLUX_URI", "embed://?size=2")
        // The program must use the library that it is linked with.
        .env("LUA_CPATH", "/nonexistent/?.so"));
    assert_eq!(output, "text\tHello World!\trank 0 of 2\n");

    // The module that Lua finds is the same library that the program links.
    let cmod = place.variable("lua_cmod");
    let script = place.path("same.lua");
    fs::write(
        &script,
        "local linked = require 'flux'\n\
         package.preload.flux, package.loaded.flux = nil, nil\n\
         package.cpath = ... .. '/?.so'\n\
         local found = require 'flux'\n\
         assert (found ~= linked)\n\
         local class = getmetatable (linked.new 'embed://')\n\
         assert (getmetatable (found.new 'embed://') == class, 'another copy')\n\
         print 'the same'\n",
    )
    .expect("the folder is writable");
    assert_eq!(
        run(Command::new(&program).arg(&script).arg(cmod)),
        "the same\n"
    );
}

#[test]
fn a_broker_module_that_is_built_with_pkg_config_serves_from_lua() {
    let mut fluxes = Flux::all();
    fluxes.retain(|flux| flux.command().is_some());
    if fluxes.is_empty() {
        skipped("there is no Flux with headers, so examples/c/hello.c was not run");
    }
    for flux in fluxes {
        println!("{flux}");
        serve_from_lua(&flux);
    }
}

fn serve_from_lua(flux: &Flux) {
    let Some(place) = Place::with_flux("module", flux) else {
        return;
    };
    let command = flux.command().expect("a command");
    let module = place.example("hello.so");
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/hello_test.lua");
    let output = run(Command::new(&command)
        .args(["start", "--test-size=1", env!("CARGO_BIN_EXE_flux-lua")])
        .args([test, module, place.path("hello.lua")])
        .envs(flux.environment()));
    assert!(output.contains("the module serves\n"), "{output}");
}

/// The name of the library for this Lua, such as `flux-lua5.4`.
fn name() -> String {
    format!("flux-lua{}", make_name().trim_start_matches("lua"))
}

/// A folder for the installation and the examples, and the folders in which
/// pkg-config looks for packages.
struct Place {
    folder: PathBuf,
    packages: Vec<PathBuf>,
}

impl Place {
    /// None, with a message, if a tool is missing.
    fn new(name: &str) -> Option<Place> {
        for tool in ["make", "pkg-config", "cc"] {
            if find_in_path(tool).is_none() {
                skipped(&format!("no {tool}, so `make install` was not run"));
                return None;
            }
        }
        let folder = format!("make-install-{}-{name}", make_name());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let _ = fs::remove_dir_all(&folder);
        let own = folder.join("lua");
        fs::create_dir_all(&own).expect("cargo's folder for tests is writable");
        let is_installed = |package: &&str| pkg_config(&["--exists", package]).is_some();
        if !lua::PACKAGES.iter().any(is_installed) {
            // The distribution's Lua is not installed. Use the one that was
            // compiled with this crate.
            let text = format!(
                "Name: Lua\nDescription: Lua\nVersion: 1\nCflags: -I{}\n\
                 Libs: -rdynamic -Wl,--whole-archive,{},--no-whole-archive -lm -ldl\n",
                env!("FLUX_LUA_INCLUDE"),
                env!("FLUX_LUA_ARCHIVE")
            );
            let file = own.join(format!("{}.pc", lua::PACKAGES[0]));
            fs::write(file, text).expect("the folder is writable");
        }
        let packages = vec![folder.join("prefix/lib/pkgconfig"), own];
        Some(Place { folder, packages })
    }

    /// The same, with the packages of a Flux.
    fn with_flux(name: &str, flux: &Flux) -> Option<Place> {
        let mut place = Place::new(name)?;
        let folders = flux.library_folders().into_iter();
        place
            .packages
            .extend(folders.map(|folder| folder.join("pkgconfig")));
        Some(place)
    }

    /// A path in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs make. Returns its output, as an error if it fails.
    fn make(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.with_packages("make");
        let output = command.args(args).output().expect("make runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text),
        }
    }

    /// A command that finds the packages.
    fn with_packages(&self, program: &str) -> Command {
        let path = env::join_paths(&self.packages).expect("no colons in paths");
        let mut command = Command::new(program);
        command.env("PKG_CONFIG_PATH", path).env_remove("MAKEFLAGS");
        command
    }

    /// Runs `make install` with these variables.
    fn install(&self, variables: &[&str]) {
        let library = format!("LIBRARY={}", support::module().display());
        let lua = format!("LUA={}", make_name());
        let mut args = vec!["-C", env!("CARGO_MANIFEST_DIR"), "install", &library, &lua];
        args.extend(variables);
        self.make(&args)
            .unwrap_or_else(|output| panic!("make install: {output}"));
    }

    /// Installs the module and builds an example with its Makefile. Returns its
    /// path.
    fn example(&self, target: &str) -> PathBuf {
        self.install(&[&format!("PREFIX={}", self.path("prefix").display())]);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c");
        for file in fs::read_dir(examples).expect("the examples").flatten() {
            // Only sources: the folder may also have files that were built.
            let is_source = |name: &str| name.ends_with(".c") || name.ends_with(".lua");
            let name = file.file_name().into_string().expect("the name is UTF-8");
            if is_source(&name) || name == "Makefile" {
                fs::copy(file.path(), self.path(&name)).expect("the folder is writable");
            }
        }
        let folder = self.folder.display().to_string();
        let output = self.make(&["-C", &folder, target, "CC=cc -Werror"]);
        output.unwrap_or_else(|errors| panic!("make {target}: {errors}"));
        self.path(target)
    }

    /// A variable of the package `flux-lua`.
    fn variable(&self, name: &str) -> String {
        let mut command = self.with_packages("pkg-config");
        let output = run(command.arg(format!("--variable={name}")).arg("flux-lua"));
        output.trim().to_owned()
    }
}

/// Runs a program, which must succeed. Returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
