//! Encodes a Lua value as JSON text, in one pass over its tables. Uses only Lua
//! functions that cannot raise. `error` builds the paths of error messages;
//! `output` and `number` write strings and numbers.
//!
//! Each value is written with a comma after it. The closing bracket then
//! replaces the last comma.

use std::os::raw::c_int;

use super::array_mark::has_array_mark;
use super::error::{EncodeError, Fault};
use super::number::{Number, float_text, non_finite_text, read, write_float, write_integer};
use super::output::{NotUtf8, Output};
use crate::MAX_JSON_DEPTH as MAX_DEPTH;
use crate::lua::{Kind, State, compat, sys};

/// Append the JSON text of the value at stack index `index`. On an error, `out`
/// is unchanged.
///
/// Needs 8 free stack slots and reserves more for nested tables. Leaves the stack
/// unchanged and calls no metamethods.
pub fn encode(state: State<'_>, index: c_int, out: &mut Output<'_>) -> Result<(), EncodeError> {
    encode_inline(state, index, out)
}

/// Like [`encode`], but inlined into the caller.
#[inline(always)]
pub(super) fn encode_inline(
    state: State<'_>,
    index: c_int,
    out: &mut Output<'_>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let mut encoder = Encoder {
        state,
        out,
        restarts: 0,
    };
    match encoder.root(index) {
        Ok(()) => {
            // Remove the comma after the root value.
            out.truncate(out.len() - 1);
            Ok(())
        }
        Err(fault) => {
            out.truncate(start);
            Err((*fault).finish())
        }
    }
}

/// Like [`encode`], but the result must be a JSON object, as Flux payloads are.
/// Any other result is the error [`EncodeError::NotAnObject`].
pub fn encode_object(
    state: State<'_>,
    index: c_int,
    out: &mut Output<'_>,
) -> Result<(), EncodeError> {
    let start = out.len();
    match encode(state, index, out) {
        Ok(()) if out[start] == b'{' => Ok(()),
        Err(error) if state.kind(index) == Kind::Table => Err(error),
        _ => {
            out.truncate(start);
            Err(EncodeError::NotAnObject)
        }
    }
}

/// The result of encoding a part of the value. The path is only built when an
/// error propagates.
type EncodeResult<T = ()> = Result<T, Box<Fault>>;

// Each level of tables keeps the key and the value of the current pair on top of
// the stack. Every function that writes a value leaves the stack unchanged, also
// on an error.
const KEY: c_int = -2;
const VALUE: c_int = -1;

/// The stack index of a table while one of its keys is on top of the stack.
#[derive(Clone, Copy)]
struct Table(c_int);

impl Table {
    /// A nested table: the value of the enclosing pair, right below the key.
    const NESTED: Table = Table(-2);

    /// The index of the table while `more` values are on the stack above the key.
    /// With `more` = -1, the key is popped too.
    #[inline]
    fn below(self, more: c_int) -> c_int {
        match self.0 < 0 {
            true => self.0 - more,
            false => self.0,
        }
    }
}

/// Stack slots are reserved for this many levels at once.
const RESERVED_LEVELS: u32 = 16;
/// Slots are first reserved at this depth. The 8 slots of the caller suffice for
/// the levels above it: two for each, and the spare ones.
const RESERVING_LEVEL: u32 = 3;
/// The slots of a level: the key and the value of a pair.
const PAIR_SLOTS: c_int = 2;
/// The slots used above all levels: a key to look up, or two metatables to
/// compare.
const SPARE_SLOTS: c_int = 2;

/// A table is first written as an array until a key breaks the order. After this
/// many failed attempts, the keys are checked before writing. Otherwise the work
/// would double at each level of nested tables of this kind.
const MAX_RESTARTS: u32 = 8;

struct Encoder<'s, 'o, 'r> {
    state: State<'s>,
    out: &'o mut Output<'r>,
    /// How many tables were written as arrays first and then as objects.
    restarts: u32,
}

