//! From a Lua value to JSON text, in one pass over its tables. Reads with
//! what cannot raise; `error` has the words for what cannot be encoded.

use std::os::raw::c_int;

use super::error::{EncodeError, Fault};
use super::number::{Number, float_text, non_finite_text, read, write_float, write_integer};
use super::output::{NotUtf8, Output};
use super::{MAX_DEPTH, has_array_mark};
use crate::lua::{Kind, State, compat, sys};

/// Append the JSON text of the value at `index`; on an error `out` is as it was.
///
/// The caller has 8 free stack slots. The stack is left as it was, and no
/// metamethod is called.
pub fn encode(state: State<'_>, index: c_int, out: &mut Output<'_>) -> Result<(), EncodeError> {
    encode_here(state, index, out)
}

/// The same, in the caller's own code.
#[inline(always)]
pub(super) fn encode_here(
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
    match encoder.outermost(index) {
        Ok(()) => {
            // But for the comma.
            out.truncate(out.len() - 1);
            Ok(())
        }
        Err(fault) => {
            out.truncate(start);
            Err((*fault).finish())
        }
    }
}

/// The same of a table that must become an object, as a Flux payload is.
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

/// A path is gathered only on the way up from an error.
type Outcome<T = ()> = Result<T, Box<Fault>>;

// A level of tables has on the stack the key and the value of a pair. What
// writes it leaves the stack as it was, and so does what fails.
const KEY: c_int = -2;
const VALUE: c_int = -1;

/// Where a table is while a key of it is on top of the stack.
#[derive(Clone, Copy)]
struct Table(c_int);

impl Table {
    /// One that is itself the value of a pair, on top before the key.
    const NESTED: Table = Table(-2);

    /// Where it is while so many more values than the key are on the stack; -1
    /// where not even that is.
    #[inline]
    fn shifted(self, more: c_int) -> c_int {
        match self.0 < 0 {
            true => self.0 - more,
            false => self.0,
        }
    }
}

/// Stack slots are reserved for so many levels at once, the first time at the
/// one where the caller's free ones would run out.
const RESERVED_LEVELS: u32 = 16;
const FIRST_RESERVED: u32 = 3;
/// What a level has on the stack.
const SLOTS: c_int = 2;
/// What may be above them: a key looked up, or two metatables compared.
const SPARE_SLOTS: c_int = 2;

/// After so many tables that began as arrays and were not, look before
/// writing: where such tables are nested, the work would double at each level.
const MAX_RESTARTS: u32 = 8;

struct Encoder<'s, 'o, 'r> {
    state: State<'s>,
    out: &'o mut Output<'r>,
    restarts: u32,
}

