//! Tests of failures of a Flux instance and of the system. When one happens
//! while a script runs, every call that waits must soon end with `nil, err`, and
//! no commit that was reported as done may be lost.

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
mod support;
#[path = "faults/tree.rs"]
mod tree;

use std::time::Duration;

use script::Script;

/// How long a script may sleep until its call notices the fault.
const LIMIT: Duration = Duration::from_secs(1);

/// Checks the time between a fault and the end of a call, in time that the
/// script has slept. Returns the time.
fn check_time(fault: Duration, noticed: Duration, what: &str) -> Duration {
    let took = noticed.saturating_sub(fault);
    assert!(took < LIMIT, "{what}: the script slept for {took:?}");
    took
}

/// Checks that the script's call ends soon after the fault, and that all its
/// later calls fail at once. `fault` is how long the script had slept when the
/// fault happened. Returns the time that the first call took.
fn check_calls_end(mut script: Script, fault: Duration) -> Duration {
    let (ended, error) = script.says("ended");
    let took = check_time(fault, ended, &error);
    let mut last = ended;
    while let (at, Some(call)) = script.says_either("after", "closed") {
        check_time(last, at, &call);
        last = at;
    }
    script.finish();
    took
}
