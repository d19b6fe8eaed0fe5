//! `*.ping`: the request's payload back, with what the service knows of the
//! request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::broker::State;
use super::super::message::Message;
use super::{Builtin, Outcome, done, protocol_error};
use crate::backend::{Error, Result, object};

/// A member of the response.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'r> {
    Echoed(&'r RawValue),
    Added(Value),
}

pub(super) fn ping(
    state: &State,
    rank: u32,
    service: Builtin,
    request: &Message,
) -> Result<Outcome> {
    let payload = request.payload.as_deref().ok_or_else(protocol_error)?;
    let Some(sent) = object::members(payload) else {
        return Err(match serde_json::from_slice::<Vec<&RawValue>>(payload) {
            // What a broker says of an array.
            Ok(_) => Error::new(libc::ENOMEM),
            Err(_) => protocol_error(),
        });
    };
    let route = route(state, rank, service, request);
    let sent = sent.iter();
    let mut answer: BTreeMap<&str, Member> = sent
        .map(|(name, value)| (name.as_str(), Member::Echoed(value)))
        .collect();
    answer.extend([
        ("rank", Member::Added(rank.into())),
        ("rolemask", Member::Added(request.rolemask.into())),
        ("route", Member::Added(route.into())),
        ("userid", Member::Added(request.userid.into())),
    ]);
    done(&answer)
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
