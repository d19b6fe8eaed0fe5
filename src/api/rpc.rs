//! Requests and responses: `f:rpc`, `f:send`, `f:recv`, `f:recvmsg`, and `f:barrier`, which
//! is an RPC where the broker has the service.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

use crate::api::handle::Handle;
use crate::api::message::Message;
use crate::api::message::received::Received;
use crate::api::payload::{self, Response};
use crate::api::wait::{Step, blocking};
use crate::api::{arguments, handle};
use crate::backend::{self, MATCHTAG_NONE, Match, NODEID_ANY, barrier, msgtype};
use crate::json::Output;
use crate::lua::{
    Error, Integer, Kind, OnTop, Preallocated, Result, Scratch, State, lua_CFunction,
};
use crate::lua_functions;

/// `f:rpc(topic[, table[, nodeid | options]])`
///
/// Sends the request and receives its response without a future, which is faster.
fn rpc<'s>(state: State<'_>, scratch: &'s mut Scratch) -> Result<Response<'s>> {
    let handle = handle::check(state)?;
    let topic = arguments::topic(state, 2)?;
    let mut text = Output::new(scratch);
    let request = payload::read(state, 3, &mut text)?;
    let to = arguments::destination(state, 4)?;
    let backend = handle.backend()?;
    let wanted = Match {
        typemask: msgtype::RESPONSE,
        matchtag: backend.send(topic, request, to.nodeid)?,
    };
    drop(text);
    let response = backend.recv(&wanted, to.timeout);
    if response.is_err() {
        backend.give_up(wanted.matchtag);
    }
    let response = response?;
    if topic.is_empty() && response.errnum()? != 0 {
        return Err(empty_topic(response.errnum()?));
    }
    payload::response(response, scratch)
}

/// The error of a request with an empty topic. The broker's own text does not tell that the
/// topic is empty.
#[cold]
fn empty_topic(errnum: i32) -> Error {
    let text = "the topic is empty: name a service and its method, as in f:rpc(\"broker.ping\")";
    backend::Error::with_detail(errnum, text).into()
}

/// `f:send(topic[, table[, nodeid | options]])`
fn send(state: State<'_>) -> Result<Integer> {
    let handle = handle::check(state)?;
    let topic = arguments::topic(state, 2)?;
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    let request = payload::read(state, 3, &mut text)?;
    let to = arguments::destination(state, 4)?;
    let matchtag = handle.backend()?.send(topic, request, to.nodeid)?;
    // A timeout that the clock cannot represent never expires.
    if let Some(at) = to.timeout.and_then(|t| Instant::now().checked_add(t)) {
        handle.deadlines().insert(matchtag, at);
    }
    Ok(Integer(matchtag.into()))
}

/// `f:recv([matchtag])`
fn recv<'s>(state: State<'_>, scratch: &'s mut Scratch) -> Result<Received<'s>> {
    let handle = handle::check(state)?;
    let wanted = Match {
        typemask: msgtype::RESPONSE,
        matchtag: matchtag(state)?,
    };
    Received::new(&receive(&handle, &wanted)?, scratch)
}

/// `f:recvmsg([matchtag])`
fn recvmsg(state: State<'_>, object: &mut Preallocated<Message, 2>) -> Result<OnTop> {
    let handle = handle::check(state)?;
    let wanted = Match {
        typemask: msgtype::ANY,
        matchtag: matchtag(state)?,
    };
    let message = receive(&handle, &wanted)?;
    object.fill(state, Message::new(handle, message))
}

/// The matchtag in argument 2, or [`MATCHTAG_NONE`], which matches any.
#[inline]
fn matchtag(state: State<'_>) -> Result<u32> {
    match state.kind(2) {
        Kind::None | Kind::Nil => Ok(MATCHTAG_NONE),
        _ => Ok(arguments::integer(state, 2, 0..=u32::MAX.into())? as u32),
    }
}

/// Waits for a message. If it may be the response to a request with a deadline, waits at
/// most until the first such deadline, and then gives that request up with ETIMEDOUT.
fn receive(handle: &Handle, wanted: &Match) -> Result<Arc<dyn backend::Message>> {
    let backend = handle.backend()?;
    let deadline = next_deadline(handle, wanted.matchtag);
    let timeout = deadline.map(|(_, at)| at.saturating_duration_since(Instant::now()));
    let message = backend.recv(wanted, timeout);
    match (&message, deadline) {
        (Ok(message), _) => forget_deadline(handle, &**message),
        (Err(error), Some((matchtag, _))) if error.errnum == libc::ETIMEDOUT => {
            handle.deadlines().remove(&matchtag);
            backend.give_up(matchtag);
        }
        _ => {}
    }
    Ok(message?)
}

/// The first deadline of the requests with this matchtag, or of all requests.
fn next_deadline(handle: &Handle, matchtag: u32) -> Option<(u32, Instant)> {
    let deadlines = handle.deadlines();
    if deadlines.is_empty() {
        return None;
    }
    if matchtag != MATCHTAG_NONE {
        return deadlines.get(&matchtag).map(|&at| (matchtag, at));
    }
    let first = deadlines.iter().min_by_key(|&(_, &at)| at);
    first.map(|(&matchtag, &at)| (matchtag, at))
}

/// Removes the deadline of the request that this message answers, if it has one.
fn forget_deadline(handle: &Handle, message: &dyn backend::Message) {
    if !handle.deadlines().is_empty()
        && message.msgtype() == msgtype::RESPONSE
        && let Ok(matchtag) = message.matchtag()
    {
        handle.deadlines().remove(&matchtag);
    }
}

/// `f:barrier(name, nprocs)`
///
/// Brokers before 0.78 have a service for barriers. On later brokers, the processes that
/// enter coordinate through events and the KVS.
fn barrier(state: State<'_>) -> Result<Step<Integer>> {
    let handle = handle::check(state)?;
    let name = arguments::text(state, 2)?.to_owned();
    let nprocs = arguments::integer(state, 3, 1..=u32::MAX.into())? as u32;
    let backend = handle.backend()?;
    if nprocs == 1 {
        // A barrier of one process is complete at once, if the broker is there. The
        // service would count the process in a larger barrier of that name.
        let future = backend.rpc("broker.ping", Some(b"{}"), NODEID_ANY, 0)?;
        return Step::wait(future, |_, answered| {
            answered.payload()?;
            Ok(Step::Done(Integer(0)))
        });
    }
    let request = barrier::service_request(&name, nprocs);
    let future = backend.rpc("barrier.enter", Some(&request), NODEID_ANY, 0)?;
    Step::wait(future, move |_, entered| match entered.payload() {
        Ok(_) => Ok(Step::Done(Integer(0))),
        Err(error) if barrier::lacks_service(&error) => {
            barrier::enter(&*backend, &name, nprocs)?.wait()?;
            Ok(Step::Done(Integer(0)))
        }
        Err(error) => Err(error.into()),
    })
}

lua_functions! {
    lua_rpc(Scratch) => rpc;
    lua_send => send;
    lua_recv(Scratch) => recv;
    lua_recvmsg(Preallocated<Message, 2>) => recvmsg;
    lua_barrier => blocking(barrier);
}

/// Methods of the handle.
pub const METHODS: &[(&CStr, lua_CFunction)] = &[
    (c"rpc", Some(lua_rpc)),
    (c"send", Some(lua_send)),
    (c"recv", Some(lua_recv)),
    (c"recvmsg", Some(lua_recvmsg)),
    (c"barrier", Some(lua_barrier)),
];
