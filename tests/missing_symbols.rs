//! Tests of a libflux-core that lacks functions. Each test compiles a library
//! with some of the functions, which do nothing.

mod installed;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use installed::{cc, skipped};
use support::TestFolder;

const DECLARATIONS: &str = include_str!("../src/backend/libflux/sys.rs");

/// A script that prints each call and its results.
const SCRIPT: &str = r#"
local flux = require "flux"
local _, version = flux.version()
print("version", version)
local f, err, errnum, detail = flux.new "local:///nowhere"
print("new", f and "a handle" or f, err, errnum, detail)
if not f then
  return
end
print("getattr", f:getattr "size")
print("rank", (f.rank))
print("subscribe", f:subscribe "x")
print("sendevent", f:sendevent "x")
print("kvs_get", f:kvs_get "x")
print("kvs_put", f:kvs_put("x", 1))
print("kvsdir", f:kvsdir())
print("timer", f:timer { timeout = 1, handler = print })
print("msghandler", f:msghandler { pattern = "x", handler = print })
print("reactor", f:reactor())
f:close()
"#;

#[test]
fn calls_that_need_a_missing_function_fail_with_enosys() {
    let Some(output) = run(&required()) else {
        return;
    };
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("version\t0.99.0"), "{output}");
    assert_eq!(
        lines.next(),
        Some("new\ta handle\tnil\tnil\tnil"),
        "{output}"
    );
    let mut calls = 0;
    for line in lines {
        let (call, results) = line
            .split_once('\t')
            .expect("the line has a call and its results");
        match call {
            "rank" => assert_eq!(results, "nil", "{output}"),
            _ => assert_eq!(results, "nil\tFunction not implemented\t38", "{output}"),
        }
        calls += 1;
    }
    assert_eq!(calls, 10, "{output}");
}

#[test]
fn without_a_required_function_new_fails_and_names_the_function() {
    let mut functions = required();
    functions.retain(|name| *name != "flux_send");
    let Some(output) = run(&functions) else {
        return;
    };
    let new = output.lines().nth(1).unwrap_or_default();
    assert!(
        new.starts_with("new\tnil\tFunction not implemented"),
        "{output}"
    );
    assert!(new.contains("\t38\t"), "{output}");
    assert!(new.contains(" has no flux_send: "), "{output}");
}

/// The functions without which no handle can be opened.
fn required() -> Vec<&'static str> {
    let (_, list) = DECLARATIONS
        .split_once("required {")
        .expect("sys.rs has a list of required functions");
    let (list, _) = list
        .split_once("replaceable {")
        .expect("another list follows");
    let names = list.split("fn ").skip(1);
    names
        .map(|rest| rest.split_once('(').expect("a function has arguments").0)
        .collect()
}

/// Runs the script with a library that has these functions. Returns its output:
/// None, with a message, if the library cannot be compiled or is not the one that
/// the module finds.
fn run(functions: &[&str]) -> Option<String> {
    let prefix = TestFolder::new("missing-symbols");
    let library = prefix.join("lib/libflux-core.so.2");
    let source = prefix.write("library.c", &library_source(functions));
    let words = ["-shared", "-fPIC", "-fno-builtin", "-o"].map(PathBuf::from);
    if let Err(errors) = cc(words.iter().chain([&library, &source])) {
        skipped(&format!("a library cannot be compiled: {errors}"));
        return None;
    }
    let ended = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["-e", SCRIPT])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("FLUX_PREFIX", &prefix)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .expect("flux-lua can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let output = text(&ended.stdout);
    let found = output.lines().next().unwrap_or_default();
    if found != "version\t0.99.0" && found != "version\tnil" {
        skipped(&format!(
            "the loader finds another libflux-core first: {found}"
        ));
        return None;
    }
    Some(output)
}

/// The C source of a library with these functions.
fn library_source(functions: &[&str]) -> String {
    let mut source = "static int handle;\n".to_owned();
    for name in functions {
        let body = match *name {
            "flux_open" => "{ return (long) &handle; }",
            "flux_core_version_string" => "{ return (long) \"0.99.0\"; }",
            _ => "{ return 0; }",
        };
        source += &format!("long {name} (void) {body}\n");
    }
    source
}