impl Encoder<'_, '_, '_> {
    /// Write the root value and a comma.
    #[inline(always)]
    fn root(&mut self, index: c_int) -> EncodeResult {
        match self.state.kind(index) {
            // SAFETY: a table is at the absolute index.
            Kind::Table => unsafe { self.table(Table(self.state.absolute(index)), 0) },
            // There is no value to copy.
            Kind::None => Err(unencodable(Kind::None)),
            _ => self.root_scalar(index),
        }
    }

    /// Write the root value, which is not a table, and a comma. Copies it to the
    /// top of the stack, where `value` expects it.
    #[inline(never)]
    fn root_scalar(&mut self, index: c_int) -> EncodeResult {
        self.state.push_value(index);
        let written = self.value(0);
        self.state.pop(1);
        written
    }

    /// Write the value on top of the stack and a comma.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn value(&mut self, depth: u32) -> EncodeResult {
        match self.state.kind(VALUE) {
            // SAFETY: the value is a string.
            Kind::String => unsafe { self.text() },
            // SAFETY: the value is a table, so it is right below the key to push.
            Kind::Table => unsafe { self.table(Table::NESTED, depth) },
            // SAFETY: the value is a number.
            Kind::Number => unsafe { self.number() },
            kind => self.scalar(kind),
        }
    }

    /// Write a boolean or null and a comma. Other kinds are errors.
    fn scalar(&mut self, kind: Kind) -> EncodeResult {
        match kind {
            Kind::Boolean if self.state.boolean(VALUE) => self.out.token(b"true,"),
            Kind::Boolean => self.out.token(b"false,"),
            Kind::LightUserdata if self.state.userdata(VALUE).is_none() => {
                self.out.token(b"null,");
            }
            kind => return Err(unencodable(kind)),
        }
        Ok(())
    }

    // Most values are strings and numbers, so the next two functions do not check
    // the type again.

    /// Write the string on top of the stack and a comma.
    ///
    /// # Safety
    /// A string is on top of the stack.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn text(&mut self) -> EncodeResult {
        // SAFETY: the caller guarantees a string.
        let text = unsafe { self.state.string(VALUE) };
        match self.out.string(text, b',') {
            Ok(()) => Ok(()),
            Err(NotUtf8) => Err(not_utf8(self.state, "text", VALUE)),
        }
    }

    /// Write the number on top of the stack and a comma.
    ///
    /// # Safety
    /// A number is on top of the stack.
    unsafe fn number(&mut self) -> EncodeResult {
        let raw = self.state.raw();
        // SAFETY: the state is live, and any value may be at the index.
        if unsafe { compat::isinteger(raw, VALUE) } {
            // SAFETY: the value is a number, so reading it neither converts nor
            // allocates.
            let n = unsafe { compat::exact_integer(raw, VALUE) };
            write_integer(self.out, n.unwrap_or_default());
        } else {
            // SAFETY: as above.
            let x = unsafe { compat::tonumber(raw, VALUE) };
            if !x.is_finite() {
                return Err(not_finite("number", x));
            }
            write_float(self.out, x);
        }
        self.out.byte(b',');
        Ok(())
    }

    /// Write a table and a comma.
    ///
    /// # Safety
    /// A table is at `table` as soon as a key is pushed.
    #[inline(never)]
    unsafe fn table(&mut self, table: Table, depth: u32) -> EncodeResult {
        self.enter_table(depth)?;
        self.state.push_nil();
        // SAFETY: the caller guarantees the table, and the key is nil.
        if !unsafe { self.state.next(table.0) } {
            self.empty(table);
            return Ok(());
        }
        let mut kind = self.state.kind(KEY);
        if kind == Kind::Number {
            // SAFETY: the first pair is on the stack, and its key is a number.
            match unsafe { self.array(table, depth)? } {
                Some(first) => kind = first,
                None => return Ok(()),
            }
        }
        // SAFETY: the first pair is on the stack, and `kind` is that of its key.
        unsafe { self.object(table, depth, kind) }
    }

    /// Check the depth, and reserve stack slots for this level and some more.
    fn enter_table(&mut self, depth: u32) -> EncodeResult {
        if depth == MAX_DEPTH {
            return Err(Fault::new(format!("nesting deeper than {MAX_DEPTH}")));
        }
        let slots = PAIR_SLOTS * RESERVED_LEVELS as c_int + SPARE_SLOTS;
        if depth % RESERVED_LEVELS == RESERVING_LEVEL {
            self.state.reserve(slots).map_err(Fault::no_stack)?;
        }
        Ok(())
    }

    /// Write an empty table, whose key is already popped, and a comma.
    fn empty(&mut self, table: Table) {
        let text = match has_array_mark(self.state, table.below(-1)) {
            true => b"[],",
            false => b"{},",
        };
        self.out.token(text);
    }

    /// Write a table whose first key is a number as an array, if it is one, and
    /// return `None`. Otherwise, write nothing and return the kind of the first key;
    /// the first pair is then on the stack again.
    ///
    /// # Safety
    /// A table is at `table`. Its first pair is on the stack, with a number at `KEY`.
    #[inline(never)]
    unsafe fn array(&mut self, table: Table, depth: u32) -> EncodeResult<Option<Kind>> {
        // SAFETY: the caller guarantees a number at `KEY`.
        match unsafe { compat::exact_integer(self.state.raw(), KEY) } {
            Some(1) if self.restarts < MAX_RESTARTS => {
                // SAFETY: the first pair is on the stack, and its key is 1.
                if unsafe { self.array_in_order(table, depth)? } {
                    return Ok(None);
                }
            }
            Some(1..) => {}
            _ => return Ok(Some(Kind::Number)),
        }
        self.state.pop(PAIR_SLOTS);
        let index = self.state.absolute(table.below(-1));
        if let Some(count) = array_len(self.state, index) {
            // SAFETY: a table is at the absolute index.
            unsafe { self.array_by_index(index, count, depth)? };
            return Ok(None);
        }
        self.state.push_nil();
        // SAFETY: a table is at the absolute index, and the key is nil.
        unsafe { self.state.next(index) };
        Ok(Some(self.state.kind(KEY)))
    }

    /// Write the table as an array as long as `next` returns its keys in order. At a
    /// key out of order, remove the text, leave that pair on the stack, and return
    /// false.
    ///
    /// # Safety
    /// A table is at `table`. Its first pair is on the stack, with the key 1.
    unsafe fn array_in_order(&mut self, table: Table, depth: u32) -> EncodeResult<bool> {
        let start = self.out.len();
        self.out.byte(b'[');
        let mut n = 1;
        loop {
            if let Err(fault) = self.value(depth + 1) {
                self.state.pop(PAIR_SLOTS);
                return Err(fault.at_item(n));
            }
            self.state.pop(1);
            // SAFETY: the caller guarantees the table, and `next` pushed the key.
            if !unsafe { self.state.next(table.0) } {
                break;
            }
            n += 1;
            if self.state.integer(KEY) != Some(n) {
                self.out.truncate(start);
                self.restarts += 1;
                return Ok(false);
            }
        }
        // SAFETY: the text ends with a comma.
        unsafe { self.end(b']') };
        Ok(true)
    }

    /// Write a table that is an array of `count` items.
    ///
    /// # Safety
    /// A table is at the absolute index `table`.
    unsafe fn array_by_index(&mut self, table: c_int, count: i64, depth: u32) -> EncodeResult {
        self.out.byte(b'[');
        for n in 1..=count {
            // SAFETY: the caller guarantees the table.
            unsafe { self.state.raw_get_index_unchecked(table, n) };
            let written = self.value(depth + 1);
            self.state.pop(1);
            written.map_err(|fault| fault.at_item(n))?;
        }
        // SAFETY: the text ends with the comma of an item, or with the bracket above.
        unsafe { self.end(b']') };
        Ok(())
    }

    /// Write the table as an object.
    ///
    /// # Safety
    /// A table is at `table`. Its first pair is on the stack, with a key of this kind.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn object(&mut self, table: Table, depth: u32, mut kind: Kind) -> EncodeResult {
        self.out.byte(b'{');
        loop {
            let named = match kind {
                // SAFETY: a string is at `KEY`.
                Kind::String => unsafe { self.name(table) },
                _ => self.number_key(),
            };
            if let Err(fault) = named {
                self.state.pop(PAIR_SLOTS);
                return Err(fault);
            }
            if let Err(fault) = self.value(depth + 1) {
                let fault = fault.at_key(self.state, KEY);
                self.state.pop(PAIR_SLOTS);
                return Err(fault);
            }
            self.state.pop(1);
            // SAFETY: the caller guarantees the table, and `next` pushed the key.
            if !unsafe { self.state.next(table.0) } {
                break;
            }
            kind = self.state.kind(KEY);
        }
        // SAFETY: the text ends with a comma.
        unsafe { self.end(b'}') };
        Ok(())
    }

    /// Replace the comma after the last item by the bracket, and append a comma.
    ///
    /// # Safety
    /// The text is not empty.
    #[inline]
    unsafe fn end(&mut self, bracket: u8) {
        // SAFETY: the caller guarantees a last byte.
        unsafe { self.out.replace_last(bracket, b',') }
    }

    /// Write the string at `KEY` as a name, and the colon.
    ///
    /// # Safety
    /// A string is at `KEY`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn name(&mut self, table: Table) -> EncodeResult {
        // SAFETY: the caller guarantees a string.
        let name = unsafe { self.state.string(KEY) };
        // The range covers all characters that a number can start with, and '.' and
        // '/', which no number starts with.
        if let Some(b'-'..=b'9') = name.first() {
            self.check_unique(table)?;
        }
        match self.out.string(name, b':') {
            Ok(()) => Ok(()),
            Err(NotUtf8) => Err(not_utf8(self.state, "a key", KEY)),
        }
    }

    /// Write the number at `KEY` as a name, and the colon. Other keys are errors.
    fn number_key(&mut self) -> EncodeResult {
        self.out.byte(b'"');
        if !number_name(self.state, KEY, self.out) {
            return Err(not_a_name(self.state, KEY));
        }
        self.out.token(b"\":");
        Ok(())
    }

    /// Check that the table has no number key with the same text as the string at
    /// `KEY`.
    #[inline(never)]
    fn check_unique(&mut self, table: Table) -> EncodeResult {
        let name = std::str::from_utf8(self.state.bytes(KEY).unwrap_or_default());
        let Some((name, number)) = name.ok().and_then(|name| Some((name, key_number(name)?)))
        else {
            return Ok(());
        };
        let state = self.state;
        match number {
            Number::Integer(n) => state.push_integer(n),
            // SAFETY: a spare slot is free (SPARE_SLOTS), and pushing a number does not
            // allocate.
            Number::Float(x) => unsafe { sys::lua_pushnumber(state.raw(), x) },
        }
        // Without integers, Lua may have rounded the number; its text then differs.
        // Minus zero became the key 0, whose text differs too.
        let is_same = match number {
            Number::Integer(n) => state.integer(-1) == Some(n),
            Number::Float(_) => state.integer(-1).is_none(),
        };
        let is_key = is_same && state.raw_get(table.below(2)) != Kind::Nil;
        state.pop(1);
        if is_key {
            return Err(Fault::new(format!(
                "the keys {name} and \"{name}\" have the same text"
            )));
        }
        Ok(())
    }
}

