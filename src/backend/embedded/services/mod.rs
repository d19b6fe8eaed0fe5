//! The services that every rank offers, and how their requests are read.
//! Each answers as the broker's own does, down to the error texts.

use serde::{Deserialize, Serialize};

use super::broker::State;
use super::fields::{self, Text};
use super::message::Message;
use crate::backend::{Error, Result, object};

mod attr;
mod event;
mod kvs;
mod log;
mod ping;

pub(super) use attr::Attributes;
pub(super) use kvs::commit as kvs_commit;
pub(super) use log::{Logs, lines as log_lines};

/// What became of a request.
pub(super) enum Outcome {
    /// It is answered, with this payload.
    Done(Option<Vec<u8>>),
    /// The service answers in its own time, or not at all.
    Later,
}

#[derive(Clone, Copy)]
pub(super) enum Builtin {
    Attr,
    Broker,
    Event,
    Kvs,
    KvsWatch,
    Log,
    Service,
}

impl Builtin {
    pub fn named(name: &str) -> Option<Builtin> {
        Some(match name {
            "attr" => Builtin::Attr,
            "broker" => Builtin::Broker,
            "event" => Builtin::Event,
            "kvs" => Builtin::Kvs,
            "kvs-watch" => Builtin::KvsWatch,
            "log" => Builtin::Log,
            "service" => Builtin::Service,
            _ => return None,
        })
    }
}

/// Call a built-in service at `rank`.
pub(super) fn call(
    state: &mut State,
    rank: u32,
    service: Builtin,
    method: &str,
    request: &Message,
) -> Result<Outcome> {
    match (service, method) {
        (Builtin::Attr, _) => attr::call(state, rank, method, request),
        (Builtin::Broker | Builtin::Kvs | Builtin::KvsWatch, "ping") => {
            ping::ping(state, rank, service, request)
        }
        (Builtin::Event, "publish") => event::publish(state, rank, request),
        (Builtin::Kvs, _) => kvs::call(state, rank, method, request),
        (Builtin::KvsWatch, _) => kvs::call_watch(state, method, request),
        (Builtin::Log, _) => log::call(state, rank, method, request),
        _ => Err(unknown_method(request)),
    }
}

#[derive(Deserialize)]
struct ServiceName {
    service: Text,
}

/// The methods that concern the sending handle's own connection, which take no
/// notice of the nodeid. `None` for any other.
pub(super) fn call_local(state: &mut State, sender: u64, request: &Message) -> Option<Result<()>> {
    match &*request.topic {
        b"event.subscribe" => Some(event::subscribe(state, sender, request)),
        b"event.unsubscribe" => Some(event::unsubscribe(state, sender, request)),
        b"service.add" => Some(
            fields::read(request)
                .and_then(|ServiceName { service }| state.add_service(sender, &service)),
        ),
        b"service.remove" => Some(
            fields::read(request)
                .and_then(|ServiceName { service }| state.remove_service(sender, &service)),
        ),
        _ => None,
    }
}

pub(super) fn unknown_method(request: &Message) -> Error {
    let topic = String::from_utf8_lossy(&request.topic);
    let text = format!("Unknown service method '{topic}'");
    Error::with_detail(libc::ENOSYS, cut(text, 255))
}

/// At most `max` bytes of a text.
pub(super) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(end.unwrap_or(0));
    }
    text
}

fn protocol_error() -> Error {
    Error::new(libc::EPROTO)
}

/// A response with this payload.
fn done(payload: &impl Serialize) -> Result<Outcome> {
    Ok(Outcome::Done(Some(object::write(payload).into_bytes())))
}
