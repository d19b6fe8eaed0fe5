//! Programs under test run under another that watches them, when FLUX_LUA_UNDER
//! names one: tests/memcheck sets it to valgrind.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// The words before a program's: of FLUX_LUA_UNDER, between spaces.
#[allow(dead_code, reason = "not every test starts programs")]
pub fn words() -> Vec<String> {
    let words = env::var("FLUX_LUA_UNDER").unwrap_or_default();
    words.split_whitespace().map(str::to_owned).collect()
}

/// A command that runs the program.
#[allow(dead_code, reason = "not every test starts programs")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let words = words();
    let Some((first, rest)) = words.split_first() else {
        return Command::new(program);
    };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// How many times longer things take: SPEC_INSTRUMENTED, which the chapters of
/// tests/spec read too.
pub fn slowdown() -> u32 {
    let Ok(text) = env::var("SPEC_INSTRUMENTED") else {
        return 1;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("SPEC_INSTRUMENTED={text} is not a number"))
}