impl Encoder<'_, '_, '_> {
    /// Write the value that all others are in, a table most often, and a comma.
    #[inline(always)]
    fn outermost(&mut self, index: c_int) -> Outcome {
        match self.state.kind(index) {
            Kind::Table => self.table(Table(self.state.absolute(index)), 0),
            // Of which there is nothing to copy.
            Kind::None => Err(unencodable(Kind::None)),
            _ => self.copied(index),
        }
    }

    #[inline(never)]
    fn copied(&mut self, index: c_int) -> Outcome {
        self.state.push_value(index);
        let written = self.value(0);
        self.state.pop(1);
        written
    }

    /// Write the value on top and a comma.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn value(&mut self, depth: u32) -> Outcome {
        match self.state.kind(VALUE) {
            // SAFETY: that is what is there.
            Kind::String => unsafe { self.text() },
            Kind::Table => self.table(Table::NESTED, depth),
            // SAFETY: that is what is there.
            Kind::Number => unsafe { self.number() },
            kind => self.scalar(kind),
        }
    }

    fn scalar(&mut self, kind: Kind) -> Outcome {
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

    // Strings and numbers are most of what there is: what writes them asks for
    // the type no second time.

    /// # Safety
    /// A string is on top.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn text(&mut self) -> Outcome {
        // SAFETY: by the contract.
        let text = unsafe { self.state.string(VALUE) };
        match self.out.string(text, b',') {
            Ok(()) => Ok(()),
            Err(NotUtf8) => Err(not_utf8(self.state, "text", VALUE)),
        }
    }

    /// # Safety
    /// A number is on top.
    unsafe fn number(&mut self) -> Outcome {
        let raw = self.state.raw();
        // SAFETY: a number is not converted, so nothing is allocated; and so below.
        if unsafe { compat::isinteger(raw, VALUE) } {
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

    #[inline(never)]
    fn table(&mut self, table: Table, depth: u32) -> Outcome {
        self.go_down(depth)?;
        self.state.push_nil();
        // SAFETY: a table is there; the key is nil, or came from there.
        if !unsafe { self.state.next(table.0) } {
            self.empty(table);
            return Ok(());
        }
        let mut kind = self.state.kind(KEY);
        if kind == Kind::Number {
            // SAFETY: that is what is there.
            match unsafe { self.array(table, depth)? } {
                Some(first) => kind = first,
                None => return Ok(()),
            }
        }
        self.object(table, depth, kind)
    }

    fn go_down(&mut self, depth: u32) -> Outcome {
        if depth == MAX_DEPTH {
            return Err(Fault::new(format!("nesting deeper than {MAX_DEPTH}")));
        }
        let room = SLOTS * RESERVED_LEVELS as c_int + SPARE_SLOTS;
        if depth % RESERVED_LEVELS == FIRST_RESERVED {
            self.state.reserve(room).map_err(Fault::no_stack)?;
        }
        Ok(())
    }

    fn empty(&mut self, table: Table) {
        let text = match has_array_mark(self.state, table.shifted(-1)) {
            true => b"[],",
            false => b"{},",
        };
        self.out.token(text);
    }

    /// Write a table as an array, if it is one. Its first pair, which is on the
    /// stack, has a number key: an array's is nearly always 1. Of an object the
    /// first pair is on the stack then, with a key of the kind returned.
    ///
    /// # Safety
    /// A number is at `KEY`.
    #[inline(never)]
    unsafe fn array(&mut self, table: Table, depth: u32) -> Outcome<Option<Kind>> {
        // SAFETY: by the contract.
        match unsafe { compat::exact_integer(self.state.raw(), KEY) } {
            Some(1) if self.restarts < MAX_RESTARTS => {
                if self.ordered(table, depth)? {
                    return Ok(None);
                }
            }
            Some(1..) => {}
            _ => return Ok(Some(Kind::Number)),
        }
        self.state.pop(SLOTS);
        let index = self.state.absolute(table.shifted(-1));
        if let Some(count) = array_len(self.state, index) {
            self.counted(index, count, depth)?;
            return Ok(None);
        }
        self.state.push_nil();
        // SAFETY: a table is there, and the key is nil.
        unsafe { self.state.next(index) };
        Ok(Some(self.state.kind(KEY)))
    }

    /// Write the table as an array while its keys come in order, 1 being the
    /// first pair on the stack. Where they do not, forget what was written,
    /// leave a pair on the stack, and return false.
    fn ordered(&mut self, table: Table, depth: u32) -> Outcome<bool> {
        let start = self.out.len();
        self.out.byte(b'[');
        let mut n = 1;
        loop {
            if let Err(fault) = self.value(depth + 1) {
                self.state.pop(SLOTS);
                return Err(fault.under_item(n));
            }
            self.state.pop(1);
            // SAFETY: a table is there; the key is nil, or came from there.
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
        self.end(b']');
        Ok(true)
    }

    /// Write a table that is an array, of so many items.
    fn counted(&mut self, table: c_int, count: i64, depth: u32) -> Outcome {
        self.out.byte(b'[');
        for n in 1..=count {
            // SAFETY: callers pass a table.
            unsafe { self.state.raw_get_index_unchecked(table, n) };
            let written = self.value(depth + 1);
            self.state.pop(1);
            written.map_err(|fault| fault.under_item(n))?;
        }
        self.end(b']');
        Ok(())
    }

    /// Write the table as an object, its first pair being on the stack, with a
    /// key of this kind.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn object(&mut self, table: Table, depth: u32, mut kind: Kind) -> Outcome {
        self.out.byte(b'{');
        loop {
            let named = match kind {
                // SAFETY: that is what is there.
                Kind::String => unsafe { self.name(table) },
                _ => self.other_key(),
            };
            if let Err(fault) = named {
                self.state.pop(SLOTS);
                return Err(fault);
            }
            if let Err(fault) = self.value(depth + 1) {
                let fault = fault.under(self.state, KEY);
                self.state.pop(SLOTS);
                return Err(fault);
            }
            self.state.pop(1);
            // SAFETY: a table is there; the key is nil, or came from there.
            if !unsafe { self.state.next(table.0) } {
                break;
            }
            kind = self.state.kind(KEY);
        }
        self.end(b'}');
        Ok(())
    }

    /// A bracket in place of the comma after the last item, and a comma.
    #[inline]
    fn end(&mut self, bracket: u8) {
        // SAFETY: the bracket that it began with.
        unsafe { self.out.end_with(bracket, b',') }
    }

    /// Write a name of an object and the colon.
    ///
    /// # Safety
    /// A string is at `KEY`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn name(&mut self, table: Table) -> Outcome {
        // SAFETY: by the contract.
        let name = unsafe { self.state.string(KEY) };
        // Of the signs among them none begins a number.
        if let Some(b'-'..=b'9') = name.first() {
            self.check_unique(table)?;
        }
        match self.out.string(name, b':') {
            Ok(()) => Ok(()),
            Err(NotUtf8) => Err(not_utf8(self.state, "a key", KEY)),
        }
    }

    fn other_key(&mut self) -> Outcome {
        self.out.byte(b'"');
        if !number_name(self.state, KEY, self.out) {
            return Err(not_a_name(self.state, KEY));
        }
        self.out.token(b"\":");
        Ok(())
    }

    /// That no number key of the table has the name at `KEY` as its text.
    #[inline(never)]
    fn check_unique(&mut self, table: Table) -> Outcome {
        let name = std::str::from_utf8(self.state.bytes(KEY).unwrap_or_default());
        let Some((name, number)) = name.ok().and_then(|name| Some((name, key_number(name)?)))
        else {
            return Ok(());
        };
        let state = self.state;
        match number {
            Number::Integer(n) => state.push_integer(n),
            // SAFETY: there is a free slot, and pushing a number allocates nothing.
            Number::Float(x) => unsafe { sys::lua_pushnumber(state.raw(), x) },
        }
        // Where Lua rounded the integer its text is another, and minus zero is the
        // key 0.
        let is_same = match number {
            Number::Integer(n) => state.integer(-1) == Some(n),
            Number::Float(_) => state.integer(-1).is_none(),
        };
        let is_key = is_same && state.raw_get(table.shifted(2)) != Kind::Nil;
        state.pop(1);
        if is_key {
            return Err(Fault::new(format!(
                "the keys {name} and \"{name}\" have the same text"
            )));
        }
        Ok(())
    }
}

