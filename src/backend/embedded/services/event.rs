//! `event.*`: publishing, and what a handle subscribes to.

use serde::Deserialize;
use serde_json::json;

use super::super::broker::State;
use super::super::fields::{self, Int, Text};
use super::super::message::Message;
use super::{Outcome, done, protocol_error};
use crate::backend::object::present;
use crate::backend::{Error, Result, base64};

/// To the instance owner only; so, here, to every subscriber.
const FLAG_PRIVATE: i32 = 0x20;

#[derive(Deserialize)]
struct Publication {
    topic: Text,
    flags: Int,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Text>,
}

#[derive(Deserialize)]
struct Subscription {
    topic: Text,
}

pub(super) fn publish(state: &mut State, rank: u32, request: &Message) -> Result<Outcome> {
    let Publication {
        topic,
        flags,
        payload,
    } = fields::read(request)?;
    if rank > 0 {
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
    let event = Message::event(topic.as_bytes().into(), payload, request.rolemask);
    let seq = state.publish(0, &event);
    done(&json!({ "seq": seq }))
}

pub(super) fn subscribe(state: &mut State, sender: u64, request: &Message) -> Result<()> {
    let Subscription { topic } = fields::read(request)?;
    state.subscribe(sender, &topic);
    Ok(())
}

pub(super) fn unsubscribe(state: &mut State, sender: u64, request: &Message) -> Result<()> {
    let Subscription { topic } = fields::read(request)?;
    state.unsubscribe(sender, &topic)
}
