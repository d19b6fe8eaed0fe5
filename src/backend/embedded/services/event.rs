//! `event.*`: publishing, and what a handle subscribes to.

use super::super::super::object::Field;
use super::super::super::{Error, Result};
use super::super::broker::State;
use super::super::message::Message;
use super::{Fields, Outcome, done, protocol_error};
use crate::backend::base64;

/// To the instance owner only; so, here, to every subscriber.
const FLAG_PRIVATE: i32 = 0x20;

pub(super) fn publish(state: &mut State, rank: u32, request: &Message) -> Result<Outcome> {
    let fields = Fields::of(request)?;
    let topic = fields.text("topic")?;
    let flags = fields.int("flags")?;
    let payload = fields.optional_text("payload")?;
    if rank > 0 {
        let text = "this service is only available on rank 0";
        return Err(Error::with_detail(libc::EPROTO, text));
    }
    if flags & !FLAG_PRIVATE != 0 {
        return Err(protocol_error());
    }
    let payload = match payload {
        Some(text) => base64::decode(text.as_bytes()).ok_or_else(protocol_error)?,
        None => Vec::new(),
    };
    let payload = (!payload.is_empty()).then(|| payload.strip_suffix(b"\0").unwrap_or(&payload));
    let event = Message::event(topic.as_bytes().into(), payload, request.rolemask);
    let seq = state.publish(0, &event);
    done(&[("seq", Field::Integer(seq))])
}

pub(super) fn subscribe(state: &mut State, sender: u64, request: &Message) -> Result<()> {
    let fields = Fields::of(request)?;
    state.subscribe(sender, &fields.text("topic")?);
    Ok(())
}

pub(super) fn unsubscribe(state: &mut State, sender: u64, request: &Message) -> Result<()> {
    let fields = Fields::of(request)?;
    state.unsubscribe(sender, &fields.text("topic")?)
}