/// The number of items if a table that encodes as an array is at `table`, or `None`
/// for any other value. Needs two free stack slots.
pub fn array_len(state: State<'_>, table: c_int) -> Option<i64> {
    if state.kind(table) != Kind::Table {
        return None;
    }
    let table = state.absolute(table);
    let top = state.top();
    let key = top + 1;
    let (mut count, mut greatest) = (0, 0);
    state.push_nil();
    // SAFETY: a table is at `table`. The key is nil, or `next` pushed it.
    while unsafe { state.next(table) } {
        let n = state.integer(key).filter(|&n| n > 0);
        let Some(n) = n else {
            state.set_top(top);
            return None;
        };
        count += 1;
        greatest = greatest.max(n);
        state.set_top(key);
    }
    if count == 0 && !has_array_mark(state, table) {
        return None;
    }
    (count == greatest).then_some(count)
}

/// Append the name for the finite number key at stack index `key` and return
/// true. For any other value, append nothing and return false.
pub fn number_name(state: State<'_>, key: c_int, out: &mut Output<'_>) -> bool {
    match (state.kind(key), state.integer(key), state.number(key)) {
        (Kind::Number, Some(n), _) => write_integer(out, n),
        (Kind::Number, None, Some(x)) if x.is_finite() => write_float(out, x),
        _ => return false,
    }
    true
}

