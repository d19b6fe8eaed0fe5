//! Events: subscribing, publishing and receiving.

use std::ffi::CStr;
use std::os::raw::c_int;

use crate::api::message::received::Received;
use crate::api::quote::quoted;
use crate::api::{arguments, handle, payload};
use crate::backend::{self, Match, msgtype};
use crate::json::Output;
use crate::lua::{Cause, Error, Integer, Kind, Result, Scratch, State, lua_CFunction};
use crate::lua_functions;

/// `f:subscribe(fmt, ...)`
fn subscribe(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let topic = subscription(state)?;
    handle.backend()?.subscribe(topic)?;
    Ok(Integer(0))
}

/// `f:unsubscribe(fmt, ...)`
fn unsubscribe(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let topic = subscription(state)?;
    handle.backend()?.unsubscribe(topic)?;
    Ok(Integer(0))
}

/// The topic prefix in the arguments from 2 on. EINVAL for a glob pattern: a broker would
/// take it literally, and no topic would match.
fn subscription(state: State<'_>) -> Result<&str> {
    // The C bindings return this text for a format that does not fit its arguments.
    let topic = arguments::formatted(state, 2).map_err(|error| match error.cause() {
        Cause::Failure(_) => Error::failure("Invalid args"),
        cause => cause.into(),
    })?;
    match topic.find(['*', '?', '[']) {
        None => Ok(topic),
        Some(at) => Err(glob_error(&topic[..at])),
    }
}

#[cold]
fn glob_error(prefix: &str) -> Error {
    let topics = match prefix {
        "" => "all topics".to_owned(),
        _ => format!("all topics that start with {}", quoted(prefix)),
    };
    let text = format!(
        "a subscription is a topic prefix, not a pattern: {} stands for {topics}",
        quoted(prefix)
    );
    backend::Error::with_detail(libc::EINVAL, text).into()
}

/// `f:sendevent([table,] fmt, ...)`
fn sendevent(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let first: c_int = 2;
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    let (payload, format) = match state.kind(first) {
        Kind::Table | Kind::Nil => (payload::read(state, first, &mut text)?, first + 1),
        _ => (None, first),
    };
    refuse_table_after(state, format)?;
    let topic = arguments::formatted(state, format)?;
    handle.backend()?.send_event(topic, payload)?;
    Ok(Integer(0))
}

/// Raises an error for a table after the topic. It is a payload in the wrong place, and the
/// C bindings ignored it. A table with `__tostring` that the format uses is accepted.
fn refuse_table_after(state: State<'_>, format: c_int) -> Result<()> {
    for index in format + 1..=state.top() {
        if state.kind(index) == Kind::Table && !is_formatted(state, format, index)? {
            return Err(Error::argument(
                index,
                "a table after the topic: the payload goes first, as in \
                 f:sendevent({ n = 1 }, \"topic\")",
            ));
        }
    }
    Ok(())
}

/// Whether the format at `format` uses the table at `index`, and the table has a
/// `__tostring` metamethod.
#[cold]
fn is_formatted(state: State<'_>, format: c_int, index: c_int) -> Result<bool> {
    let last = format + count_conversions(state.bytes(format).unwrap_or_default());
    if index > last {
        return Ok(false);
    }
    let mut has_tostring = false;
    state.push_value(index);
    state.protect(1, |writer| {
        let state = writer.state();
        if state.push_metatable(1) {
            writer.bytes(b"__tostring");
            has_tostring = state.raw_get(2) != Kind::Nil;
        }
        0
    })?;
    Ok(has_tostring)
}

/// The number of arguments that a format uses.
fn count_conversions(format: &[u8]) -> c_int {
    let mut count = 0;
    let mut rest = format;
    while let Some(at) = rest.iter().position(|&c| c == b'%') {
        let escaped = rest.get(at + 1) == Some(&b'%');
        count += c_int::from(!escaped);
        rest = rest
            .get(at + 1 + usize::from(escaped)..)
            .unwrap_or_default();
    }
    count
}

/// `f:recv_event()`
fn recv_event<'s>(state: State<'_>, scratch: &'s mut Scratch) -> Result<Received<'s>> {
    let handle = handle::check(state)?;
    let event = handle.backend()?.recv(&Match::of(msgtype::EVENT), None)?;
    Received::new(&event, scratch)
}

lua_functions! {
    lua_subscribe => subscribe;
    lua_unsubscribe => unsubscribe;
    lua_sendevent => sendevent;
    lua_recv_event(Scratch) => recv_event;
}

/// Methods of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"subscribe", Some(lua_subscribe)),
    (c"unsubscribe", Some(lua_unsubscribe)),
    (c"sendevent", Some(lua_sendevent)),
    (c"recv_event", Some(lua_recv_event)),
];
