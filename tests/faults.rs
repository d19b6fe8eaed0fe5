//! Makes each failure happen that a Flux instance, or the system, can befall a
//! script with, and looks: every call that waits ends with `nil, err` in time,
//! and nothing is lost that was reported done.

#[path = "faults/asleep.rs"]
mod asleep;
#[path = "faults/broker_gone.rs"]
mod broker_gone;
#[path = "faults/commits.rs"]
mod commits;
#[path = "faults/descriptors.rs"]
mod descriptors;
#[path = "faults/host.rs"]
mod host;
mod installed;
#[path = "faults/instance.rs"]
mod instance;
#[path = "faults/interrupted.rs"]
mod interrupted;
#[path = "faults/script.rs"]
mod script;
#[path = "faults/services.rs"]
mod services;
#[path = "faults/socket.rs"]
mod socket;
#[path = "faults/tree.rs"]
mod tree;

use std::time::Duration;

use script::Script;

/// How long a call may sleep after the fault.
const LIMIT: Duration = Duration::from_secs(1);

/// What it slept between the fault and its being noticed, if that is not too much.
fn within(fault: Duration, noticed: Duration, what: &str) -> Duration {
    let took = noticed.saturating_sub(fault);
    assert!(took < LIMIT, "{what}: it slept {took:?}");
    took
}

/// The script learns of the fault in time, and whatever else it calls then
/// fails at once, too. `fault`: how long it had slept when that happened.
fn judge(mut script: Script, fault: Duration) -> Duration {
    let (ended, error) = script.says("ended");
    let took = within(fault, ended, &error);
    let mut last = ended;
    while let (at, Some(call)) = script.says_either("after", "closed") {
        within(last, at, &call);
        last = at;
    }
    script.finish();
    took
}
