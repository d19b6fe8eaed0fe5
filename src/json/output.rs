//! The buffer that JSON text is written to. Short texts stay in scratch space of
//! the caller's frame; longer ones move to the heap, to a `Vec` that each
//! thread reuses.
//!
//! At least [`SLACK`] free bytes always follow the text. So a short token is
//! written first, and only afterwards the end is compared with the limit.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::raw::c_int;

use super::text::{WORD, copy_plain, copy_short, is_plain, plain_run};
use crate::lua::{Push, Scratch, Writer};

/// Bytes that can be written behind the text without a check.
const SLACK: usize = 32;

thread_local! {
    /// The buffer of the thread's last text on the heap, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer with a larger capacity, in bytes, is freed after use.
const MAX_SPARE: usize = 1 << 20;

/// A JSON text in a growing buffer. Dereferences to the bytes written so far.
pub struct Output<'r> {
    start: *mut u8,
    /// The end of the text. All bytes from `start` to here are initialized.
    end: *mut u8,
    /// [`SLACK`] bytes follow `limit` in the buffer. `end` is never behind it
    /// between two calls.
    limit: *mut u8,
    /// The buffer, if the text is on the heap; without capacity, if it is in the
    /// scratch space. The `Vec`'s own length is not kept up to date.
    heap: Vec<u8>,
    scratch: PhantomData<&'r mut Scratch>,
}

impl<'r> Output<'r> {
    /// An empty text. It is written to `scratch` as long as it fits there.
    #[inline]
    pub fn new(scratch: &'r mut Scratch) -> Output<'r> {
        const {
            assert!(Scratch::SIZE >= SLACK);
        }
        let free = scratch.all();
        let start = free.as_mut_ptr().cast::<u8>();
        Output {
            start,
            end: start,
            limit: start.wrapping_add(free.len() - SLACK),
            heap: Vec::new(),
            scratch: PhantomData,
        }
    }

    /// Whether the text is in `heap`.
    #[inline]
    fn is_on_heap(&self) -> bool {
        self.heap.capacity() > 0
    }

    /// Remove all but the first `len` bytes. A shorter text stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start.wrapping_add(len.min(self.len()));
    }

    /// Replace the last byte by `byte` and append `next`.
    ///
    /// # Safety
    /// The text is not empty.
    #[inline(always)]
    pub unsafe fn replace_last(&mut self, byte: u8, next: u8) {
        debug_assert!(!self.is_empty());
        // SAFETY: the caller guarantees a last byte, and at least SLACK bytes follow
        // the end.
        unsafe {
            let at = self.end;
            at.sub(1).cast::<[u8; 2]>().write_unaligned([byte, next]);
            self.move_end(at.add(1));
        }
    }

    /// Move the end of the text behind a token that was written, and restore the
    /// slack.
    ///
    /// # Safety
    /// `end` is at most [`SLACK`] bytes behind `limit`, and all bytes before it are
    /// initialized.
    #[inline(always)]
    unsafe fn move_end(&mut self, end: *mut u8) {
        self.end = end;
        if end > self.limit {
            self.grow(0);
        }
    }

