//! `*.ping`: the request's payload back, with what the service knows of the
//! request.

use serde_json::Value;

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
    let mut fields = match serde_json::from_slice(payload) {
        Ok(Value::Object(fields)) => fields,
        // What a broker says of an array.
        Ok(Value::Array(_)) => return Err(Error::new(libc::ENOMEM)),
        _ => return Err(protocol_error()),
    };
    fields.insert("route".into(), route(state, rank, service, request).into());
    fields.insert("userid".into(), request.userid.into());
    fields.insert("rolemask".into(), request.rolemask.into());
    fields.insert("rank".into(), rank.into());
    done(&Value::Object(fields))
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
