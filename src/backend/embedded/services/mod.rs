//! The services that every rank offers, and how their requests are read.
//! Each answers as the broker's own does, down to the error texts.

use super::super::object::{self, Field, Object};
use super::super::{Error, Result};
use super::broker::State;
use super::message::Message;

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

/// The methods that concern the sending handle's own connection, which take no
/// notice of the nodeid. `None` for any other.
pub(super) fn call_local(state: &mut State, sender: u64, request: &Message) -> Option<Result<()>> {
    match &*request.topic {
        b"event.subscribe" => Some(event::subscribe(state, sender, request)),
        b"event.unsubscribe" => Some(event::unsubscribe(state, sender, request)),
        b"service.add" => Some(
            Fields::of(request)
                .and_then(|fields| state.add_service(sender, &fields.text("service")?)),
        ),
        b"service.remove" => Some(
            Fields::of(request)
                .and_then(|fields| state.remove_service(sender, &fields.text("service")?)),
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

/// A response with these fields as its payload.
fn done(fields: &[(&str, Field<'_>)]) -> Result<Outcome> {
    Ok(done_with(object::write(fields)))
}

fn done_with(payload: String) -> Outcome {
    Outcome::Done(Some(payload.into_bytes()))
}

/// A request's payload, which must be a JSON object. What is missing or of
/// another type is EPROTO.
struct Fields<'t>(Object<'t>);

impl<'t> Fields<'t> {
    fn of(request: &'t Message) -> Result<Fields<'t>> {
        let payload = request.payload.as_deref().ok_or_else(protocol_error)?;
        Object::parse(payload)
            .map(Fields)
            .ok_or_else(protocol_error)
    }

    fn json(&self, name: &str) -> Option<&'t str> {
        self.0.json(name)
    }

    fn text(&self, name: &str) -> Result<String> {
        self.optional_text(name)?.ok_or_else(protocol_error)
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>> {
        self.optional(name, |fields| {
            fields.text(name).map(|text| before_nul(&text).to_owned())
        })
    }

    /// As a C int, so cut to 32 bits.
    fn int(&self, name: &str) -> Result<i32> {
        self.optional_int(name)?.ok_or_else(protocol_error)
    }

    fn optional_int(&self, name: &str) -> Result<Option<i32>> {
        self.optional(name, |fields| fields.integer(name).map(|n| n as i32))
    }

    fn flag(&self, name: &str) -> Result<bool> {
        self.optional_flag(name)?.ok_or_else(protocol_error)
    }

    fn optional_flag(&self, name: &str) -> Result<Option<bool>> {
        self.optional(name, |fields| fields.boolean(name))
    }

    fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Object<'t>) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.0.json(name) {
            Some(_) => read(&self.0).map(Some).ok_or_else(protocol_error),
            None => Ok(None),
        }
    }
}

/// The part of a text that a C string would hold.
pub(super) fn before_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or(text)
}
