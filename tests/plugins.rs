//! Tests the module in plugins, several in one process. Each plugin links its
//! own Lua and hides its symbols from the others. Also tests it in programs
//! that link Lua statically.

mod installed;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use flux::lua::NAME;
use installed::{Flux, cc, find_in_path, pkg_config, skipped};
use support::TestFolder;

/// A folder in which a test compiles and runs programs.
struct Workshop(TestFolder);

impl Workshop {
    fn new() -> Workshop {
        Workshop(TestFolder::new("plugins"))
    }

    /// A copy of the module in the folder `copy`.
    fn module(&self, copy: &str) -> String {
        let file = self.0.join(format!("{copy}/flux.so"));
        if !file.exists() {
            fs::copy(support::module(), &file).expect("the module is readable");
        }
        file.display().to_string()
    }

    /// A chunk that loads this copy and returns the value of `expression`.
    fn chunk(&self, copy: &str, expression: &str) -> String {
        let module = self.module(copy);
        format!(
            "package.cpath = {module:?} \
             local is_loaded, flux = pcall(require, 'flux') \
             if not is_loaded then return flux end \
             return {expression}"
        )
    }

    /// Compiles tests/c/NAME.c with these flags. Returns the path of the output.
    fn compile(&self, name: &str, output: &str, flags: &[&str]) -> String {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{name}.c"));
        let output = self.0.join(output).display().to_string();
        let mut args = vec!["-Wall", "-Wextra", "-Werror", "-g", "-fPIC"];
        let include = format!("-I{}", env!("FLUX_LUA_INCLUDE"));
        let source = source.display().to_string();
        args.extend([include.as_str(), &source, "-o", &output]);
        args.extend_from_slice(flags);
        if let Err(output) = cc(&args) {
            panic!("{name}.c does not compile: {output}");
        }
        output
    }

    /// Makes a shared library with this name of the Lua that the module is built
    /// for. Returns its path.
    fn lua(&self, name: &str) -> String {
        let output = self.0.join(format!("lib{name}.so")).display().to_string();
        let whole = format!(
            "-Wl,--whole-archive,{},--no-whole-archive",
            env!("FLUX_LUA_ARCHIVE")
        );
        let soname = format!("-Wl,-soname,lib{name}.so");
        let args = ["-shared", "-o", &output, &soname, &whole, "-lm", "-ldl"];
        cc(args).unwrap_or_else(|output| panic!("{NAME} as a library: {output}"));
        output
    }

    /// Compiles a plugin that links its own Lua. Returns its path.
    fn plugin(&self, name: &str) -> String {
        let lua = self.lua(&format!("lua-of-{name}"));
        let rpath = format!("-Wl,-rpath,{}", self.0.path().display());
        self.compile(
            "plugin",
            &format!("{name}.so"),
            &["-shared", &lua, &rpath, "-ldl"],
        )
    }

    /// Runs plugin_host.c with these actions. Returns the lines that it prints.
    fn host(&self, actions: &[&str]) -> Vec<String> {
        let host = self.compile("plugin_host", "host", &["-ldl"]);
        run(Command::new(host).args(actions))
    }
}

/// Runs a command. Returns the lines that it prints, errors first.
fn run(command: &mut Command) -> Vec<String> {
    let output = command
        .env_remove("LUA_INIT")
        .env("FLUX_URI", "embed://")
        .output()
        .expect("the program was compiled here");
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}: {text}", output.status);
    text.lines().map(str::to_owned).collect()
}

fn has_compiler() -> bool {
    let has = find_in_path("cc").is_some();
    if !has {
        skipped("no C compiler, so no plugin was compiled");
    }
    has
}

/// An expression that uses the module: an RPC on the embedded broker.
const WORKS: &str =
    "flux.new():rpc('broker.ping', { seq = 7 }).seq .. ' ' .. select(3, flux.version())";

#[test]
fn the_module_loads_in_a_plugin_whose_symbols_are_local() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let plugin = workshop.plugin("one");
    let chunk = workshop.chunk("module", WORKS);
    let output = workshop.host(&["load", "one", &plugin, "run", "one", &chunk]);
    assert_eq!(output, [format!("one: 7 {NAME}")]);
}

#[test]
fn c_api_functions_work_before_a_script_requires_the_module() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let plugin = workshop.plugin("one");
    let module = workshop.module("module");
    let output = workshop.host(&["load", "one", &plugin, "decode", "one", &module]);
    assert_eq!(output, ["one: 42"]);
    let output = workshop.host(&["load", "one", &plugin, "error", "one", &module]);
    assert_eq!(output, ["one: error 7"]);
}

#[test]
fn two_plugins_with_their_own_luas_can_each_load_a_copy_of_the_module() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let (one, two) = (workshop.plugin("one"), workshop.plugin("two"));
    let (first, second) = (
        workshop.chunk("first", WORKS),
        workshop.chunk("second", WORKS),
    );
    let output = workshop.host(&[
        "load", "one", &one, "load", "two", &two, //
        "run", "one", &first, "run", "two", &second, "run", "one", &first,
    ]);
    let works = |name: &str| format!("{name}: 7 {NAME}");
    assert_eq!(output, [works("one"), works("two"), works("one")]);
}

