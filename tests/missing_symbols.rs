//! What happens with a libflux-core that lacks functions. One is compiled here
//! that has only some, and does nothing in them.

mod installed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use installed::{cc, skipped};

const DECLARATIONS: &str = include_str!("../src/backend/libflux/sys.rs");

/// Each call prints its name and what it returned.
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
fn a_function_that_is_missing_fails_the_calls_that_need_it() {
    let Some(said) = run("some", &required()) else {
        return;
    };
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("version\t0.99.0"), "{said}");
    assert_eq!(lines.next(), Some("new\ta handle\tnil\tnil\tnil"), "{said}");
    let mut calls = 0;
    for line in lines {
        let (call, results) = line.split_once('\t').expect("a call and its results");
        match call {
            "rank" => assert_eq!(results, "nil", "{said}"),
            _ => assert_eq!(results, "nil\tFunction not implemented\t38", "{said}"),
        }
        calls += 1;
    }
    assert_eq!(calls, 10, "{said}");
}

#[test]
fn without_one_that_everything_needs_a_handle_cannot_be_opened_and_its_name_is_said() {
    let mut functions = required();
    functions.retain(|name| *name != "flux_send");
    let Some(said) = run("too-few", &functions) else {
        return;
    };
    let new = said.lines().nth(1).unwrap_or_default();
    assert!(
        new.starts_with("new\tnil\tFunction not implemented"),
        "{said}"
    );
    assert!(new.contains("\t38\t"), "{said}");
    assert!(new.contains(" has no flux_send: "), "{said}");
}

/// The names of those without which nothing works.
fn required() -> Vec<&'static str> {
    let (_, list) = DECLARATIONS.split_once("required {").expect("a list");
    let (list, _) = list.split_once("replaceable {").expect("its end");
    let names = list.split("fn ").skip(1);
    names
        .map(|rest| rest.split_once('(').expect("arguments").0)
        .collect()
}

/// What the script prints with a library of these functions; None, loudly,
/// where that cannot be made or is not the one that is found.
fn run(name: &str, functions: &[&str]) -> Option<String> {
    let prefix = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("missing-{name}"));
    let library = prefix.join("lib/libflux-core.so.2");
    fs::create_dir_all(prefix.join("lib")).expect("cargo's folder for tests is writable");
    let source = prefix.join("library.c");
    fs::write(&source, library_source(functions)).expect("cargo's folder for tests is writable");
    let words = ["-shared", "-fPIC", "-fno-builtin", "-o"].map(PathBuf::from);
    if let Err(said) = cc(words.iter().chain([&library, &source])) {
        skipped(&format!("a library cannot be compiled: {said}"));
        return None;
    }
    let said = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["-e", SCRIPT])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("FLUX_PREFIX", &prefix)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .expect("the interpreter runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(said.status.success(), "{}", text(&said.stderr));
    let output = text(&said.stdout);
    let found = output.lines().next().unwrap_or_default();
    if found != "version\t0.99.0" && found != "version\tnil" {
        skipped(&format!(
            "the loader finds another libflux-core first: {found}"
        ));
        return None;
    }
    Some(output)
}

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
