//! From JSON text to a Lua value on the stack, in one pass. Runs where any
//! allocation of Lua's may raise, so that it owns nothing.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use super::error::{DecodeError, Reason};
use super::number::{self, Number, NumberError};
use super::text::{Survey, plain_run, short_run, survey};
use super::unescape::{Unescaped, Unfinished, raw_length};
use super::{MAX_DEPTH, mark_array};
use crate::lua::{Kind, Writer, compat};

/// How to decode what Lua has no value for.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The absolute stack index of the value that null becomes. Without one
    /// it becomes nil: an absent field, a hole in an array.
    pub null: Option<c_int>,
}

/// Push the value that `text` is; on an error of the text the stack is as it
/// was. Needs 8 free stack slots, and reserves more.
pub fn decode(writer: &Writer<'_>, text: &[u8], options: Options) -> Result<(), DecodeError> {
    let survey = match text.len() <= MAX_SURVEYED {
        true => survey(text),
        false => Survey::default(),
    };
    let text = match survey.is_ascii {
        // SAFETY: ASCII is UTF-8.
        true => unsafe { std::str::from_utf8_unchecked(text) },
        false => std::str::from_utf8(text)
            .map_err(|error| error_at(Reason::NotUtf8, error.valid_up_to()))?,
    };
    let top = writer.state().top();
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut decoder = Decoder {
        writer,
        text,
        bytes: text.as_bytes(),
        at: 0,
        null: options.null,
        room: &mut room,
        reserved: top + FREE_SLOTS,
        names_left: survey.colons as isize,
        likely_size: 0,
        is_likely_array: false,
    };
    let done = decoder.document(top + 1);
    if done.is_err() {
        writer.state().set_top(top);
    }
    done
}

type Outcome<T = ()> = Result<T, DecodeError>;

/// A string that has escapes is gathered on the C stack up to this length.
const ROOM: usize = 4096;

/// A table is made when its size is known: until then so many items, or
/// names and values, wait on the stack.
const MAX_WAITING: c_int = 32;
/// Where the stack is this deep they no longer do: Lua 5.1 has 8,000 slots.
const MAX_WAITING_SLOT: c_int = 3000;
/// Slots are reserved by so many at once.
const RESERVED_SLOTS: c_int = 128;
/// What the caller has.
const FREE_SLOTS: c_int = 8;
/// What a level pushes at most while it works on its own: the table, a name
/// and a value, and a name to be looked up; and what waits.
const MADE_SLOTS: c_int = 4;
const LEVEL_SLOTS: c_int = MAX_WAITING + 8;
/// In a text of so few bytes an object is taken to have as many names as colons
/// follow, of which there may be a few more: its table is made at once.
const MAX_SURVEYED: usize = 128;

struct Decoder<'t> {
    writer: &'t Writer<'t>,
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    null: Option<c_int>,
    /// For strings that have escapes.
    room: &'t mut [MaybeUninit<u8>; ROOM],
    /// The stack has room up to this slot.
    reserved: c_int,
    /// How many names may follow, or less than 1 where that is not known.
    names_left: isize,
    /// The size of the table to come, or 0: in an array, that of the table
    /// before it, as an array's items tend to be alike.
    likely_size: usize,
    /// Whether that table was an array: a field takes more room than an item,
    /// so that one kind's size must not reserve the other's.
    is_likely_array: bool,
}

/// A table in the making: at first what waits for it is where it will be.
#[derive(Clone, Copy)]
struct Table {
    is_made: bool,
    /// How many items, or names and values, are on the stack.
    waiting: c_int,
    /// How many of its values are nil.
    nils: usize,
}

impl Table {
    /// Where what is pushed next lands, the table being at `slot`.
    fn free_slot(&self, slot: c_int) -> c_int {
        slot + self.waiting + c_int::from(self.is_made)
    }
}

