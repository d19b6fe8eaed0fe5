//! JSON objects, as messages and the KVS carry them: read and written with
//! serde_json. An object is read one level at a time. Values that are not asked
//! for stay text, because a tree of them could take a hundred times the memory
//! of a text that is made for that.

use std::collections::BTreeMap;

use serde::de::value::MapDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::MAX_JSON_DEPTH;

/// The members of an object by name, their values as JSON text. Where a name
/// occurs several times, the last value counts.
pub type Members<'t> = BTreeMap<String, &'t RawValue>;

/// Reads the members of an object. None if the text is not a JSON object, or is
/// nested too deeply.
pub fn members(json: &[u8]) -> Option<Members<'_>> {
    match is_too_deep(json) {
        true => None,
        false => serde_json::from_slice(json).ok(),
    }
}

/// Reads an object as the type `T`. None if the text is not an object, is not
/// one of that type, or is nested too deeply.
///
/// A member of `T` that is an object itself should be a [`RawValue`], and be
/// read by another call: a derived type alone would refuse a name that occurs
/// several times, and take an array for an object.
pub fn read<'t, T: Deserialize<'t>>(json: &'t [u8]) -> Option<T> {
    if !json.trim_ascii_start().starts_with(b"{") || is_too_deep(json) {
        return None;
    }
    if let Ok(object) = serde_json::from_slice(json) {
        return Some(object);
    }
    // Perhaps a name occurs several times.
    let members: Members<'t> = serde_json::from_slice(json).ok()?;
    T::deserialize(MapDeserializer::new(members.into_iter())).ok()
}

/// Reads an optional member that must not be null. For the attribute
/// `#[serde(default, deserialize_with = "object::present")]`.
pub fn present<'t, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'t>,
    T: Deserialize<'t>,
{
    T::deserialize(value).map(Some)
}

/// Writes a value as JSON text. The keys of its maps must be strings.
pub fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Whether arrays and objects are nested more deeply than allowed. The result
/// is exact for valid JSON. serde_json has no such limit for values that stay
/// text.
fn is_too_deep(json: &[u8]) -> bool {
    // Fast path: the text is too short for so many brackets.
    if json.len() <= MAX_JSON_DEPTH as usize {
        return false;
    }
    let mut depth = 0;
    let mut rest = json.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'[' | b'{' if depth == MAX_JSON_DEPTH => return true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    false
}

/// Skips the rest of a string, to after its closing quote.
fn skip_string<'t>(rest: &mut impl Iterator<Item = &'t u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                rest.next();
            }
            _ => {}
        }
    }
}
