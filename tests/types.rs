//! Checks lua/types/flux.lua, the declarations for editors, and doc/api.md: both
//! must list exactly the names that the modules export.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const TYPES: &str = include_str!("../lua/types/flux.lua");

/// Names of functions and fields, by class.
type Names = BTreeMap<String, BTreeSet<String>>;

/// A chunk that prints the fields of tables and the methods of metatables, each
/// as `class name`.
const LIST: &str = r#"
local flux = require "flux"
local f = assert(flux.new("embed://types"))
assert(f:send("broker.ping", {}))
local objects = {
  ["flux.Handle"] = f,
  ["flux.Message"] = assert(f:recvmsg()),
  ["flux.Watcher"] = assert(f:timer{ timeout = 0, handler = print }),
  ["flux.Kvsdir"] = assert(f:kvsdir()),
  ["flux.Kz"] = assert(f:kz_open("types", "w")),
}
local tables = { flux = flux, ["flux.json"] = flux.json, ["flux.kvs"] = flux.kvs }
for class, object in pairs(objects) do tables[class] = getmetatable(object) end
for class, fields in pairs(tables) do
  for name in pairs(fields) do
    if not name:match("^__") then print(class, name) end
  end
end
for name in pairs(require "kvs") do print("flux.kvs", name) end
"#;

/// Runs a chunk and returns its output.
fn run(chunk: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_flux-lua"))
        .args(["--embedded", "-e", chunk])
        .output()
        .expect("the interpreter was built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The names that the modules export.
fn exported() -> Names {
    let mut names = Names::new();
    for line in run(LIST).lines() {
        let (class, name) = line.split_once('\t').expect("a class and a name");
        names
            .entry(class.to_owned())
            .or_default()
            .insert(name.to_owned());
    }
    for (class, source) in [
        ("flux.Handle", include_str!("../src/api/handle/class.rs")),
        ("flux.Message", include_str!("../src/api/message/mod.rs")),
        ("flux.Watcher", include_str!("../src/api/reactor/class.rs")),
    ] {
        names
            .entry(class.to_owned())
            .or_default()
            .extend(computed(source));
    }
    names
}

/// The fields that a class computes, read from its source: no table lists them.
fn computed(source: &str) -> BTreeSet<String> {
    let (_, rest) = source
        .split_once(": &[(&CStr, Field)] = &[")
        .expect("the class has fields");
    let (fields, _) = rest.split_once("];").expect("the list has an end");
    let names = fields.split("c\"").skip(1);
    names
        .filter_map(|field| field.split('"').next())
        .map(str::to_owned)
        .collect()
}

/// The names that the annotations declare, of the classes that have a variable.
/// A class without one describes a table of options.
fn declared() -> Names {
    let mut names = Names::new();
    let mut variables = BTreeMap::new();
    let (mut class, mut fields) = ("", BTreeSet::new());
    for line in TYPES.lines() {
        if let Some(name) = line.strip_prefix("---@class ") {
            (class, fields) = (name, BTreeSet::new());
        } else if let Some(field) = line.strip_prefix("---@field ") {
            let name = field.split([' ', '?']).next().unwrap_or_default();
            if !name.starts_with('[') {
                fields.insert(name.to_owned());
            }
        } else if let Some(variable) = line
            .strip_prefix("local ")
            .and_then(|l| l.strip_suffix(" = {}"))
        {
            variables.insert(variable, class);
            names.insert(class.to_owned(), std::mem::take(&mut fields));
        } else if let Some(function) = line.strip_prefix("function ") {
            let function = function.split('(').next().unwrap_or_default();
            let (variable, name) = function.split_once([':', '.']).expect("a class's function");
            let class = variables[variable];
            names
                .entry(class.to_owned())
                .or_default()
                .insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_annotations_declare_exactly_the_names_that_the_modules_export() {
    let (exported, declared) = (exported(), declared());
    for (class, names) in &exported {
        let none = BTreeSet::new();
        let annotated = declared.get(class).unwrap_or(&none);
        let missing: Vec<_> = names.difference(annotated).collect();
        assert!(missing.is_empty(), "{class}: not declared: {missing:?}");
        let extra: Vec<_> = annotated.difference(names).collect();
        assert!(
            extra.is_empty(),
            "{class}: declared but not exported: {extra:?}"
        );
    }
    let (there, annotated): (Vec<_>, Vec<_>) =
        (exported.keys().collect(), declared.keys().collect());
    assert_eq!(there, annotated);
}

#[test]
fn the_annotations_are_valid_lua_and_declare_the_parameters_of_every_function() {
    run(&format!(
        "assert(loadfile({:?}))()",
        concat!(env!("CARGO_MANIFEST_DIR"), "/lua/types/flux.lua")
    ));
    let mut annotated = BTreeSet::new();
    for line in TYPES.lines() {
        if let Some(rest) = line.strip_prefix("---@param ") {
            annotated.insert(rest.split([' ', '?']).next().unwrap_or_default());
        } else if let Some(function) = line.strip_prefix("function ") {
            let (_, rest) = function.split_once('(').expect("parameters");
            let (names, _) = rest.split_once(')').expect("parameters");
            let named: BTreeSet<&str> = names.split(", ").filter(|name| !name.is_empty()).collect();
            assert_eq!(annotated, named, "{line}");
            annotated.clear();
        } else if !line.starts_with("---") {
            annotated.clear();
        }
    }
}

#[test]
fn doc_api_md_describes_every_name_that_the_modules_export() {
    let page = include_str!("../doc/api.md");
    let object = |class: &str| {
        match class {
            "flux.Handle" => "f",
            "flux.Message" => "msg",
            "flux.Watcher" => "w",
            "flux.Kvsdir" => "dir",
            "flux.Kz" => "kz",
            "flux.kvs" => "kvs",
            "flux.json" => "flux.json",
            _ => "flux",
        }
        .to_owned()
    };
    for (class, names) in exported() {
        for name in names {
            let object = object(&class);
            let is_named = [".", ":"]
                .iter()
                .any(|dot| page.contains(&format!("`{object}{dot}{name}")));
            // Constants are in a table of their own.
            let is_listed = page.contains(&format!("| `flux.{name}` |"));
            assert!(
                is_named || is_listed,
                "{class}: {name} is not in doc/api.md"
            );
        }
    }
}
