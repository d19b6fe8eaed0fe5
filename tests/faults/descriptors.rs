//! A process has no file descriptor left, and then has some again.

use std::process::Command;

use crate::instance::Instance;
use crate::script::{self, Place, Script};

/// The script's calls, each with none to four descriptors left.
const CALLS: usize = 22 * 5;

#[test]
fn without_descriptors_calls_fail_and_with_some_they_work_again_on_a_real_instance() {
    Instance::each(1, &[], |instance| exhaust(instance.place()));
}

#[test]
fn without_descriptors_calls_fail_and_with_some_they_work_again_on_the_embedded_broker() {
    exhaust(&Place::embedded("embed://"));
}

fn exhaust(place: &Place) {
    let [lua, path] = script::command("descriptors.lua");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 48; exec \"$@\"", "sh"])
        .args([lua, path]);
    let mut script = Script::run(command, place, "descriptors.lua");
    let (mut failed, mut worked) = (0, 0);
    while let (_, Some(call)) = script.says_either("call", "closed") {
        println!("{call}");
        match call.ends_with("worked") {
            true => worked += 1,
            false => failed += 1,
        }
    }
    script.finish();
    println!("{place}: {failed} failed, {worked} worked");
    assert_eq!(failed + worked, CALLS);
    assert!(failed > 0, "there were descriptors left");
}
