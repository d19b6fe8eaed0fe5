//! `*.ping`: returns the request's payload, with information about the request.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::backend::embedded::service::{Reply, Request, Routing, protocol_error};
use crate::backend::{Error, Result, object};

/// A member of the response.
#[derive(Serialize)]
#[serde(untagged)]
enum Member<'r> {
    Echoed(&'r RawValue),
    Added(Value),
}

/// Handles a ping. `by_module` means that the service is a broker module, which
/// is one hop further away than the broker itself.
pub fn ping(request: &Request<'_>, router: &dyn Routing, by_module: bool) -> Result<Reply> {
    let message = request.message;
    let payload = message.payload.as_deref().ok_or_else(protocol_error)?;
    let Some(sent) = object::members(payload) else {
        return Err(match serde_json::from_slice::<Vec<&RawValue>>(payload) {
            // A broker fails with this error if the payload is an array.
            Ok(_) => Error::new(libc::ENOMEM),
            Err(_) => protocol_error(),
        });
    };
    let route = route(request, router, by_module);
    let sent = sent.iter();
    let mut response: BTreeMap<&str, Member> = sent
        .map(|(name, value)| (name.as_str(), Member::Echoed(value)))
        .collect();
    response.extend([
        ("rank", Member::Added(request.rank.into())),
        ("rolemask", Member::Added(message.rolemask.into())),
        ("route", Member::Added(route.into())),
        ("userid", Member::Added(message.userid.into())),
    ]);
    Reply::json(&response)
}

/// The hops from the sender to the service, as short ids.
fn route(request: &Request<'_>, router: &dyn Routing, by_module: bool) -> String {
    let sender = request.message.sender().unwrap_or(0);
    let origin = router.rank_of(sender).unwrap_or(request.rank);
    let broker = |rank: u32| format!("!{:08x}", 0xb000_0000 | rank);
    let mut route = format!("{:08x}{}", 0xc000_0000 | sender, broker(origin));
    if origin != request.rank {
        route += &broker(request.rank);
    }
    if by_module {
        route += &broker(request.rank);
    }
    route
}
