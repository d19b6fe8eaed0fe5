//! The module in plugins that bring their own Lua: loaded so that nobody else
//! sees it, several at once, and in programs whose Lua is compiled in.

mod installed;

use std::env::{
    self,
    consts::{DLL_PREFIX, DLL_SUFFIX},
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use flux::lua::NAME;
use installed::{Flux, cc, find_in_path, pkg_config, skipped};

/// A folder of one test, in which things are compiled and run.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "plugins-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("the target folder is writable");
        Place(folder)
    }

    /// A copy of the module, in a folder of its own.
    fn module(&self, copy: &str) -> String {
        let test = env::current_exe().expect("a test knows where it is");
        let module = test.with_file_name(format!("{DLL_PREFIX}flux{DLL_SUFFIX}"));
        let folder = self.0.join(copy);
        fs::create_dir_all(&folder).expect("the folder is writable");
        let file = folder.join("flux.so");
        if !file.exists() {
            fs::copy(module, &file).expect("the module is readable");
        }
        file.display().to_string()
    }

    /// A chunk that loads that copy, and returns what `expression` says.
    fn chunk(&self, copy: &str, expression: &str) -> String {
        let module = self.module(copy);
        format!(
            "package.cpath = {module:?} \
             local is_loaded, flux = pcall(require, 'flux') \
             if not is_loaded then return flux end \
             return {expression}"
        )
    }

    /// tests/c/NAME.c, compiled with these flags.
    fn compile(&self, name: &str, output: &str, flags: &[&str]) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
        let output = self.0.join(output).display().to_string();
        let mut args = vec!["-Wall", "-Wextra", "-Werror", "-g", "-fPIC"];
        let include = format!("-I{}", env!("FLUX_LUA_INCLUDE"));
        let source = source.display().to_string();
        args.extend([include.as_str(), &source, "-o", &output]);
        args.extend_from_slice(flags);
        if let Err(said) = cc(&args) {
            panic!("{name}.c does not compile: {said}");
        }
        output
    }

    /// The Lua that the module is built for, as a shared library of this name.
    fn lua(&self, name: &str) -> String {
        let output = self.0.join(format!("lib{name}.so")).display().to_string();
        let whole = format!(
            "-Wl,--whole-archive,{},--no-whole-archive",
            env!("FLUX_LUA_ARCHIVE")
        );
        let soname = format!("-Wl,-soname,lib{name}.so");
        let args = ["-shared", "-o", &output, &soname, &whole, "-lm", "-ldl"];
        cc(args).unwrap_or_else(|said| panic!("{NAME} as a library: {said}"));
        output
    }

    /// A plugin that links a Lua of its own.
    fn plugin(&self, name: &str) -> String {
        let lua = self.lua(&format!("lua-of-{name}"));
        let rpath = format!("-Wl,-rpath,{}", self.0.display());
        self.compile(
            "plugin",
            &format!("{name}.so"),
            &["-shared", &lua, &rpath, "-ldl"],
        )
    }

    /// What the host prints when it does so with its plugins, line by line.
    fn host(&self, actions: &[&str]) -> Vec<String> {
        let host = self.compile("plugin_host", "host", &["-ldl"]);
        run(Command::new(host).args(actions))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The lines that a command prints, its errors first.
fn run(command: &mut Command) -> Vec<String> {
    let said = command
        .env_remove("LUA_INIT")
        .env("FLUX_URI", "embed://")
        .output()
        .expect("it was compiled here");
    let text = [said.stderr, said.stdout].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(said.status.success(), "{}: {text}", said.status);
    text.lines().map(str::to_owned).collect()
}

fn has_compiler() -> bool {
    let has = find_in_path("cc").is_some();
    if !has {
        skipped("there is no C compiler, so no plugin was compiled");
    }
    has
}

/// Whether the module works: a handle on the embedded broker answers.
const WORKS: &str =
    "flux.new():rpc('broker.ping', { seq = 7 }).seq .. ' ' .. select(3, flux.version())";

#[test]
fn a_plugin_that_nobody_else_sees_loads_the_module() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let plugin = place.plugin("one");
    let chunk = place.chunk("module", WORKS);
    let said = place.host(&["load", "one", &plugin, "run", "one", &chunk]);
    assert_eq!(said, [format!("one: 7 {NAME}")]);
}

#[test]
fn functions_of_the_headers_work_before_any_require() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let plugin = place.plugin("one");
    let module = place.module("module");
    let said = place.host(&["load", "one", &plugin, "decode", "one", &module]);
    assert_eq!(said, ["one: 42"]);
    let said = place.host(&["load", "one", &plugin, "error", "one", &module]);
    assert_eq!(said, ["one: error 7"]);
}

#[test]
fn two_luas_at_once_each_have_a_module_of_their_own() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let (one, two) = (place.plugin("one"), place.plugin("two"));
    let (first, second) = (place.chunk("first", WORKS), place.chunk("second", WORKS));
    let said = place.host(&[
        "load", "one", &one, "load", "two", &two, //
        "run", "one", &first, "run", "two", &second, "run", "one", &first,
    ]);
    let works = |name: &str| format!("{name}: 7 {NAME}");
    assert_eq!(said, [works("one"), works("two"), works("one")]);
}

