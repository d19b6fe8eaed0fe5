//! JSON objects that others wrote, read one level at a time: what is not asked
//! for stays the text that it is. A tree of all of it would take a hundred
//! times the memory of a text that is made for that.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// An object's fields; of equal names the last.
pub struct Object<'t>(BTreeMap<String, &'t RawValue>);

impl<'t> Object<'t> {
    /// None for what is no JSON object.
    pub fn parse(text: &'t [u8]) -> Option<Object<'t>> {
        serde_json::from_slice(text).ok().map(Object)
    }

    pub fn object(&self, name: &str) -> Option<Object<'t>> {
        Object::parse(self.value(name)?.as_bytes())
    }

    /// A string's text.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.value(name)?).ok()
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        serde_json::from_str(self.value(name)?).ok()
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        serde_json::from_str(self.value(name)?).ok()
    }

    /// The fields that are objects, and those that are not as `None`.
    pub fn objects(&self) -> impl Iterator<Item = (&str, Option<Object<'t>>)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (name.as_str(), Object::parse(value.get().as_bytes())))
    }

    fn value(&self, name: &str) -> Option<&'t str> {
        self.0.get(name).map(|value| value.get())
    }
}
