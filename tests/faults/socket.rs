//! Tests of calls whose socket another part of the process shuts down while they
//! wait, or closes before they start.

use crate::check_calls_end;
use crate::host;
use crate::instance::Instance;
use crate::script::Script;

const CALLS: [&str; 9] = [
    "rpc",
    "send",
    "recv",
    "recv_event",
    "kvs_watch",
    "kvs_commit",
    "reactor_with_a_msghandler",
    "reactor_with_a_timer",
    "reactor_with_an_iowatcher",
];

#[test]
fn a_call_that_waits_ends_when_its_socket_is_shut_down() {
    harm("shutdown");
}

#[test]
fn a_call_fails_if_its_socket_was_closed() {
    harm("close");
}

fn harm(how: &str) {
    Instance::each(1, &[], |instance| {
        for call in CALLS {
            let command = host::command("socket.lua", &[how, call]);
            let mut script = Script::run(command, instance.target(), &format!("{how} {call}"));
            script.says("ready");
            let begun = script.go();
            let took = check_calls_end(script, begun);
            println!("{how} {call} ended after a sleep of {took:?}");
        }
    });
}