#[test]
fn a_second_lua_that_reaches_the_same_module_is_refused() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let (one, two) = (place.plugin("one"), place.plugin("two"));
    let module = place.module("module");
    let chunk = place.chunk("module", WORKS);
    let said = place.host(&[
        "load", "one", &one, "load", "two", &two, //
        "run", "one", &chunk, "run", "two", &chunk, //
        "decode", "two", &module, "error", "two", &module, //
        "run", "one", &chunk, "decode", "one", &module,
    ]);
    let folder = place.0.display();
    let refusal = format!(
        "this flux.so serves the {NAME} in {folder}/liblua-of-one.so already, and another {NAME}, \
         in {folder}/liblua-of-two.so, needs a copy of flux.so of its own"
    );
    // What `decode` prints of it comes first.
    let enotsup = format!("two: {}", libc::ENOTSUP);
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let works = format!("one: 7 {NAME}");
    let refused = format!("two: {refusal}");
    let expected = [
        &refusal, &works, &refused, &enotsup, &refused, &works, "one: 42",
    ];
    // The text is cut at 400 bytes, which a long path may reach.
    let is_so = |(said, expected): (&&str, &&str)| expected.starts_with(said) && !said.is_empty();
    assert_eq!(said.len(), expected.len(), "{said:?}");
    assert!(said.iter().zip(&expected).all(is_so), "{said:#?}");
    assert!(said[0].starts_with("this flux.so serves the"), "{said:?}");
}

#[test]
fn a_plugin_that_is_loaded_again_finds_the_module_again() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let (one, two) = (place.plugin("one"), place.plugin("two"));
    let chunk = place.chunk("module", WORKS);
    // The second plugin's Lua takes the place of the first's, which is gone.
    let said = place.host(&[
        "load", "one", &one, "run", "one", &chunk, "unload", "one", //
        "load", "two", &two, "run", "two", &chunk, "unload", "two", //
        "load", "one", &one, "run", "one", &chunk,
    ]);
    let works = |name: &str| format!("{name}: 7 {NAME}");
    assert_eq!(said, [works("one"), works("two"), works("one")]);
}

#[test]
fn a_program_that_exports_its_lua_loads_the_module() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let whole = format!(
        "-Wl,--whole-archive,{},--no-whole-archive",
        env!("FLUX_LUA_ARCHIVE")
    );
    let program = place.compile("static", "exports", &["-rdynamic", &whole, "-lm", "-ldl"]);
    let chunk = place.chunk("module", WORKS);
    let said = run(Command::new(program).arg(&chunk));
    assert_eq!(said, [format!("7 {NAME}")]);
}

#[test]
fn a_program_that_keeps_its_lua_to_itself_is_told_so() {
    if !has_compiler() {
        return;
    }
    let place = Place::new();
    let program = place.compile(
        "static",
        "hides",
        &[env!("FLUX_LUA_ARCHIVE"), "-lm", "-ldl"],
    );
    let chunk = place.chunk("module", "type(flux)");
    let said = run(Command::new(program).arg(&chunk));
    let text = format!(
        "flux.so is built for {NAME}, and no Lua is found in this program: it must export its Lua's \
         functions (-rdynamic)"
    );
    assert_eq!(said, [&text, "boolean"]);
}

#[test]
fn a_jobtap_plugin_in_c_rejects_a_job_from_lua() {
    let Some(flux) = Flux::find().filter(|_| has_compiler()) else {
        skipped("there is no Flux with headers, so jobtap.c was not run");
        return;
    };
    let (Some(command), Some(jansson)) = (flux.command(), pkg_config(&["--cflags", "jansson"]))
    else {
        skipped("there is no flux command or no jansson.h, so jobtap.c was not run");
        return;
    };
    let place = Place::new();
    let lua = place.lua("lua-of-jobtap");
    let include = format!("-I{}", flux.include().display());
    let rpath = format!("-Wl,-rpath,{}", place.0.display());
    let mut flags = vec!["-shared", &lua, &rpath, &include, "-ljansson"];
    flags.extend(jansson.iter().map(String::as_str));
    let plugin = place.compile("jobtap", "jobtap.so", &flags);
    let module = place.module("module");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/jobtap.lua");
    let said = Command::new(&command)
        .args(["start", "--test-size=1", "sh", "-c"])
        .arg(
            "flux jobtap load \"$1\" script=\"$2\" && \
             flux submit --wait true >/dev/null && echo accepted; \
             flux submit refused 2>&1; echo $?; \
             flux jobtap remove jobtap.so && flux jobtap load \"$1\" script=\"$2\" && \
             flux submit refused 2>&1; echo $?; flux ping --count=1 job-manager >/dev/null && echo alive",
        )
        .args(["sh", &plugin])
        .arg(&script)
        .env("LUA_CPATH", &module)
        .env_remove("FLUX_URI")
        .env("FLUX_LUA_CPATH_PREPEND", &module)
        .output()
        .expect("the command was found");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    // How `flux submit` introduces an error differs from version to version.
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches("flux-submit: ERROR: "))
        .collect();
    let refused = format!("[Errno 22] {NAME} may not run refused");
    let expected = ["accepted", &refused, "1", &refused, "1", "alive"];
    let errors = String::from_utf8_lossy(&said.stderr);
    assert_eq!(lines, expected, "{errors}");
}