#[test]
fn a_copy_of_the_module_refuses_a_second_lua() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let (one, two) = (workshop.plugin("one"), workshop.plugin("two"));
    let module = workshop.module("module");
    let chunk = workshop.chunk("module", WORKS);
    let output = workshop.host(&[
        "load", "one", &one, "load", "two", &two, //
        "run", "one", &chunk, "run", "two", &chunk, //
        "decode", "two", &module, "error", "two", &module, //
        "run", "one", &chunk, "decode", "one", &module,
    ]);
    let folder = workshop.0.path().display();
    let refusal = format!(
        "this flux.so serves the {NAME} in {folder}/liblua-of-one.so already, and another {NAME}, \
         in {folder}/liblua-of-two.so, needs a copy of flux.so of its own"
    );
    // `decode` prints the refusal to stderr, which comes first.
    let enotsup = format!("two: {}", libc::ENOTSUP);
    let output: Vec<&str> = output.iter().map(String::as_str).collect();
    let works = format!("one: 7 {NAME}");
    let refused = format!("two: {refusal}");
    let expected = [
        &refusal, &works, &refused, &enotsup, &refused, &works, "one: 42",
    ];
    // The module cuts the text at 400 bytes, which a long path may exceed.
    let is_so =
        |(output, expected): (&&str, &&str)| expected.starts_with(output) && !output.is_empty();
    assert_eq!(output.len(), expected.len(), "{output:?}");
    assert!(output.iter().zip(&expected).all(is_so), "{output:#?}");
    assert!(
        output[0].starts_with("this flux.so serves the"),
        "{output:?}"
    );
}

#[test]
fn a_plugin_can_load_the_module_after_the_plugin_that_used_it_is_unloaded() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let (one, two) = (workshop.plugin("one"), workshop.plugin("two"));
    let chunk = workshop.chunk("module", WORKS);
    // The same copy serves each plugin's Lua, one after the other.
    let output = workshop.host(&[
        "load", "one", &one, "run", "one", &chunk, "unload", "one", //
        "load", "two", &two, "run", "two", &chunk, "unload", "two", //
        "load", "one", &one, "run", "one", &chunk,
    ]);
    let works = |name: &str| format!("{name}: 7 {NAME}");
    assert_eq!(output, [works("one"), works("two"), works("one")]);
}

#[test]
fn the_module_loads_in_a_program_that_exports_its_lua() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let whole = format!(
        "-Wl,--whole-archive,{},--no-whole-archive",
        env!("FLUX_LUA_ARCHIVE")
    );
    let program = workshop.compile("static", "exports", &["-rdynamic", &whole, "-lm", "-ldl"]);
    let chunk = workshop.chunk("module", WORKS);
    let output = run(Command::new(program).arg(&chunk));
    assert_eq!(output, [format!("7 {NAME}")]);
}

#[test]
fn in_a_program_that_does_not_export_its_lua_require_fails_with_advice() {
    if !has_compiler() {
        return;
    }
    let workshop = Workshop::new();
    let program = workshop.compile(
        "static",
        "hides",
        &[env!("FLUX_LUA_ARCHIVE"), "-lm", "-ldl"],
    );
    let chunk = workshop.chunk("module", "type(flux)");
    let output = run(Command::new(program).arg(&chunk));
    let text = format!(
        "flux.so is built for {NAME}, and no Lua is found in this program: it must export its Lua's \
         functions (-rdynamic)"
    );
    assert_eq!(output, [&text, "boolean"]);
}

#[test]
fn a_jobtap_plugin_rejects_a_job_by_a_lua_function() {
    let fluxes = Flux::all();
    if fluxes.is_empty() || !has_compiler() {
        skipped("there is no Flux with headers, so jobtap.c was not run");
        return;
    }
    for flux in fluxes {
        println!("{flux}");
        reject_a_job(&flux);
    }
}

fn reject_a_job(flux: &Flux) {
    let (Some(command), Some(jansson)) = (flux.command(), pkg_config(&["--cflags", "jansson"]))
    else {
        skipped("there is no flux command or no jansson.h, so jobtap.c was not run");
        return;
    };
    let workshop = Workshop::new();
    let lua = workshop.lua("lua-of-jobtap");
    let include = format!("-I{}", flux.include().display());
    let rpath = format!("-Wl,-rpath,{}", workshop.0.path().display());
    let mut flags = vec!["-shared", &lua, &rpath, &include, "-ljansson"];
    flags.extend(jansson.iter().map(String::as_str));
    let plugin = workshop.compile("jobtap", "jobtap.so", &flags);
    let module = workshop.module("module");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/jobtap.lua");
    let output = Command::new(&command)
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
        .envs(flux.environment())
        .env("LUA_CPATH", &module)
        .env_remove("FLUX_URI")
        .env("FLUX_LUA_CPATH_PREPEND", &module)
        .output()
        .expect("the command was found");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Some versions of `flux submit` print this before an error.
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches("flux-submit: ERROR: "))
        .collect();
    let refused = format!("[Errno 22] {NAME} may not run refused");
    let expected = ["accepted", &refused, "1", &refused, "1", "alive"];
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(lines, expected, "{errors}");
}
