//! From a Lua value to JSON text, in one pass over its tables. Reads with
//! what cannot raise; `error` has the words for what cannot be encoded.

use std::os::raw::c_int;

use super::error::{EncodeError, Fault};
use super::number::{Number, non_finite_text, read, write_float, write_integer};
use super::text::{NotUtf8, write_string};
use super::{MAX_DEPTH, has_array_mark};
use crate::lua::{Kind, State, compat, sys};

/// Append the JSON text of the value at `index`; on an error `out` is as it was.
///
/// The caller has 8 free stack slots. The stack is left as it was, and no
/// metamethod is called.
pub fn encode(state: State<'_>, index: c_int, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let top = state.top();
    let start = out.len();
    let index = state.absolute(index);
    let mut encoder = Encoder {
        state,
        out,
        restarts: 0,
    };
    if let Err(fault) = encoder.value(index, top, 0) {
        out.truncate(start);
        state.set_top(top);
        return Err((*fault).finish());
    }
    // The comma.
    out.pop();
    Ok(())
}

/// The same of a table that must become an object, as a Flux payload is.
#[inline]
pub fn encode_object(state: State<'_>, index: c_int, out: &mut Vec<u8>) -> Result<(), EncodeError> {
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

/// Stack slots are reserved for so many levels of tables at once, the first
/// time at the level where the caller's free ones would run out.
const RESERVED_LEVELS: u32 = 16;
const FIRST_RESERVED: u32 = 3;
/// What a level has on the stack: the key and the value.
const SLOTS: c_int = 2;
/// What may be above them: a key looked up, or two metatables compared.
const SPARE_SLOTS: c_int = 2;

/// After so many tables that began as arrays and were not, look before
/// writing: where such tables are nested, the work would double at each level.
const MAX_RESTARTS: u32 = 8;

struct Encoder<'s, 'o> {
    state: State<'s>,
    out: &'o mut Vec<u8>,
    restarts: u32,
}

impl Encoder<'_, '_> {
    /// Write the value at `index` and a comma; `top` is the stack's.
    #[inline(always)]
    fn value(&mut self, index: c_int, top: c_int, depth: u32) -> Outcome {
        match self.state.kind(index) {
            // SAFETY: that is what is there.
            Kind::String => unsafe { self.text(index) },
            Kind::Table => self.table(index, top, depth),
            // SAFETY: that is what is there.
            Kind::Number => unsafe { self.number(index) },
            kind => self.scalar(kind, index),
        }
    }

    fn scalar(&mut self, kind: Kind, index: c_int) -> Outcome {
        match kind {
            Kind::Boolean if self.state.boolean(index) => self.out.extend_from_slice(b"true"),
            Kind::Boolean => self.out.extend_from_slice(b"false"),
            Kind::LightUserdata if self.state.userdata(index).is_none() => {
                self.out.extend_from_slice(b"null");
            }
            kind => return Err(unencodable(kind)),
        }
        self.out.push(b',');
        Ok(())
    }

    // Strings and numbers are most of what there is: what writes them asks for
    // the type no second time.

    /// # Safety
    /// A string is at `index`.
    unsafe fn text(&mut self, index: c_int) -> Outcome {
        // SAFETY: by the contract.
        unsafe { self.string(index, b',') }.map_err(|NotUtf8| not_utf8(self.state, "text", index))
    }

    /// Write a string, and after it `then`.
    ///
    /// # Safety
    /// A string is at `index`.
    #[inline(always)]
    unsafe fn string(&mut self, index: c_int, then: u8) -> Result<(), NotUtf8> {
        let mut len = 0;
        // SAFETY: a string is not converted, so nothing is allocated, and its
        // bytes stay while it is on the stack, which it is throughout.
        let text = unsafe {
            let start = sys::lua_tolstring(self.state.raw(), index, &mut len);
            std::slice::from_raw_parts(start.cast(), len)
        };
        write_string(self.out, text, then)
    }

    /// # Safety
    /// A number is at `index`.
    unsafe fn number(&mut self, index: c_int) -> Outcome {
        let raw = self.state.raw();
        // SAFETY: a number is not converted, so nothing is allocated; and so below.
        if unsafe { compat::isinteger(raw, index) } {
            let n = unsafe { compat::exact_integer(raw, index) };
            write_integer(self.out, n.unwrap_or_default());
        } else {
            // SAFETY: as above.
            let x = unsafe { compat::tonumber(raw, index) };
            if !x.is_finite() {
                return Err(not_finite("number", x));
            }
            write_float(self.out, x);
        }
        self.out.push(b',');
        Ok(())
    }

    #[inline(never)]
    fn table(&mut self, table: c_int, top: c_int, depth: u32) -> Outcome {
        self.go_down(depth)?;
        self.state.push_nil();
        if !self.state.next(table) {
            self.empty(table);
            return Ok(());
        }
        match self.state.kind(top + 1) {
            // SAFETY: that is what is there.
            Kind::Number => unsafe { self.likely_array(table, top, depth) },
            kind => self.object(table, top, depth, kind),
        }
    }

    /// Write a table whose first pair, which is on the stack, has a number key:
    /// an array's is nearly always 1.
    ///
    /// # Safety
    /// A number is at `top + 1`.
    unsafe fn likely_array(&mut self, table: c_int, top: c_int, depth: u32) -> Outcome {
        // SAFETY: by the contract.
        match unsafe { compat::exact_integer(self.state.raw(), top + 1) } {
            Some(1) if self.restarts < MAX_RESTARTS => {
                if self.array(table, top, depth)? {
                    return Ok(());
                }
            }
            Some(1..) => {}
            _ => return self.object(table, top, depth, Kind::Number),
        }
        self.state.set_top(top);
        self.numbered(table, top, depth)
    }

    fn go_down(&mut self, depth: u32) -> Outcome {
        if depth == MAX_DEPTH {
            return Err(Fault::new(format!("nesting deeper than {MAX_DEPTH}")));
        }
        let room = SLOTS * RESERVED_LEVELS as c_int + SPARE_SLOTS;
        if depth % RESERVED_LEVELS == FIRST_RESERVED {
            self.state.reserve(room).map_err(Fault::no_room)?;
        }
        Ok(())
    }

    fn empty(&mut self, table: c_int) {
        let text = match has_array_mark(self.state, table) {
            true => b"[],",
            false => b"{},",
        };
        self.out.extend_from_slice(text);
    }

    /// Write the table as an array while its keys come in order, 1 being the
    /// first pair on the stack. Where they do not, forget what was written
    /// and return false.
    fn array(&mut self, table: c_int, top: c_int, depth: u32) -> Outcome<bool> {
        let (key, value) = (top + 1, top + 2);
        let start = self.out.len();
        self.out.push(b'[');
        let mut n = 1;
        loop {
            if let Err(fault) = self.value(value, value, depth + 1) {
                return Err(fault.under_item(n));
            }
            self.state.set_top(key);
            if !self.state.next(table) {
                break;
            }
            n += 1;
            if self.state.integer(key) != Some(n) {
                self.out.truncate(start);
                self.restarts += 1;
                return Ok(false);
            }
        }
        self.end(b']');
        Ok(true)
    }

    /// Write the table as an object, its first pair being on the stack, with a
    /// key of this kind.
    fn object(&mut self, table: c_int, top: c_int, depth: u32, mut kind: Kind) -> Outcome {
        let (key, value) = (top + 1, top + 2);
        self.out.push(b'{');
        loop {
            match kind {
                // SAFETY: that is what is there.
                Kind::String => unsafe { self.name(table, key)? },
                _ => self.other_key(key)?,
            }
            if let Err(fault) = self.value(value, value, depth + 1) {
                return Err(fault.under(self.state, key));
            }
            self.state.set_top(key);
            if !self.state.next(table) {
                break;
            }
            kind = self.state.kind(key);
        }
        self.end(b'}');
        Ok(())
    }

    /// A bracket in place of the comma after the last item, and a comma.
    #[inline]
    fn end(&mut self, bracket: u8) {
        if let Some(comma) = self.out.last_mut() {
            *comma = bracket;
        }
        self.out.push(b',');
    }

    /// Write a table that has number keys, of which it is not known yet what
    /// they make of it.
    fn numbered(&mut self, table: c_int, top: c_int, depth: u32) -> Outcome {
        let Some(count) = array_len(self.state, table) else {
            self.state.push_nil();
            self.state.next(table);
            let kind = self.state.kind(top + 1);
            return self.object(table, top, depth, kind);
        };
        let value = top + 1;
        self.out.push(b'[');
        for n in 1..=count {
            self.state.raw_get_index(table, n);
            if let Err(fault) = self.value(value, value, depth + 1) {
                return Err(fault.under_item(n));
            }
            self.state.set_top(top);
        }
        self.end(b']');
        Ok(())
    }

    /// Write a name of an object and the colon.
    ///
    /// # Safety
    /// A string is at `key`.
    #[inline(always)]
    unsafe fn name(&mut self, table: c_int, key: c_int) -> Outcome {
        let start = self.out.len();
        // SAFETY: by the contract.
        unsafe { self.string(key, b':') }.map_err(|NotUtf8| not_utf8(self.state, "a key", key))?;
        match self.out.get(start + 1) {
            Some(b'-' | b'0'..=b'9') => self.check_unique(table, key),
            _ => Ok(()),
        }
    }

    fn other_key(&mut self, key: c_int) -> Outcome {
        self.out.push(b'"');
        if !number_name(self.state, key, self.out) {
            return Err(not_a_name(self.state, key));
        }
        self.out.extend_from_slice(b"\":");
        Ok(())
    }

    /// That no number key of the table has the name at `key` as its text.
    #[inline(never)]
    fn check_unique(&mut self, table: c_int, key: c_int) -> Outcome {
        let name = std::str::from_utf8(self.state.bytes(key).unwrap_or_default());
        let Some((name, number)) = name.ok().and_then(|name| Some((name, key_number(name)?)))
        else {
            return Ok(());
        };
        let state = self.state;
        let top = state.top();
        match number {
            Number::Integer(n) => state.push_integer(n),
            // SAFETY: there is a free slot, and pushing a number allocates nothing.
            Number::Float(x) => unsafe { sys::lua_pushnumber(state.raw(), x) },
        }
        // Where Lua rounded the integer its text is another, and minus zero is the
        // key 0.
        let is_same = match number {
            Number::Integer(n) => state.integer(top + 1) == Some(n),
            Number::Float(_) => state.integer(top + 1).is_none(),
        };
        let is_key = is_same && state.raw_get(table) != Kind::Nil;
        state.set_top(top);
        if is_key {
            return Err(Fault::new(format!(
                "the keys {name} and \"{name}\" have the same text"
            )));
        }
        Ok(())
    }
}

/// How many items the table becomes an array of; none where it becomes an
/// object. Needs four free slots.
pub fn array_len(state: State<'_>, table: c_int) -> Option<i64> {
    let top = state.top();
    let key = top + 1;
    let (mut count, mut greatest) = (0, 0);
    state.push_nil();
    while state.next(table) {
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
pub fn number_name(state: State<'_>, key: c_int, out: &mut Vec<u8>) -> bool {
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
        let mut written = Vec::new();
        write_float(&mut written, x);
        return (written == text.as_bytes()).then_some(number);
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
