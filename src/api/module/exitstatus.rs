//! `flux.exitstatus`: decodes a wait status, as `waitpid` returns it.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::arguments;
use crate::lua::{Error, Integer, Push, Result, State, Writer, lua_CFunction};
use crate::lua_functions;

/// How a process ended, or that it was stopped.
enum Status {
    Exited(i64),
    Killed { signal: i64, dumped: bool },
    Stopped(i64),
}

/// `flux.exitstatus(status)`
fn exitstatus(state: State<'_>) -> Result<Status> {
    let status = arguments::integer(state, 1, i32::MIN.into()..=i32::MAX.into())? as i32;
    if libc::WIFEXITED(status) {
        Ok(Status::Exited(libc::WEXITSTATUS(status).into()))
    } else if libc::WIFSIGNALED(status) {
        Ok(Status::Killed {
            signal: libc::WTERMSIG(status).into(),
            dumped: libc::WCOREDUMP(status),
        })
    } else if libc::WIFSTOPPED(status) {
        Ok(Status::Stopped(libc::WSTOPSIG(status).into()))
    } else {
        Err(Error::failure(format!(
            "Unable to decode exit status 0x{status:04x}"
        )))
    }
}

impl Push for Status {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        match *self {
            Status::Exited(code) => ("exited", Integer(code)).push(writer),
            Status::Stopped(signal) => ("stopped", Integer(signal)).push(writer),
            Status::Killed { signal, dumped } => {
                let count = ("killed", Integer(signal)).push(writer);
                if dumped {
                    return count + "core dumped".push(writer);
                }
                count
            }
        }
    }
}

lua_functions! { lua_exitstatus => exitstatus; }

/// Functions of module `flux`.
pub const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[(c"exitstatus", Some(lua_exitstatus))];
