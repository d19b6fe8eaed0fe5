//! Runs the specification while a signal interrupts its system calls a thousand
//! times a second.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installed;
use crate::instance::{Instance, skipped};
use crate::script::{self, Script, Target};
use crate::support::TestFolder;

/// Scripts that are left out: they count the resources of the process, or test
/// signals.
const EXCEPT: &[&str] = &[
    "--except",
    "module.lua",
    "sighandler.lua",
    "growth.lua",
    "lifetime.lua",
];

#[test]
fn the_specification_holds_on_the_embedded_broker_while_signals_interrupt_it() {
    run(&Target::embedded("embed://?size=4"));
}

#[test]
fn the_specification_holds_on_a_real_instance_while_signals_interrupt_it() {
    Instance::each(1, &[], |instance| run(instance.target()));
}

fn run(target: &Target) {
    let Some(folder) = prepare() else {
        return skipped("no C compiler");
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(script::interpreter());
    command
        .arg("-e")
        .arg(format!(
            "dofile {:?}",
            repository.join("tests/faults/interrupt.lua")
        ))
        .arg(repository.join("tests/spec/run.lua"))
        .args(EXCEPT)
        // Prints each test's name, so that a test that hangs can be found.
        .env("SPEC_VERBOSE", "1")
        .env("FAULT_INTERRUPT", folder.join("interrupt.so"))
        .env("LUA_CPATH", folder.join("?.so"))
        .env("LUA_PATH", repository.join("lua/?.lua"));
    let mut script = Script::run(command, target, "the specification");
    let mut failed = Vec::new();
    let counts = loop {
        let (_, line) = script.says("");
        if line.contains(" passed, ") {
            break line;
        }
        let is_at_a_test = line
            .split_once(": ")
            .is_some_and(|(chapter, _)| chapter.ends_with(".lua") && !chapter.contains(' '));
        if !is_at_a_test && !line.starts_with("skip ") && !line.starts_with("flux-lua ") {
            failed.push(line);
        }
    };
    println!("{target}: {counts}");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(counts.contains(" 0 failed"), "{counts}");
    assert!(!counts.starts_with("0 passed"), "{counts}");
}

/// A folder with the module and interrupt.c, compiled. None without a compiler.
fn prepare() -> Option<TestFolder> {
    let folder = TestFolder::with_module("interrupted");
    let source = script::folder().join("interrupt.c");
    let library = folder.join("interrupt.so");
    let words = ["-shared", "-fPIC", "-o"].map(PathBuf::from);
    installed::cc(words.iter().chain([&library, &source])).ok()?;
    Some(folder)
}
