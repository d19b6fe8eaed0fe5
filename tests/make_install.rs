//! `make install`, and the examples in examples/c that are built with it: what
//! C code finds under a prefix, through pkg-config alone.

mod installed;

use std::env::{self, consts::DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use installed::{Flux, find_in_path, pkg_config, skipped};

/// The Lua that this is built for: as `make` has it, where it looks for
/// modules, and its names in pkg-config.
const LUA: (&str, &str, &[&str]) = if cfg!(feature = "lua51") {
    ("5.1", "5.1", &["lua5.1", "lua-5.1", "lua51"])
} else if cfg!(feature = "lua52") {
    ("5.2", "5.2", &["lua5.2", "lua-5.2", "lua52"])
} else if cfg!(feature = "lua53") {
    ("5.3", "5.3", &["lua5.3", "lua-5.3", "lua53"])
} else if cfg!(feature = "lua54") {
    ("5.4", "5.4", &["lua5.4", "lua-5.4", "lua54"])
} else if cfg!(feature = "lua55") {
    ("5.5", "5.5", &["lua5.5", "lua-5.5", "lua55"])
} else {
    ("luajit", "5.1", &["luajit"])
};

#[test]
fn the_folders_of_a_package_are_honoured() {
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
    let (_, modules, _) = LUA;
    let library = stage.join("usr/lib64").join(env!("FLUX_LUA_SONAME"));
    let file = library.canonicalize().expect("the SONAME leads to a file");
    assert_eq!(file.parent(), library.parent());
    // One file: a process that finds it under two names has it once.
    for link in [
        stage.join("usr/lib64").join(format!("lib{}.so", name())),
        stage.join(format!("usr/lib64/lua/{modules}/flux.so")),
    ] {
        assert_eq!(link.canonicalize().expect("a link"), file);
        let target = fs::read_link(&link).expect("a link");
        assert!(target.is_relative(), "{link:?} leads to {target:?}");
    }
    assert!(
        stage
            .join(format!("usr/share/lua/{modules}/kvs.lua"))
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
        fs::read_to_string(packages.join(format!("{}.pc", name()))).expect("its Lua's"),
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
fn the_library_says_the_name_that_it_is_installed_under() {
    if find_in_path("readelf").is_none() {
        return skipped("there is no readelf, so nothing was seen of the SONAME");
    }
    let said = Command::new("readelf")
        .arg("-d")
        .arg(built())
        .output()
        .expect("readelf runs");
    let said = String::from_utf8_lossy(&said.stdout);
    let soname = format!("[lib{}.so.0]", name());
    assert!(said.contains(&soname), "no {soname} in {said}");
    assert_eq!(soname, format!("[{}]", env!("FLUX_LUA_SONAME")));
}

#[test]
fn an_unknown_lua_is_refused() {
    let Some(place) = Place::new("unknown") else {
        return;
    };
    let said = place.make(&["-C", env!("CARGO_MANIFEST_DIR"), "install", "LUA=4.0"]);
    let said = said.expect_err("make fails");
    assert!(said.contains("LUA=4.0 is none of 5.1,"), "{said}");
}

#[test]
fn a_program_that_is_built_with_pkg_config_runs_scripts() {
    let Some(place) = Place::new("program") else {
        return;
    };
    let program = place.example("embed");
    let said = run(Command::new(&program)
        .arg(place.path("embed.lua"))
        .arg("World")
        .env("FLUX_URI", "embed://?size=2")
        // What a script might find there instead.
        .env("LUA_CPATH", "/nonexistent/?.so"));
    assert_eq!(said, "text\tHello World!\trank 0 of 2\n");

    // The module that Lua finds is the library that the program is linked with.
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
    let flux = Flux::find().and_then(|flux| flux.command().map(|command| (flux, command)));
    let Some((flux, command)) = flux else {
        return skipped("there is no Flux with headers, so examples/c/hello.c was not run");
    };
    let Some(place) = Place::with_flux("module", &flux) else {
        return;
    };
    let module = place.example("hello.so");
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/hello_test.lua");
    let mut folders = vec![command.with_file_name("")];
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let said = run(Command::new(&command)
        .args(["start", "--test-size=1", env!("CARGO_BIN_EXE_flux-lua")])
        .args([test, module, place.path("hello.lua")])
        .env("PATH", env::join_paths(folders).expect("as it was")));
    assert!(said.contains("the module serves\n"), "{said}");
}

/// `flux-lua5.4`.
fn name() -> String {
    let (lua, _, _) = LUA;
    format!("flux-lua{}", lua.trim_start_matches("lua"))
}

/// The shared object that cargo built beside this program.
fn built() -> PathBuf {
    env::current_exe()
        .map(|program| program.with_file_name(format!("libflux{DLL_SUFFIX}")))
        .and_then(|module| module.canonicalize())
        .expect("cargo builds the shared object before the tests")
}

/// A folder with the examples, and where pkg-config looks for packages there.
struct Place {
    folder: PathBuf,
    packages: Vec<PathBuf>,
}

impl Place {
    /// None where it cannot be used.
    fn new(name: &str) -> Option<Place> {
        for tool in ["make", "pkg-config", "cc"] {
            if find_in_path(tool).is_none() {
                skipped(&format!(
                    "there is no {tool}, so `make install` was not run"
                ));
                return None;
            }
        }
        let folder = format!("make-install-{}-{name}", LUA.0);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let _ = fs::remove_dir_all(&folder);
        let lua = folder.join("lua");
        fs::create_dir_all(&lua).expect("cargo's folder for tests is writable");
        let (_, _, packages) = LUA;
        let is_installed = |package: &&str| pkg_config(&["--exists", package]).is_some();
        if !packages.iter().any(is_installed) {
            // The one that was compiled with this crate.
            let text = format!(
                "Name: Lua\nDescription: Lua\nVersion: 1\nCflags: -I{}\n\
                 Libs: -rdynamic -Wl,--whole-archive,{},--no-whole-archive -lm -ldl\n",
                env!("FLUX_LUA_INCLUDE"),
                env!("FLUX_LUA_ARCHIVE")
            );
            fs::write(lua.join(format!("{}.pc", packages[0])), text).expect("it is writable");
        }
        let packages = vec![folder.join("prefix/lib/pkgconfig"), lua];
        Some(Place { folder, packages })
    }

    fn with_flux(name: &str, flux: &Flux) -> Option<Place> {
        let mut place = Place::new(name)?;
        let prefix = flux.include().with_file_name("");
        for lib in [
            "lib",
            "lib64",
            "lib/x86_64-linux-gnu",
            "lib/aarch64-linux-gnu",
        ] {
            place.packages.push(prefix.join(lib).join("pkgconfig"));
        }
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What make says, which is an error if it fails.
    fn make(&self, args: &[&str]) -> Result<String, String> {
        let mut command = self.with_packages("make");
        let said = command.args(args).output().expect("make runs");
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match said.status.success() {
            true => Ok(text),
            false => Err(text),
        }
    }

    fn with_packages(&self, program: &str) -> Command {
        let path = env::join_paths(&self.packages).expect("paths without colons");
        let mut command = Command::new(program);
        command.env("PKG_CONFIG_PATH", path).env_remove("MAKEFLAGS");
        command
    }

    fn install(&self, variables: &[&str]) {
        let library = format!("LIBRARY={}", built().display());
        let lua = format!("LUA={}", LUA.0);
        let mut args = vec!["-C", env!("CARGO_MANIFEST_DIR"), "install", &library, &lua];
        args.extend(variables);
        self.make(&args)
            .unwrap_or_else(|said| panic!("make install: {said}"));
    }

    /// Install, and build an example as its Makefile does.
    fn example(&self, target: &str) -> PathBuf {
        self.install(&[&format!("PREFIX={}", self.path("prefix").display())]);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c");
        for file in fs::read_dir(examples).expect("the examples").flatten() {
            // Not what somebody has built there.
            let is_source = |name: &str| name.ends_with(".c") || name.ends_with(".lua");
            let name = file.file_name().into_string().expect("a name");
            if is_source(&name) || name == "Makefile" {
                fs::copy(file.path(), self.path(&name)).expect("it is writable");
            }
        }
        let folder = self.folder.display().to_string();
        let said = self.make(&["-C", &folder, target, "CC=cc -Werror"]);
        said.unwrap_or_else(|said| panic!("make {target}: {said}"));
        self.path(target)
    }

    fn variable(&self, name: &str) -> String {
        let mut command = self.with_packages("pkg-config");
        let said = run(command.arg(format!("--variable={name}")).arg("flux-lua"));
        said.trim().to_owned()
    }
}

/// What a program prints; it must succeed.
fn run(command: &mut Command) -> String {
    let said = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        said.status.success(),
        "{command:?}: {}\n{}{}",
        said.status,
        text(&said.stdout),
        text(&said.stderr)
    );
    text(&said.stdout)
}
