//! `*.ping`: the request's payload back, with what the service knows of the
//! request.

use super::super::super::object::{self, Field, Object};
use super::super::super::{Error, Result};
use super::super::broker::State;
use super::super::message::Message;
use super::{Builtin, Outcome, done, protocol_error};

pub(super) fn ping(
    state: &State,
    rank: u32,
    service: Builtin,
    request: &Message,
) -> Result<Outcome> {
    let payload = request.payload.as_deref().ok_or_else(protocol_error)?;
    let Some(sent) = Object::parse(payload) else {
        let text = std::str::from_utf8(payload).ok();
        return Err(match text.and_then(object::items) {
            // What a broker says of an array.
            Some(_) => Error::new(libc::ENOMEM),
            None => protocol_error(),
        });
    };
    let route = route(state, rank, service, request);
    let own = [
        ("rank", Field::Integer(rank.into())),
        ("rolemask", Field::Integer(request.rolemask.into())),
        ("route", Field::Text(&route)),
        ("userid", Field::Integer(request.userid.into())),
    ];
    let is_own = |name: &str| own.iter().any(|(own, _)| *own == name);
    let others = sent.fields().filter(|(name, _)| !is_own(name));
    let mut fields: Vec<_> = others
        .map(|(name, json)| (name, Field::Json(json)))
        .collect();
    fields.extend(own);
    done(&fields)
}

/// The hops as short ids, from the sender to the module.
fn route(state: &State, rank: u32, service: Builtin, request: &Message) -> String {
    let sender = request.sender().unwrap_or(0);
    let origin = state.rank_of(sender).unwrap_or(rank);
    let broker = |rank: u32| format!("!{:08x}", 0xb000_0000 | rank);
    let mut route = format!("{:08x}{}", 0xc000_0000 | sender, broker(origin));
    if origin != rank {
        route += &broker(rank);
    }
    if !matches!(service, Builtin::Broker) {
        route += &broker(rank);
    }
    route
}
