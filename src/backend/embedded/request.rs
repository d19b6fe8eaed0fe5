//! Reads the payloads of requests by the rules of the broker's C code.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::message::Message;
use super::service::protocol_error;
use crate::backend::{Result, object};

/// Reads a request's payload, which must be a JSON object. Fails with EPROTO if
/// it is not one, or if a member that `T` needs is missing or has another type.
pub(super) fn read<'m, T: Deserialize<'m>>(request: &'m Message) -> Result<T> {
    let fields = request.payload.as_deref().and_then(object::read);
    fields.ok_or_else(protocol_error)
}

/// A string that is read by C's rules: it ends before the first NUL.
pub(super) struct Text(pub String);

/// An integer that is read by C's rules into an `int`: its low 32 bits.
pub(super) struct Int(pub i32);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'t> Deserialize<'t> for Text {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> std::result::Result<Text, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        if let Some(end) = text.find('\0') {
            text.truncate(end);
        }
        Ok(Text(text))
    }
}

impl<'t> Deserialize<'t> for Int {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> std::result::Result<Int, D::Error> {
        // Parse the text itself, because serde_json reads -0 as a float.
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let integer: i64 = text.parse().map_err(de::Error::custom)?;
        Ok(Int(integer as i32))
    }
}
