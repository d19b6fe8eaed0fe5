//! Running and stopping the reactor of a handle.

use std::ffi::CStr;

use crate::api::{arguments, handle};
use crate::backend::reactor::RunMode;
use crate::lua::{Error, Integer, Kind, Result, State, lua_CFunction};
use crate::lua_functions;

/// `f:reactor([mode])`
fn reactor(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let mode = match state.bytes(2) {
        None if state.is_none_or_nil(2) => RunMode::Forever,
        Some(b"once") => RunMode::Once,
        Some(b"nowait") => RunMode::NoWait,
        _ => return Err(Error::failure("flux_reactor: Invalid argument")),
    };
    let ended = handle.run_reactor(state, mode)?;
    let reason = handle.take_stop_reason();
    handle.raise_handler_error(state)?;
    match (ended, reason) {
        (Ok(active), _) => Ok(Integer(active.into())),
        (Err(_), Some(reason)) => Err(Error::failure(reason)),
        (Err(error), None) => Err(error.into()),
    }
}

/// `f:reactor_stop()`
fn reactor_stop(state: State<'_>) -> Result<()> {
    handle::check(state)?.backend()?.reactor_stop();
    Ok(())
}

/// `f:reactor_stop_error([reason])`
fn reactor_stop_error(state: State<'_>) -> Result<()> {
    let handle = handle::check(state)?;
    let reason = match state.kind(2) {
        Kind::None | Kind::Nil => None,
        _ => Some(String::from_utf8_lossy(arguments::bytes(state, 2)?).into_owned()),
    };
    handle.set_stop_reason(reason);
    handle.stop_with_error();
    Ok(())
}

lua_functions! {
    lua_reactor => reactor;
    lua_reactor_stop => reactor_stop;
    lua_reactor_stop_error => reactor_stop_error;
}

/// Methods of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"reactor", Some(lua_reactor)),
    (c"reactor_stop", Some(lua_reactor_stop)),
    (c"reactor_stop_error", Some(lua_reactor_stop_error)),
];