/// The number that encodes to exactly this text as a key.
fn key_number(text: &str) -> Option<Number> {
    let (number, end) = read(text, 0).ok()?;
    if end < text.len() {
        return None;
    }
    if let Number::Float(x) = number {
        return (float_text(x) == text).then_some(number);
    }
    // An integer has only one text.
    Some(number)
}

/// The error for a value of a kind that JSON does not have.
#[cold]
fn unencodable(kind: Kind) -> Box<Fault> {
    Fault::new(match kind {
        Kind::Nil | Kind::None => "cannot encode nil".to_owned(),
        kind => format!("cannot encode a {}", kind.name()),
    })
}

/// The error for the key at `key`, which is neither a string nor a finite number.
#[cold]
fn not_a_name(state: State<'_>, key: c_int) -> Box<Fault> {
    match state.number(key) {
        Some(x) => not_finite("a key", x),
        None => Fault::new(format!("a key of type {}", state.kind(key).name())),
    }
}

/// The error for the number `x`. `what` says where it is.
#[cold]
fn not_finite(what: &str, x: f64) -> Box<Fault> {
    let x = non_finite_text(x);
    Fault::new(format!("{what} is not finite ({x})"))
}

/// The error for the string at `index`, which is not UTF-8. `what` says where it
/// is.
#[cold]
fn not_utf8(state: State<'_>, what: &str, index: c_int) -> Box<Fault> {
    let checked = std::str::from_utf8(state.bytes(index).unwrap_or_default());
    let valid = checked.map_or_else(|error| error.valid_up_to(), str::len);
    Fault::new(format!("{what} is not UTF-8 at byte {}", valid + 1))
}
