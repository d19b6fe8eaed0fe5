//! JSON objects. Those that others wrote are read one level at a time: what is
//! not asked for stays the text that it is. A tree of all of it would take a
//! hundred times the memory of a text that is made for that. Those that are
//! sent are written straight from their fields.

use std::fmt::Write;

pub use super::scan::text;

use super::scan::Scanner;

/// An object's fields, sorted by name; of equal names the last.
pub struct Object<'t>(Vec<(String, &'t str)>);

impl<'t> Object<'t> {
    /// None for what is no JSON object.
    pub fn parse(json: &'t [u8]) -> Option<Object<'t>> {
        let mut scanner = Scanner::new(std::str::from_utf8(json).ok()?);
        let mut fields = Vec::new();
        if !scanner.take(b'{') {
            return None;
        }
        while !scanner.take(b'}') {
            if !fields.is_empty() && !scanner.take(b',') {
                return None;
            }
            fields.push((text(scanner.name()?)?, scanner.value()?));
        }
        sort(&mut fields);
        fields.dedup_by(|(a, _), (b, _)| a == b);
        scanner.is_at_end().then_some(Object(fields))
    }

    pub fn object(&self, name: &str) -> Option<Object<'t>> {
        Object::parse(self.json(name)?.as_bytes())
    }

    /// A string's text.
    pub fn text(&self, name: &str) -> Option<String> {
        text(self.json(name)?)
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.json(name)?.parse().ok()
    }

    /// A number that is written as an integer, and in the range of 64 bits.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.json(name)?.parse().ok()
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        self.integer(name)?.try_into().ok()
    }

    /// The JSON text of a field.
    pub fn json(&self, name: &str) -> Option<&'t str> {
        let at = self.0.binary_search_by(|(n, _)| n.as_str().cmp(name));
        at.ok().map(|at| self.0[at].1)
    }

    /// The fields with their JSON texts, sorted by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'t str)> {
        self.0.iter().map(|(name, json)| (name.as_str(), *json))
    }
}

impl<'t> Object<'t> {
    /// The fields with their JSON texts, sorted by name.
    pub fn into_fields(self) -> std::vec::IntoIter<(String, &'t str)> {
        self.0.into_iter()
    }
}

/// Sort by name; of equal names the last in the text is first.
fn sort(fields: &mut [(String, &str)]) {
    fields.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(y.as_ptr().cmp(&x.as_ptr())));
}

/// The names in their order. They are sorted as fields are: what sorts another
/// type is five kilobytes more.
pub fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut fields: Vec<(String, &str)> = names.map(|name| (name, "")).collect();
    sort(&mut fields);
    fields.into_iter().map(|(name, _)| name).collect()
}

/// The items of a JSON array, as JSON; `None` for what is none.
pub fn items(json: &str) -> Option<Vec<&str>> {
    let mut scanner = Scanner::new(json);
    let mut items = Vec::new();
    if !scanner.take(b'[') {
        return None;
    }
    while !scanner.take(b']') {
        if !items.is_empty() && !scanner.take(b',') {
            return None;
        }
        items.push(scanner.value()?);
    }
    scanner.is_at_end().then_some(items)
}

/// What a field that is written holds.
pub enum Field<'a> {
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    /// What is JSON already.
    Json(&'a str),
}

/// An object with these fields, in their order.
pub fn write(fields: &[(&str, Field<'_>)]) -> String {
    let mut out = String::from("{");
    for (name, field) in fields {
        if out.len() > 1 {
            out.push(',');
        }
        write_text(&mut out, name);
        out.push(':');
        match field {
            Field::Text(text) => write_text(&mut out, text),
            Field::Json(json) => out += json,
            // Writing to a String does not fail.
            Field::Integer(n) => drop(write!(out, "{n}")),
            Field::Boolean(b) => drop(write!(out, "{b}")),
        }
    }
    out.push('}');
    out
}

/// An array of what is JSON already.
pub fn write_items(items: &[String]) -> String {
    ["[", &items.join(","), "]"].concat()
}

/// Append a text as a JSON string.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        *out += &rest[..at];
        match rest.as_bytes()[at] {
            b'"' => *out += "\\\"",
            b'\\' => *out += "\\\\",
            b'\n' => *out += "\\n",
            b'\r' => *out += "\\r",
            b'\t' => *out += "\\t",
            control => drop(write!(out, "\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    *out += rest;
    out.push('"');
}
