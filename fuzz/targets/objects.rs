//! JSON objects and arrays, read one level at a time as the back ends read
//! what peers sent, against serde_json: the verdict, the members with their
//! texts as they stand in the JSON, and what each is read as.

#![no_main]

use std::collections::BTreeMap;

use flux::MAX_JSON_DEPTH;
use flux::backend::object::{self, Object};
use flux_lua_fuzz::nesting;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;


fuzz_target!(|data: &[u8]| {
    check_object(data);
    if let Ok(json) = std::str::from_utf8(data) {
        check_items(json);
    }
});

type Fields<'t> = BTreeMap<String, &'t RawValue>;

/// Names and values as serde_json reads them, of equal names the last.
fn check_object(json: &[u8]) {
    let wanted: Option<Fields> = serde_json::from_slice(json)
        .ok()
        .filter(|_| nesting(json) <= MAX_JSON_DEPTH);
    let got = Object::parse(json);
    assert_eq!(got.is_some(), wanted.is_some(), "{}", shown(json));
    let (Some(got), Some(wanted)) = (got, wanted) else {
        return;
    };
    let wanted = wanted
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()));
    assert!(got.fields().eq(wanted.clone()), "{}", shown(json));
    for (name, json) in wanted {
        assert_eq!(got.json(name), Some(json));
        check_member(&got, name, json);
        check_value(json);
    }
}

/// What a member is read as where it is asked for by its name.
fn check_member(object: &Object<'_>, name: &str, json: &str) {
    // serde_json has minus zero as a float.
    let integer = serde_json::from_str(json).ok();
    let integer = integer.or((json == "-0").then_some(0));
    assert_eq!(object.text(name), serde_json::from_str(json).ok());
    assert_eq!(object.boolean(name), serde_json::from_str(json).ok());
    assert_eq!(object.integer(name), integer, "{json}");
    assert_eq!(object.number(name), integer.and_then(|n| n.try_into().ok()));
    let is_object = serde_json::from_str::<Fields>(json).is_ok();
    assert_eq!(object.object(name).is_some(), is_object, "{json}");
}

fn check_items(json: &str) {
    let wanted: Option<Vec<&RawValue>> = serde_json::from_str(json)
        .ok()
        .filter(|_| nesting(json.as_bytes()) <= MAX_JSON_DEPTH);
    let got = object::items(json);
    assert_eq!(got.is_some(), wanted.is_some(), "{json}");
    let (Some(got), Some(wanted)) = (got, wanted) else {
        return;
    };
    assert!(
        got.iter().copied().eq(wanted.iter().map(|item| item.get())),
        "{json}"
    );
    got.into_iter().for_each(check_value);
}

/// A value in what was read, down to its last level.
fn check_value(json: &str) {
    let text = object::text(json);
    assert_eq!(text, serde_json::from_str(json).ok(), "{json}");
    if let Some(text) = text {
        let mut written = String::new();
        object::write_text(&mut written, &text);
        assert_eq!(serde_json::from_str(&written).ok(), Some(text), "{written}");
    }
    match json.as_bytes().first() {
        Some(b'{') => check_object(json.as_bytes()),
        Some(b'[') => check_items(json),
        _ => {}
    }
}

fn shown(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