    /// Append one byte.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        // SAFETY: at least SLACK bytes follow the end.
        unsafe {
            let at = self.end;
            at.write(byte);
            self.move_end(at.add(1));
        }
    }

    /// Append all of the bytes.
    #[inline(always)]
    pub fn token<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.prefix(bytes, N);
    }

    /// Append the first `len` of the bytes.
    #[inline(always)]
    pub fn prefix<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        const {
            assert!(N <= SLACK);
        }
        // SAFETY: at least SLACK bytes follow the end, and `N` is at most SLACK.
        unsafe {
            let at = self.end;
            at.cast::<[u8; N]>().write_unaligned(*bytes);
            self.move_end(at.add(len.min(N)));
        }
    }

    /// Append any number of bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: `reserve` made space for the bytes before `limit`.
        unsafe {
            copy_short(bytes, self.end);
            self.end = self.end.add(bytes.len());
        }
    }

    /// Append `text` as a JSON string, in quotes and escaped, and the byte `next`.
    /// On an error, nothing is appended.
    #[inline(always)]
    pub fn string(&mut self, text: &[u8], next: u8) -> Result<(), NotUtf8> {
        const {
            assert!(WORD + 2 <= SLACK);
        }
        if text.len() >= WORD {
            return self.long_string(text, next);
        }
        // SAFETY: the text, two quotes and `next` are at most WORD + 2 bytes, which
        // fit into the slack.
        unsafe {
            if !copy_plain(text, self.end.add(1)) {
                return self.escaped(text, next);
            }
            self.finish_string(text.len(), next);
        }
        Ok(())
    }

    /// Write the quotes around a string of `len` bytes, and `next`.
    ///
    /// # Safety
    /// The string is already written, one byte behind the end of the text, and three
    /// more bytes fit into the buffer.
    #[inline(always)]
    unsafe fn finish_string(&mut self, len: usize, next: u8) {
        // SAFETY: the caller guarantees the space and the initialized string.
        unsafe {
            let to = self.end;
            to.write(b'"');
            to.add(len + 1)
                .cast::<[u8; 2]>()
                .write_unaligned([b'"', next]);
            self.move_end(to.add(len + 3));
        }
    }

    #[inline(never)]
    fn long_string(&mut self, text: &[u8], next: u8) -> Result<(), NotUtf8> {
        if !is_plain(text) {
            return self.escaped(text, next);
        }
        self.reserve(text.len());
        // SAFETY: `reserve` made space for the text before `limit`. The quotes and
        // `next` fit into the slack.
        unsafe {
            copy_short(text, self.end.add(1));
            self.finish_string(text.len(), next);
        }
        Ok(())
    }

    #[cold]
    fn escaped(&mut self, text: &[u8], next: u8) -> Result<(), NotUtf8> {
        std::str::from_utf8(text).map_err(|_| NotUtf8)?;
        self.byte(b'"');
        let mut at = 0;
        loop {
            let run = plain_run(&text[at..]);
            self.extend(&text[at..at + run]);
            at += run;
            let Some(&byte) = text.get(at) else {
                self.token(&[b'"', next]);
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

    /// Ensure that `more` bytes fit before the slack.
    #[inline]
    fn reserve(&mut self, more: usize) {
        if more > (self.limit as usize).saturating_sub(self.end as usize) {
            self.grow(more);
        }
    }

    /// Move the text to a buffer with space for `more` bytes and the slack.
    #[cold]
    fn grow(&mut self, more: usize) {
        let len = self.len();
        if self.is_on_heap() {
            // SAFETY: the text is in `heap`, and its `len` bytes are initialized.
            unsafe { self.heap.set_len(len) };
        } else {
            // While a thread ends, its spare buffer is gone already.
            let mut heap = SPARE.try_with(Cell::take).unwrap_or_default();
            heap.extend_from_slice(self);
            self.heap = heap;
        }
        self.heap.reserve(more + SLACK);
        self.start = self.heap.as_mut_ptr();
        self.end = self.start.wrapping_add(len);
        self.limit = self.start.wrapping_add(self.heap.capacity() - SLACK);
    }
}

impl Deref for Output<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `end` point into one buffer, and all bytes between them
        // are initialized.
        unsafe { std::slice::from_raw_parts(self.start, self.end.offset_from_unsigned(self.start)) }
    }
}

impl Drop for Output<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_on_heap() {
            keep_spare(std::mem::take(&mut self.heap));
        }
    }
}

/// Keep the buffer for the thread's next text.
#[cold]
fn keep_spare(mut heap: Vec<u8>) {
    if heap.capacity() <= MAX_SPARE {
        heap.clear();
        let _ = SPARE.try_with(|spare| spare.set(heap));
    }
}

impl Push for Output<'_> {
    /// A text in the scratch space owns nothing.
    #[inline(always)]
    fn owns_nothing(&self) -> bool {
        !self.is_on_heap()
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
