//! Decodes JSON text to a Lua value on the stack, in one pass. Every allocation
//! of Lua may raise, so nothing here has a destructor. `number`, `text` and
//! `unescape` read the tokens.
//!
//! The values of a table stay on the stack until the table ends, so that it can
//! be created with its final size. They are then *pending*.

use std::mem::MaybeUninit;
use std::os::raw::c_int;

use super::array_mark::mark_array;
use super::error::{DecodeError, Reason};
use super::number::{self, Number, NumberError};
use super::text::{Survey, plain_run, short_run, survey};
use super::unescape::{UnescapeError, Unescaper, raw_length};
use crate::MAX_JSON_DEPTH as MAX_DEPTH;
use crate::lua::{Kind, Writer, compat};

/// Options of [`decode`].
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The absolute stack index of the value that null decodes to. If `None`, null
    /// decodes to nil: a missing field of an object, or a hole in an array.
    pub null: Option<c_int>,
}

/// Decode `text` and push the value. On a [`DecodeError`], the stack is
/// unchanged. Raises a Lua error for lack of memory or stack.
///
/// Needs 8 free stack slots and reserves more for nested tables.
pub fn decode(writer: &Writer<'_>, text: &[u8], options: Options) -> Result<(), DecodeError> {
    let survey = match text.len() <= MAX_SCANNED {
        true => survey(text),
        false => Survey::default(),
    };
    let text = match survey.is_ascii {
        // SAFETY: the text is ASCII, which is valid UTF-8.
        true => unsafe { std::str::from_utf8_unchecked(text) },
        false => std::str::from_utf8(text)
            .map_err(|error| error_at(Reason::NotUtf8, error.valid_up_to()))?,
    };
    let top = writer.state().top();
    let mut buffer = [MaybeUninit::uninit(); BUFFER_SIZE];
    let mut decoder = Decoder {
        writer,
        text,
        bytes: text.as_bytes(),
        at: 0,
        null: options.null,
        buffer: &mut buffer,
        reserved: top + CALLER_SLOTS,
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

type DecodeResult<T = ()> = Result<T, DecodeError>;

/// Strings with escapes of up to this many bytes are unescaped on the C stack.
const BUFFER_SIZE: usize = 4096;

/// A table is created when it ends, or when this many of its items, or of its
/// names and values, are pending.
const MAX_PENDING: c_int = 32;
/// Above this slot, tables are created at once, without pending values: Lua 5.1
/// allows only 8,000 slots.
const MAX_PENDING_SLOT: c_int = 3000;
/// This many slots are reserved at once, in addition to those of a level.
const RESERVED_SLOTS: c_int = 128;
/// The free slots that the caller guarantees.
const CALLER_SLOTS: c_int = 8;
/// The slots of a level whose table exists: the table, a name, a value, and a
/// name to look up.
const CREATED_TABLE_SLOTS: c_int = 4;
/// The slots of a level with pending values.
const PENDING_TABLE_SLOTS: c_int = MAX_PENDING + 8;
/// Texts up to this many bytes are scanned first. The number of colons left is
/// then an estimate of an object's size, so its table is created at once.
const MAX_SCANNED: usize = 128;

struct Decoder<'t> {
    writer: &'t Writer<'t>,
    text: &'t str,
    /// The bytes of `text`.
    bytes: &'t [u8],
    /// The offset of the next byte.
    at: usize,
    /// See [`Options::null`].
    null: Option<c_int>,
    /// The buffer for strings with escapes.
    buffer: &'t mut [MaybeUninit<u8>; BUFFER_SIZE],
    /// Slots up to this one are reserved.
    reserved: c_int,
    /// An upper bound for the names that follow, or less than 1 if unknown.
    names_left: isize,
    /// The expected size of the next table, or 0 if unknown. Within an array, it
    /// is the size of the previous table, because items tend to be alike.
    likely_size: usize,
    /// Whether `likely_size` is that of an array. Fields need more memory than
    /// items, so the size of one kind says nothing about the other.
    is_likely_array: bool,
}

/// The state of the table that is being decoded.
#[derive(Clone, Copy)]
struct Table {
    /// The table exists, at its slot. Otherwise the pending values start there.
    is_created: bool,
    /// How many pending values are on the stack. A name counts too.
    pending: c_int,
    /// How many values of the table are nil.
    nils: usize,
}

impl Table {
    /// The slot of the next value to push, if the table's slot is `slot`.
    fn free_slot(&self, slot: c_int) -> c_int {
        slot + self.pending + c_int::from(self.is_created)
    }
}

impl Decoder<'_> {
    /// Decode the whole text and push its value, to `slot`.
    fn document(&mut self, slot: c_int) -> DecodeResult {
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

    /// Decode the next value and push it, to `slot`. Returns whether it is nil.
    #[inline(always)]
    fn value(&mut self, slot: c_int, depth: u32) -> DecodeResult<bool> {
        match self.peek() {
            b'"' => self.string().map(|()| false),
            first => {
                self.non_string(first, slot, depth)?;
                Ok(first == b'n' && self.null.is_none())
            }
        }
    }

    // `array` and `object` are never inlined here, so that numbers and literals do
    // not pay for the large stack frames of both.

    /// Decode and push a value that is not a string and starts with `first`.
    fn non_string(&mut self, first: u8, slot: c_int, depth: u32) -> DecodeResult {
        match first {
            b'{' => self.object(slot, depth),
            b'[' => self.array(slot, depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' | b'f' | b'n' => self.literal(),
            _ => Err(self.error(Reason::Value)),
        }
    }

    /// Decode and push `true`, `false` or `null`.
    fn literal(&mut self) -> DecodeResult {
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

    /// Decode and push a number.
    #[inline(always)]
    fn number(&mut self) -> DecodeResult {
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

    /// Decode and push an array.
    #[inline(never)]
    fn array(&mut self, slot: c_int, depth: u32) -> DecodeResult {
        self.enter_table(depth)?;
        if self.peek() == b']' {
            self.at += 1;
            self.writer.table(0, 0);
            mark_array(self.writer, slot);
            return Ok(());
        }
        let mut table = self.begin_table(slot, true);
        self.likely_size = 0;
        let mut count: c_int = 0;
        loop {
            let is_nil = self.value(table.free_slot(slot), depth + 1)?;
            table.nils += usize::from(is_nil);
            count = count.saturating_add(1);
            match table.is_created {
                false => table.pending += 1,
                // Storing a nil could allocate an item for it.
                true if is_nil => self.writer.state().set_top(slot),
                // SAFETY: the table is at `slot`.
                true => unsafe { self.writer.raw_set_index_unchecked(slot, count) },
            }
            let is_last = self.separator_or_end(b']', Reason::ArrayEnd)?;
            if !table.is_created && (is_last || table.pending == MAX_PENDING) {
                table = self.create_array(slot, table, is_last);
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

    /// Create the table of an array and store the pending items in it.
    fn create_array(&self, slot: c_int, table: Table, is_last: bool) -> Table {
        let expected = if is_last { 1 } else { 2 };
        self.writer.table(table.pending as usize * expected, 0);
        // SAFETY: the first pending item is at `slot`.
        unsafe { self.move_below(slot) };
        for n in (1..=table.pending).rev() {
            // SAFETY: the new table is at `slot`.
            unsafe { self.writer.raw_set_index_unchecked(slot, n) };
        }
        Table {
            is_created: true,
            pending: 0,
            ..table
        }
    }

    /// Decode and push an object.
    #[inline(never)]
    fn object(&mut self, slot: c_int, depth: u32) -> DecodeResult {
        self.enter_table(depth)?;
        if self.peek() == b'}' {
            self.at += 1;
            self.writer.table(0, 0);
            return Ok(());
        }
        let mut table = self.begin_table(slot, false);
        let mut count = 0;
        loop {
            self.name()?;
            self.likely_size = 0;
            let is_nil = self.value(table.free_slot(slot) + 1, depth + 1)?;
            count += 1;
            match table.is_created {
                false => {
                    table.pending += 2;
                    table.nils += usize::from(is_nil);
                }
                // SAFETY: the table is at `slot`, below the name and the nil.
                true if is_nil => unsafe { self.store_nil(slot) },
                // SAFETY: the table is at `slot`.
                true => unsafe { self.writer.raw_set_unchecked(slot) },
            }
            let is_last = self.separator_or_end(b'}', Reason::ObjectEnd)?;
            if !table.is_created && (is_last || table.pending == MAX_PENDING) {
                table = self.create_object(slot, table, is_last);
            }
            if is_last {
                break;
            }
        }
        self.likely_size = count;
        self.is_likely_array = false;
        Ok(())
    }

    /// Decode and push the next name, and skip its colon.
    fn name(&mut self) -> DecodeResult {
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

    /// Create the table of an object and store the pending fields in it.
    fn create_object(&self, slot: c_int, table: Table, is_last: bool) -> Table {
        let state = self.writer.state();
        let expected = if is_last { 1 } else { 2 };
        let present = table.pending as usize / 2 - table.nils;
        self.writer.table(0, present * expected);
        // SAFETY: the first pending name is at `slot`.
        unsafe { self.move_below(slot) };
        // In the order of the text, so that the last of several equal names wins.
        for name in (slot + 1..slot + table.pending).step_by(2) {
            state.push_value(name);
            state.push_value(name + 1);
            if table.nils > 0 && state.kind(-1) == Kind::Nil {
                // SAFETY: the new table is at `slot`, below the name and the nil.
                unsafe { self.store_nil(slot) };
            } else {
                // SAFETY: the new table is at `slot`.
                unsafe { self.writer.raw_set_unchecked(slot) };
            }
        }
        state.set_top(slot);
        Table {
            is_created: true,
            pending: 0,
            ..table
        }
    }

    /// Pop a name and a nil, and store the nil only if the table has this name
    /// already.
    ///
    /// # Safety
    /// A table is at `table`, and the name and the nil are on top of the stack.
    unsafe fn store_nil(&self, table: c_int) {
        let state = self.writer.state();
        state.push_value(-2);
        // SAFETY: the caller guarantees a table.
        if unsafe { state.raw_get_unchecked(table) } == Kind::Nil {
            return state.pop(3);
        }
        state.pop(1);
        // SAFETY: as above.
        unsafe { self.writer.raw_set_unchecked(table) };
    }

    /// Check the depth and skip the opening bracket.
    #[inline(always)]
    fn enter_table(&mut self, depth: u32) -> DecodeResult {
        if depth == MAX_DEPTH {
            return Err(self.error(Reason::Nesting));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Reserve stack slots for a table, and create it at once if its size is known or
    /// no values may be pending.
    fn begin_table(&mut self, slot: c_int, is_array: bool) -> Table {
        let size = match self.likely_size {
            size if size > 0 && self.is_likely_array == is_array => size,
            _ if is_array => 0,
            _ => self.names_left.max(0) as usize,
        };
        let is_created = size > 0 || slot > MAX_PENDING_SLOT;
        let slots = if is_created {
            CREATED_TABLE_SLOTS
        } else {
            PENDING_TABLE_SLOTS
        };
        if slot + slots > self.reserved {
            self.writer.reserve(PENDING_TABLE_SLOTS + RESERVED_SLOTS);
            self.reserved = slot + PENDING_TABLE_SLOTS + RESERVED_SLOTS;
        }
        match is_created {
            true if is_array => self.writer.table(size, 0),
            true => self.writer.table(0, size),
            false => {}
        }
        Table {
            is_created,
            pending: 0,
            nils: 0,
        }
    }

    /// Move the value on top of the stack to `slot`, and the values from there on up
    /// by one.
    ///
    /// # Safety
    /// `slot` is the index of a value on the stack.
    unsafe fn move_below(&self, slot: c_int) {
        // SAFETY: the caller guarantees a valid slot.
        unsafe { compat::insert(self.writer.raw(), slot) }
    }

    /// Skip a comma, or the closing bracket. Returns whether it was the bracket. If
    /// there is neither, the error is `otherwise`.
    #[inline(always)]
    fn separator_or_end(&mut self, bracket: u8, otherwise: Reason) -> DecodeResult<bool> {
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

    /// Decode and push a string.
    fn string(&mut self) -> DecodeResult {
        let start = self.at + 1;
        let end = start + short_run(self.bytes, start);
        if self.bytes.get(end) == Some(&b'"') {
            self.writer.bytes(&self.bytes[start..end]);
            self.at = end + 1;
            return Ok(());
        }
        self.long_string(start, end)
    }

    /// Decode and push a string of any length. Its characters start at `start`; those
    /// before `end` need no unescaping.
    #[inline(never)]
    fn long_string(&mut self, start: usize, end: usize) -> DecodeResult {
        let end = end + plain_run(&self.bytes[end..]);
        if self.bytes.get(end) == Some(&b'"') {
            self.writer.bytes(&self.bytes[start..end]);
            self.at = end + 1;
            return Ok(());
        }
        self.unescape(start)
    }

    /// Decode and push the string from `start` on, which has escapes.
    #[inline(never)]
    fn unescape(&mut self, start: usize) -> DecodeResult {
        let mut unescaped = Unescaper::new(self.buffer);
        match unescaped.unescape(self.bytes, start) {
            Ok(end) => {
                self.at = end;
                self.writer.bytes(unescaped.bytes());
                Ok(())
            }
            Err(UnescapeError::Invalid(error)) => Err(error),
            Err(UnescapeError::Full) => self.unescape_long(start),
        }
    }

    /// Like `unescape`, but for a string too long for the C stack. The buffer is a
    /// userdata, which stays below the string until that is pushed.
    #[cold]
    fn unescape_long(&mut self, start: usize) -> DecodeResult {
        let state = self.writer.state();
        let size = raw_length(self.bytes, start);
        let block = self.writer.userdata(size).cast();
        // SAFETY: the block has `size` bytes and lives while the userdata is on the
        // stack, below the string. Nothing else refers to it.
        let block = unsafe { std::slice::from_raw_parts_mut(block, size) };
        let mut unescaped = Unescaper::new(block);
        match unescaped.unescape(self.bytes, start) {
            Ok(end) => {
                self.at = end;
                self.writer.bytes(unescaped.bytes());
                // SAFETY: the userdata is right below the string on top.
                unsafe { self.move_below(state.top() - 1) };
                state.pop(1);
                Ok(())
            }
            Err(UnescapeError::Invalid(error)) => Err(error),
            Err(UnescapeError::Full) => Err(error_at(Reason::End, start)),
        }
    }

    /// The next byte, or NUL at the end of the text. No token starts with NUL.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Skip white space, if there is any. Control characters are not skipped.
    #[inline]
    fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_blanks();
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            // Fast path: indented text has long runs of blanks.
            while self.bytes[self.at..].first_chunk() == Some(b"        ") {
                self.at += 8;
            }
            if !matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
                return;
            }
            self.at += 1;
        }
    }

    /// The error `reason` at the next byte, or [`Reason::End`] at the end of the text.
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