/// How many items the table becomes an array of; none where it becomes an
/// object or is no table. Needs two free slots.
pub fn array_len(state: State<'_>, table: c_int) -> Option<i64> {
    if state.kind(table) != Kind::Table {
        return None;
    }
    let top = state.top();
    let key = top + 1;
    let (mut count, mut greatest) = (0, 0);
    state.push_nil();
    // SAFETY: a table is there; the key is nil, or came from there.
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

/// Append the name that a number key becomes, and return true; other values
/// become none.
pub fn number_name(state: State<'_>, key: c_int, out: &mut Output<'_>) -> bool {
    match (state.kind(key), state.integer(key), state.number(key)) {
        (Kind::Number, Some(n), _) => write_integer(out, n),
        (Kind::Number, None, Some(x)) if x.is_finite() => write_float(out, x),
        _ => return false,
    }
    true
}

/// The number whose text as a key is exactly this.
fn key_number(text: &str) -> Option<Number> {
    let (number, end) = read(text, 0).ok()?;
    if end < text.len() {
        return None;
    }
    if let Number::Float(x) = number {
        return (float_text(x) == text).then_some(number);
    }
    // An integer has one text alone.
    Some(number)
}

#[cold]
fn unencodable(kind: Kind) -> Box<Fault> {
    Fault::new(match kind {
        Kind::Nil | Kind::None => "cannot encode nil".to_owned(),
        kind => format!("cannot encode a {}", kind.name()),
    })
}

#[cold]
fn not_a_name(state: State<'_>, key: c_int) -> Box<Fault> {
    match state.number(key) {
        Some(x) => not_finite("a key", x),
        None => Fault::new(format!("a key of type {}", state.kind(key).name())),
    }
}

#[cold]
fn not_finite(what: &str, x: f64) -> Box<Fault> {
    let x = non_finite_text(x);
    Fault::new(format!("{what} is not finite ({x})"))
}

/// The string at `index` is not.
#[cold]
fn not_utf8(state: State<'_>, what: &str, index: c_int) -> Box<Fault> {
    let checked = std::str::from_utf8(state.bytes(index).unwrap_or_default());
    let valid = checked.map_or_else(|error| error.valid_up_to(), str::len);
    Fault::new(format!("{what} is not UTF-8 at byte {}", valid + 1))
}
