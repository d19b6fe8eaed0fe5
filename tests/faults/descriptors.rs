//! Tests of calls in a process that has no file descriptor left, and later has
//! some again.

use std::process::Command;

use crate::instance::Instance;
use crate::script::{self, Script, Target};

/// The number of calls that the script makes: each of them with zero to four
/// descriptors left.
const CALLS: usize = 22 * 5;

#[test]
fn calls_on_a_real_instance_fail_without_descriptors_and_work_with_them_again() {
    Instance::each(1, &[], |instance| exhaust(instance.target()));
}

#[test]
fn calls_on_the_embedded_broker_fail_without_descriptors_and_work_with_them_again() {
    exhaust(&Target::embedded("embed://"));
}

/// Runs a script in a process with few descriptors.
fn exhaust(target: &Target) {
    let [lua, path] = script::command("descriptors.lua");
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 48; exec \"$@\"", "sh"])
        .args([lua, path]);
    let mut script = Script::run(command, target, "descriptors.lua");
    let (mut failed, mut worked) = (0, 0);
    while let (_, Some(call)) = script.says_either("call", "closed") {
        println!("{call}");
        match call.ends_with("worked") {
            true => worked += 1,
            false => failed += 1,
        }
    }
    script.finish();
    println!("{target}: {failed} failed, {worked} worked");
    assert_eq!(failed + worked, CALLS);
    assert!(failed > 0, "no call failed, so there were descriptors left");
}
