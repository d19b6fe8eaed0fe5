//! Events: the handle's subscriptions, publishing, receiving.

use std::ffi::CStr;
use std::os::raw::c_int;

use super::message::{self, LongReceived, Received};
use super::{arguments, handle, payload};
use crate::backend::{Match, msgtype};
use crate::json::Output;
use crate::lua::{Cause, Either, Error, Integer, Kind, Result, Room, State, lua_CFunction};
use crate::{lua_functions, lua_functions_with_room};

/// `f:subscribe(fmt, ...)`
fn subscribe(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let topic = topic(state)?;
    handle.backend()?.subscribe(topic)?;
    Ok(Integer(0))
}

/// `f:unsubscribe(fmt, ...)`
fn unsubscribe(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let topic = topic(state)?;
    handle.backend()?.unsubscribe(topic)?;
    Ok(Integer(0))
}

/// The C bindings' word for a format that does not fit is kept.
fn topic(state: State<'_>) -> Result<&str> {
    arguments::formatted(state, 2).map_err(|error| match error.cause() {
        Cause::Failure(_) => Error::failure("Invalid args"),
        cause => cause.into(),
    })
}

/// `f:sendevent([table,] fmt, ...)`
fn sendevent(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let first: c_int = 2;
    let mut room = Room::new();
    let mut text = Output::new(&mut room);
    let (payload, format) = match state.kind(first) {
        Kind::Table | Kind::Nil => (payload::read(state, first, &mut text)?, first + 1),
        _ => (None, first),
    };
    let topic = arguments::formatted(state, format)?;
    handle.backend()?.send_event(topic, payload)?;
    Ok(Integer(0))
}

/// `f:recv_event()`
fn recv_event<'r>(
    state: State<'_>,
    room: &'r mut Room,
) -> Result<Either<Received<'r>, LongReceived>> {
    let handle = handle::check(state)?;
    let event = handle.backend()?.recv(&Match::of(msgtype::EVENT), None)?;
    message::received(event, room)
}

lua_functions_with_room! { lua_recv_event => recv_event; }

lua_functions! {
    lua_subscribe => subscribe;
    lua_unsubscribe => unsubscribe;
    lua_sendevent => sendevent;
}

pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"subscribe", Some(lua_subscribe)),
    (c"unsubscribe", Some(lua_unsubscribe)),
    (c"sendevent", Some(lua_sendevent)),
    (c"recv_event", Some(lua_recv_event)),
];
