//! JSON text as it is written: in scratch that the caller has while it is short,
//! then in memory that the thread keeps for the next one.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::raw::c_int;

use super::text::{WORD, copy_plain, copy_short, is_plain, plain_run};
use crate::lua::{Push, Scratch, Writer};

/// So many bytes can always be written without a look at what is left.
const SLACK: usize = 32;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A longer text's memory is not kept.
const MAX_KEPT: usize = 1 << 20;

/// A text, and room behind it.
pub struct Output<'r> {
    start: *mut u8,
    /// The text's end: what is before it was written.
    at: *mut u8,
    /// From there on are [`SLACK`] bytes. The end is at most here, but for a
    /// moment in [`Output::within_slack`].
    limit: *mut u8,
    /// Where the text is, if it is not in the scratch. Its length is not kept.
    memory: Vec<u8>,
    scratch: PhantomData<&'r mut Scratch>,
}

impl<'r> Output<'r> {
    #[inline]
    pub fn new(scratch: &'r mut Scratch) -> Output<'r> {
        const {
            assert!(Scratch::SIZE >= SLACK);
        }
        let free = scratch.all();
        let start = free.as_mut_ptr().cast::<u8>();
        Output {
            start,
            at: start,
            limit: start.wrapping_add(free.len() - SLACK),
            memory: Vec::new(),
            scratch: PhantomData,
        }
    }

    /// Whether the text is in memory of its own.
    #[inline]
    fn is_long(&self) -> bool {
        self.memory.capacity() > 0
    }

    /// Forget all but the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.at = self.start.wrapping_add(len.min(self.len()));
    }

    /// Put `byte` in the place of the last one, and append `then`.
    ///
    /// # Safety
    /// Something was written.
    #[inline(always)]
    pub unsafe fn end_with(&mut self, byte: u8, then: u8) {
        debug_assert!(!self.is_empty());
        // SAFETY: there is a last one, and room for another.
        unsafe {
            let at = self.at;
            at.sub(1).cast::<[u8; 2]>().write_unaligned([byte, then]);
            self.within_slack(at.add(1));
        }
    }

    /// The text's end, after that of a token of at most [`SLACK`] bytes.
    ///
    /// # Safety
    /// From the end so far to this one all is written.
    #[inline(always)]
    unsafe fn within_slack(&mut self, end: *mut u8) {
        self.at = end;
        if end > self.limit {
            self.grow(0);
        }
    }

    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        // SAFETY: there is room for it.
        unsafe {
            let at = self.at;
            at.write(byte);
            self.within_slack(at.add(1));
        }
    }

    /// Append all of the bytes.
    #[inline(always)]
    pub fn token<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.part(bytes, N);
    }

    /// Append the first `len` of the bytes.
    #[inline(always)]
    pub fn part<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        const {
            assert!(N <= SLACK);
        }
        // SAFETY: there is room for all of them.
        unsafe {
            let at = self.at;
            at.cast::<[u8; N]>().write_unaligned(*bytes);
            self.within_slack(at.add(len.min(N)));
        }
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: there is room for them, and still slack behind them.
        unsafe {
            copy_short(bytes, self.at);
            self.at = self.at.add(bytes.len());
        }
    }

    /// Append a JSON string of the text, and `then`.
    #[inline(always)]
    pub fn string(&mut self, text: &[u8], then: u8) -> Result<(), NotUtf8> {
        const {
            assert!(WORD + 2 <= SLACK);
        }
        if text.len() >= WORD {
            return self.long_string(text, then);
        }
        // SAFETY: there is room for the text, its quotes and the byte after it.
        unsafe {
            if !copy_plain(text, self.at.add(1)) {
                return self.escaped(text, then);
            }
            self.quote(text.len(), then);
        }
        Ok(())
    }

    /// Quote so many bytes, which are written behind a place for the first quote.
    ///
    /// # Safety
    /// They are, and there is slack behind them.
    #[inline(always)]
    unsafe fn quote(&mut self, len: usize, then: u8) {
        // SAFETY: by the contract.
        unsafe {
            let to = self.at;
            to.write(b'"');
            to.add(len + 1)
                .cast::<[u8; 2]>()
                .write_unaligned([b'"', then]);
            self.within_slack(to.add(len + 3));
        }
    }

    #[inline(never)]
    fn long_string(&mut self, text: &[u8], then: u8) -> Result<(), NotUtf8> {
        if !is_plain(text) {
            return self.escaped(text, then);
        }
        self.reserve(text.len());
        // SAFETY: there is room for the text and slack behind it, for the rest.
        unsafe {
            copy_short(text, self.at.add(1));
            self.quote(text.len(), then);
        }
        Ok(())
    }

    #[cold]
    fn escaped(&mut self, text: &[u8], then: u8) -> Result<(), NotUtf8> {
        std::str::from_utf8(text).map_err(|_| NotUtf8)?;
        self.byte(b'"');
        let mut at = 0;
        loop {
            let run = plain_run(&text[at..]);
            self.extend(&text[at..at + run]);
            at += run;
            let Some(&byte) = text.get(at) else {
                self.token(&[b'"', then]);
                return Ok(());
            };
            self.escape(byte);
            at += 1;
        }
    }

    fn escape(&mut self, byte: u8) {
        let letter = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                let escape = [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)];
                return self.token(&escape);
            }
        };
        self.token(&[b'\\', letter]);
    }

    /// Have room for `more` bytes, and slack.
    #[inline]
    fn reserve(&mut self, more: usize) {
        if more > (self.limit as usize).saturating_sub(self.at as usize) {
            self.grow(more);
        }
    }

    /// Make room for `more` bytes, and slack.
    #[cold]
    fn grow(&mut self, more: usize) {
        let len = self.len();
        if self.is_long() {
            // SAFETY: so many were written.
            unsafe { self.memory.set_len(len) };
        } else {
            // On a thread that is ending there is none.
            let mut memory = KEPT.try_with(Cell::take).unwrap_or_default();
            memory.extend_from_slice(self);
            self.memory = memory;
        }
        self.memory.reserve(more + SLACK);
        self.start = self.memory.as_mut_ptr();
        self.at = self.start.wrapping_add(len);
        self.limit = self.start.wrapping_add(self.memory.capacity() - SLACK);
    }
}

impl Deref for Output<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: all of it was written.
        unsafe { std::slice::from_raw_parts(self.start, self.at.offset_from_unsigned(self.start)) }
    }
}

impl Drop for Output<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_long() {
            keep(std::mem::take(&mut self.memory));
        }
    }
}

#[cold]
fn keep(mut memory: Vec<u8>) {
    if memory.capacity() <= MAX_KEPT {
        memory.clear();
        let _ = KEPT.try_with(|kept| kept.set(memory));
    }
}

impl Push for Output<'_> {
    /// A text in the scratch buffer owns nothing.
    #[inline(always)]
    fn owns_nothing(&self) -> bool {
        !self.is_long()
    }

    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(self);
        1
    }
}

impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text is not UTF-8.
#[derive(Debug)]
pub struct NotUtf8;
