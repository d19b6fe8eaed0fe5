//! Shared by the fuzz targets: reads an input as a sequence of decisions, and
//! compares Lua values and JSON values with those of serde_json. A difference is a
//! panic, which libFuzzer reports.

use std::os::raw::c_int;

use flux::lua::{Kind, State};
use serde_json::{Number, Value};

/// Whether this Lua has an integer type.
pub const HAS_INTEGERS: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));

/// An input as a sequence of decisions. After its end, all decisions are zero.
pub struct Decisions<'d>(&'d [u8]);

impl<'d> Decisions<'d> {
    /// The decisions of an input.
    pub fn new(data: &'d [u8]) -> Decisions<'d> {
        Decisions(data)
    }

    /// Whether the input has ended.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// One of at most 256 choices.
    pub fn choose<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len())]
    }

    /// The next `n` bytes, or fewer at the end of the input.
    pub fn bytes(&mut self, n: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        let mut word = [0; 8];
        let taken = self.bytes(8);
        word[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(word)
    }
}

/// The maximum nesting depth of brackets. Exact if the text is JSON.
pub fn nesting(data: &[u8]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    let mut bytes = data.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn skip_string<'d>(bytes: &mut impl Iterator<Item = &'d u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

/// The Lua value that null decodes to.
#[derive(Clone, Copy, Debug)]
pub enum Null {
    /// Nil, so the entry is missing in its table.
    Nil,
    /// `flux.NULL`, a light userdata.
    Light,
}

/// Assert that the Lua value on top of the stack equals `value`, including nested
/// tables.
pub fn assert_decoded(state: State<'_>, value: &Value, null: Null) {
    match (value, state.kind(-1)) {
        (Value::Null, kind) => match null {
            Null::Nil => assert_eq!(kind, Kind::Nil),
            Null::Light => {
                assert_eq!(kind, Kind::LightUserdata);
                assert_eq!(state.userdata(-1), None);
            }
        },
        (Value::Bool(value), Kind::Boolean) => assert_eq!(*value, state.boolean(-1)),
        (Value::Number(value), Kind::Number) => assert_number(state, value),
        (Value::String(value), Kind::String) => {
            assert_eq!(Some(value.as_bytes()), state.bytes(-1));
        }
        (Value::Array(items), Kind::Table) => assert_array(state, items, null),
        (Value::Object(_), Kind::Table) => assert_object(state, value, null),
        (value, kind) => panic!("{value} became a {}", kind.name()),
    }
}

/// Assert that the number on top of the stack equals `value`: as an integer if it
/// fits and Lua has integers, otherwise as a float with the same bits.
fn assert_number(state: State<'_>, value: &Number) {
    let (integer, float) = (value.as_i64(), value.as_f64().expect("a number"));
    if HAS_INTEGERS && integer.is_some() {
        assert!(state.has_integer_subtype(-1), "{value} became a float");
        assert_eq!(integer, state.integer(-1));
        return;
    }
    if HAS_INTEGERS {
        assert!(!state.has_integer_subtype(-1), "{value} became an integer");
    }
    let got = state.number(-1).expect("a number");
    assert_eq!(float.to_bits(), got.to_bits(), "{value} became {got:?}");
}

fn is_kept(value: &Value, null: Null) -> bool {
    matches!(null, Null::Light) || !value.is_null()
}

fn assert_array(state: State<'_>, items: &[Value], null: Null) {
    let table = state.top();
    assert!(state.reserve(4).is_ok());
    for (n, item) in (1..).zip(items) {
        state.raw_get_index(table, n);
        assert_decoded(state, item, null);
        state.set_top(table);
    }
    let kept = items.iter().filter(|item| is_kept(item, null)).count();
    assert_eq!(count(state, table), kept);
}

fn assert_object(state: State<'_>, value: &Value, null: Null) {
    let table = state.top();
    assert!(state.reserve(4).is_ok());
    let fields = value.as_object().expect("an object");
    state.push_nil();
    // SAFETY: a table is at `table`. The key is nil, or `next` pushed it.
    while unsafe { state.next(table) } {
        let name = state.bytes(table + 1).expect("a name is a string");
        let name = std::str::from_utf8(name).expect("a name is UTF-8");
        let field = fields.get(name).expect("a name of the object");
        assert_decoded(state, field, null);
        state.set_top(table + 1);
    }
    let kept = fields.values().filter(|field| is_kept(field, null)).count();
    assert_eq!(count(state, table), kept);
}

fn count(state: State<'_>, table: c_int) -> usize {
    let mut count = 0;
    state.push_nil();
    // SAFETY: a table is at `table`. The key is nil, or `next` pushed it.
    while unsafe { state.next(table) } {
        state.pop(1);
        count += 1;
    }
    count
}

/// Assert that `written` is the encoding of the Lua value that `value` decodes to.
pub fn assert_encoded(value: &Value, written: &Value) {
    match (value, written) {
        (Value::Number(value), Value::Number(written)) => match value.as_i64() {
            Some(n) if HAS_INTEGERS => assert_eq!(written.as_i64(), Some(n)),
            _ => assert_float(value.as_f64().expect("a number"), written),
        },
        (Value::Array(values), Value::Array(all)) => {
            assert_eq!(values.len(), all.len());
            for (value, written) in values.iter().zip(all) {
                assert_encoded(value, written);
            }
        }
        (Value::Object(fields), Value::Object(all)) => {
            assert_eq!(fields.len(), all.len());
            for (name, value) in fields {
                assert_encoded(value, &all[name]);
            }
        }
        _ => assert_eq!(value, written),
    }
}

/// Assert that `written` is the encoding of the float `x`: an integer if `x` is
/// integral, below 2^53 and not minus zero, otherwise a float with the same bits.
pub fn assert_float(x: f64, written: &Number) {
    let is_integral = x.trunc() == x && x.abs() < (1_u64 << 53) as f64;
    let is_integer = is_integral && x.to_bits() != (-0.0_f64).to_bits();
    assert_eq!(written.is_i64(), is_integer, "{x:?} was written {written}");
    let back = written.as_f64().expect("a number");
    assert_eq!(x.to_bits(), back.to_bits(), "{x:?} was written {written}");
}
