//! Runs the programs under test with a checker, such as valgrind, if
//! FLUX_LUA_UNDER names one (tests/memcheck does), and gives the factor by which
//! the checker slows them down.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// The checker's command line, to be put before the program's.
#[allow(dead_code, reason = "not every test starts programs")]
pub fn words() -> Vec<String> {
    let words = env::var("FLUX_LUA_UNDER").unwrap_or_default();
    words.split_whitespace().map(str::to_owned).collect()
}

/// A command that runs the program with the checker.
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

/// The factor for time limits: SPEC_INSTRUMENTED, which the scripts of
/// tests/spec read too. 1 without a checker.
pub fn slowdown() -> u32 {
    let Ok(text) = env::var("SPEC_INSTRUMENTED") else {
        return 1;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("SPEC_INSTRUMENTED={text} is not a number"))
}
