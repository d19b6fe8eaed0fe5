//! `event.*`: publishing, and the events that a client subscribes to.

use serde::Deserialize;
use serde_json::json;

use crate::backend::embedded::message::{Credentials, Message};
use crate::backend::embedded::request::{self, Int, Text};
use crate::backend::embedded::service::{Reply, Request, Routing, Service, protocol_error};
use crate::backend::object::present;
use crate::backend::{Error, Result, base64};

/// Only the instance owner may receive the event. Here every subscriber is the
/// owner.
const FLAG_PRIVATE: i32 = 0x20;

/// The service `event`.
pub struct EventService;

#[derive(Deserialize)]
struct Publication {
    topic: Text,
    flags: Int,
    /// The payload in base64.
    #[serde(default, deserialize_with = "present")]
    payload: Option<Text>,
}

#[derive(Deserialize)]
struct Subscription {
    topic: Text,
}

impl Service for EventService {
    fn names(&self) -> &'static [&'static str] {
        &["event"]
    }

    fn concerns_connection(&self, method: &str) -> bool {
        matches!(method, "subscribe" | "unsubscribe")
    }

    fn handle(&mut self, request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
        let sender = || request.message.sender().ok_or_else(protocol_error);
        match request.method {
            "publish" => publish(request, router),
            "subscribe" => {
                let Subscription { topic } = request::read(request.message)?;
                router.subscribe(sender()?, &topic);
                Reply::empty()
            }
            "unsubscribe" => {
                let Subscription { topic } = request::read(request.message)?;
                router.unsubscribe(sender()?, &topic)?;
                Reply::empty()
            }
            _ => Err(request.unknown_method()),
        }
    }
}

fn publish(request: &Request<'_>, router: &mut dyn Routing) -> Result<Reply> {
    let Publication {
        topic,
        flags,
        payload,
    } = request::read(request.message)?;
    if request.rank > 0 {
        let text = "this service is only available on rank 0";
        return Err(Error::with_detail(libc::EPROTO, text));
    }
    if flags.0 & !FLAG_PRIVATE != 0 {
        return Err(protocol_error());
    }
    let payload = match payload {
        Some(text) => base64::decode(&text).ok_or_else(protocol_error)?,
        None => Vec::new(),
    };
    let payload = (!payload.is_empty()).then(|| payload.strip_suffix(b"\0").unwrap_or(&payload));
    let from = Credentials {
        rolemask: request.message.rolemask,
        ..Credentials::of_owner()
    };
    let event = Message::event(topic.as_bytes().into(), payload, from);
    let seq = router.publish(0, &event);
    Reply::json(&json!({ "seq": seq }))
}
