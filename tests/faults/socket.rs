//! The handle's socket is shut down under a call, or closed before one, by
//! another part of the process.

use crate::host;
use crate::instance::Instance;
use crate::judge;
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
fn a_socket_that_is_shut_down_ends_each_call_that_waits() {
    harm("shutdown");
}

#[test]
fn a_socket_that_was_closed_fails_each_call() {
    harm("close");
}

fn harm(how: &str) {
    Instance::each(1, &[], |instance| {
        for call in CALLS {
            let command = host::command("socket.lua", &[how, call]);
            let mut script = Script::run(command, instance.place(), &format!("{how} {call}"));
            script.says("ready");
            let begun = script.go();
            let took = judge(script, begun);
            println!("{how} {call} ended after a sleep of {took:?}");
        }
    });
}
