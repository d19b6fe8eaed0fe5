//! A signal whose handler lets no system call go on meets everything that the
//! specification does, a thousand times a second.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::installed;
use crate::instance::{Instance, new_folder, skipped};
use crate::script::{self, Place, Script};

/// What is left out: the chapters that count what a process has, or that look
/// at signals.
const EXCEPT: &[&str] = &[
    "--except",
    "module.lua",
    "sighandler.lua",
    "growth.lua",
    "lifetime.lua",
];

#[test]
fn the_specification_holds_on_the_embedded_broker_while_signals_interrupt_it() {
    run(&Place::embedded("embed://?size=4"));
}

#[test]
fn the_specification_holds_on_a_real_instance_while_signals_interrupt_it() {
    Instance::each(1, &[], |instance| run(instance.place()));
}

fn run(place: &Place) {
    let Some(folder) = Folder::prepare() else {
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
        // It says at which test it is.
        .env("SPEC_VERBOSE", "1")
        .env("FAULT_INTERRUPT", folder.0.join("interrupt.so"))
        .env("LUA_CPATH", folder.0.join("?.so"))
        .env("LUA_PATH", repository.join("lua/?.lua"));
    let mut script = Script::run(command, place, "the specification");
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
    println!("{place}: {counts}");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(counts.contains(" 0 failed"), "{counts}");
    assert!(!counts.starts_with("0 passed"), "{counts}");
}

/// Where Lua finds the module, and the one that interrupts.
struct Folder(PathBuf);

impl Folder {
    fn prepare() -> Option<Folder> {
        let folder = Folder(new_folder());
        symlink(script::module(), folder.0.join("flux.so")).expect("a link");
        let source = script::folder().join("interrupt.c");
        let library = folder.0.join("interrupt.so");
        let words = ["-shared", "-fPIC", "-o"].map(PathBuf::from);
        installed::cc(words.iter().chain([&library, &source])).ok()?;
        Some(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