impl Decoder<'_> {
    fn document(&mut self, slot: c_int) -> Outcome {
        self.skip_space();
        self.value(slot, 0)?;
        if self.at < self.bytes.len() {
            self.skip_space();
        }
        match self.at < self.bytes.len() {
            true => Err(self.error(Reason::Trailing)),
            false => Ok(()),
        }
    }

    /// Push the value that starts here, and return whether it is nil; it lands
    /// at `slot`.
    #[inline(always)]
    fn value(&mut self, slot: c_int, depth: u32) -> Outcome<bool> {
        match self.peek() {
            b'"' => self.string().map(|()| false),
            first => {
                self.no_string(first, slot, depth)?;
                Ok(first == b'n' && self.null.is_none())
            }
        }
    }

    // Arrays and objects have frames of their own: a number needs less of one.

    fn no_string(&mut self, first: u8, slot: c_int, depth: u32) -> Outcome {
        match first {
            b'{' => self.object(slot, depth),
            b'[' => self.array(slot, depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' | b'f' | b'n' => self.literal(),
            _ => Err(self.error(Reason::Value)),
        }
    }

    fn literal(&mut self) -> Outcome {
        let rest = &self.bytes[self.at..];
        match rest.first_chunk() {
            Some(b"true") => self.writer.boolean(true),
            Some(b"null") => match self.null {
                Some(index) => self.writer.state().push_value(index),
                None => self.writer.nil(),
            },
            Some(b"fals") if rest.get(4) == Some(&b'e') => {
                self.at += 1;
                self.writer.boolean(false);
            }
            _ => return Err(self.error(Reason::Value)),
        }
        self.at += 4;
        Ok(())
    }

    #[inline(always)]
    fn number(&mut self) -> Outcome {
        match number::read(self.text, self.at) {
            Ok((number, end)) => {
                self.at = end;
                match number {
                    Number::Integer(n) => self.writer.integer(n),
                    Number::Float(x) => self.writer.number(x),
                }
                Ok(())
            }
            Err(NumberError::Malformed(at)) => {
                self.at = at;
                Err(self.error(Reason::Number))
            }
            Err(NumberError::OutOfRange) => Err(self.error(Reason::NumberRange)),
        }
    }

    #[inline(never)]
    fn array(&mut self, slot: c_int, depth: u32) -> Outcome {
        self.open(depth)?;
        if self.peek() == b']' {
            self.at += 1;
            self.writer.table(0, 0);
            mark_array(self.writer, slot);
            return Ok(());
        }
        let mut table = self.begin(slot, true);
        self.likely_size = 0;
        let mut count: c_int = 0;
        loop {
            let is_nil = self.value(table.free_slot(slot), depth + 1)?;
            table.nils += usize::from(is_nil);
            count = count.saturating_add(1);
            match table.is_made {
                false => table.waiting += 1,
                // Storing it could make room for it.
                true if is_nil => self.writer.state().set_top(slot),
                // SAFETY: the table was made in this slot.
                true => unsafe { self.writer.raw_set_index_unchecked(slot, count) },
            }
            let is_last = self.separator(b']', Reason::ArrayEnd)?;
            if !table.is_made && (is_last || table.waiting == MAX_WAITING) {
                table = self.make_array(slot, table, is_last);
            }
            if is_last {
                break;
            }
        }
        self.likely_size = count as usize;
        self.is_likely_array = true;
        if table.nils == self.likely_size {
            mark_array(self.writer, slot);
        }
        Ok(())
    }

    /// Make the table of the items that wait, and put them in.
    fn make_array(&self, slot: c_int, table: Table, is_last: bool) -> Table {
        let expected = if is_last { 1 } else { 2 };
        self.writer.table(table.waiting as usize * expected, 0);
        self.move_below(slot);
        for n in (1..=table.waiting).rev() {
            // SAFETY: the table was made in this slot.
            unsafe { self.writer.raw_set_index_unchecked(slot, n) };
        }
        Table {
            is_made: true,
            waiting: 0,
            ..table
        }
    }

    #[inline(never)]
    fn object(&mut self, slot: c_int, depth: u32) -> Outcome {
        self.open(depth)?;
        if self.peek() == b'}' {
            self.at += 1;
            self.writer.table(0, 0);
            return Ok(());
        }
        let mut table = self.begin(slot, false);
        let mut count = 0;
        loop {
            self.name()?;
            self.likely_size = 0;
            let is_nil = self.value(table.free_slot(slot) + 1, depth + 1)?;
            count += 1;
            match table.is_made {
                false => {
                    table.waiting += 2;
                    table.nils += usize::from(is_nil);
                }
                true if is_nil => self.clear_field(slot),
                // SAFETY: the table was made in this slot.
                true => unsafe { self.writer.raw_set_unchecked(slot) },
            }
            let is_last = self.separator(b'}', Reason::ObjectEnd)?;
            if !table.is_made && (is_last || table.waiting == MAX_WAITING) {
                table = self.make_object(slot, table, is_last);
            }
            if is_last {
                break;
            }
        }
        self.likely_size = count;
        self.is_likely_array = false;
        Ok(())
    }

    /// Push the name that starts here, and go on to the value.
    fn name(&mut self) -> Outcome {
        if self.peek() != b'"' {
            return Err(self.error(Reason::Name));
        }
        self.string()?;
        self.names_left -= 1;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.error(Reason::Colon));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Make the table of the names and values that wait, and put them in.
    fn make_object(&self, slot: c_int, table: Table, is_last: bool) -> Table {
        let state = self.writer.state();
        let expected = if is_last { 1 } else { 2 };
        let present = table.waiting as usize / 2 - table.nils;
        self.writer.table(0, present * expected);
        self.move_below(slot);
        // In the order of the text, so that of equal names the last one wins.
        for name in (slot + 1..slot + table.waiting).step_by(2) {
            state.push_value(name);
            state.push_value(name + 1);
            if table.nils > 0 && state.kind(-1) == Kind::Nil {
                self.clear_field(slot);
            } else {
                // SAFETY: the table was made in this slot.
                unsafe { self.writer.raw_set_unchecked(slot) };
            }
        }
        state.set_top(slot);
        Table {
            is_made: true,
            waiting: 0,
            ..table
        }
    }

    /// Take the name on top and its nil, which an equal name's value gives way to.
    fn clear_field(&self, table: c_int) {
        let state = self.writer.state();
        state.push_value(-2);
        // SAFETY: the table was made in this slot.
        if unsafe { state.raw_get_unchecked(table) } == Kind::Nil {
            return state.pop(3);
        }
        state.pop(1);
        // SAFETY: the table was made in this slot.
        unsafe { self.writer.raw_set_unchecked(table) };
    }

    /// Enter a table: past its bracket.
    #[inline(always)]
    fn open(&mut self, depth: u32) -> Outcome {
        if depth == MAX_DEPTH {
            return Err(self.error(Reason::Nesting));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Have room on the stack for a table's contents, and make the table at once
    /// where its size can be told, or nothing may wait.
    fn begin(&mut self, slot: c_int, is_array: bool) -> Table {
        let size = match self.likely_size {
            size if size > 0 && self.is_likely_array == is_array => size,
            _ if is_array => 0,
            _ => self.names_left.max(0) as usize,
        };
        let is_made = size > 0 || slot > MAX_WAITING_SLOT;
        let slots = if is_made { MADE_SLOTS } else { LEVEL_SLOTS };
        if slot + slots > self.reserved {
            self.writer.reserve(LEVEL_SLOTS + RESERVED_SLOTS);
            self.reserved = slot + LEVEL_SLOTS + RESERVED_SLOTS;
        }
        match is_made {
            true if is_array => self.writer.table(size, 0),
            true => self.writer.table(0, size),
            false => {}
        }
        Table {
            is_made,
            waiting: 0,
            nils: 0,
        }
    }

    /// Put the value on top below what waits from `slot` on.
    fn move_below(&self, slot: c_int) {
        // SAFETY: the slot is one of this decode's, at or below the top.
        unsafe { compat::insert(self.writer.raw(), slot) }
    }

    /// Go past a comma to what follows it, or past the closing bracket.
    #[inline(always)]
    fn separator(&mut self, bracket: u8, otherwise: Reason) -> Outcome<bool> {
        self.skip_space();
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            self.skip_space();
            return Ok(false);
        }
        if byte != bracket {
            return Err(self.error(otherwise));
        }
        self.at += 1;
        Ok(true)
    }

    /// Push the string whose quote is here.
    fn string(&mut self) -> Outcome {
        let start = self.at + 1;
        let end = start + short_run(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.writer.bytes(&self.bytes[start..end]);
            self.at = end + 1;
            return Ok(());
        }
        self.long_string(start, end)
    }

    /// The same of any string, from `start` on, plain up to `end` at least.
    #[inline(never)]
    fn long_string(&mut self, start: usize, end: usize) -> Outcome {
        let end = end + plain_run(&self.bytes[end..]);
        if self.bytes.get(end) == Some(&b'"') {
            self.writer.bytes(&self.bytes[start..end]);
            self.at = end + 1;
            return Ok(());
        }
        self.unescape(start)
    }

    /// Push the string from `start` on, which has escapes.
    #[inline(never)]
    fn unescape(&mut self, start: usize) -> Outcome {
        let mut unescaped = Unescaped::new(self.room);
        match unescaped.gather(self.bytes, start) {
            Ok(end) => {
                self.at = end;
                self.writer.bytes(unescaped.bytes());
                Ok(())
            }
            Err(Unfinished::Wrong(error)) => Err(error),
            Err(Unfinished::Full) => self.unescape_long(start),
        }
    }

    /// The same of one that is too long for the C stack: a userdata, below the
    /// string while that is made, has room for it.
    #[cold]
    fn unescape_long(&mut self, start: usize) -> Outcome {
        let state = self.writer.state();
        let size = raw_length(self.bytes, start);
        let room = self.writer.userdata(size).cast();
        // SAFETY: the block is as large, and lives while it is on the stack.
        let room = unsafe { std::slice::from_raw_parts_mut(room, size) };
        let mut unescaped = Unescaped::new(room);
        match unescaped.gather(self.bytes, start) {
            Ok(end) => {
                self.at = end;
                self.writer.bytes(unescaped.bytes());
                self.move_below(state.top() - 1);
                state.pop(1);
                Ok(())
            }
            Err(Unfinished::Wrong(error)) => Err(error),
            Err(Unfinished::Full) => Err(error_at(Reason::End, start)),
        }
    }

    /// The byte here; NUL, which starts nothing, at the end.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_blanks();
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            // Indented text has long runs of blanks.
            while self.bytes[self.at..].first_chunk() == Some(b"        ") {
                self.at += 8;
            }
            if !matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
                return;
            }
            self.at += 1;
        }
    }

    /// What is wrong here; at the end of the text, that it ends.
    #[cold]
    fn error(&self, reason: Reason) -> DecodeError {
        match self.at < self.bytes.len() {
            true => error_at(reason, self.at),
            false => error_at(Reason::End, self.at),
        }
    }
}

#[cold]
fn error_at(reason: Reason, offset: usize) -> DecodeError {
    DecodeError { reason, offset }
}
