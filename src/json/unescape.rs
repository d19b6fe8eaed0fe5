//! Unescapes JSON strings into a buffer of the caller. The buffer has no
//! destructor (it is on the C stack or in a userdata), because a Lua error may
//! jump over the frames of the decoder.

use std::mem::MaybeUninit;

use super::error::{DecodeError, Reason};
use super::text::{copy_short, plain_run};

/// An unescaped string in a buffer of fixed size.
pub struct Unescaper<'b> {
    buffer: &'b mut [MaybeUninit<u8>],
    /// The first `len` bytes of the buffer are initialized.
    len: usize,
}

/// Why a string was not unescaped.
pub enum UnescapeError {
    /// The string is malformed.
    Invalid(DecodeError),
    /// The buffer is too small.
    Full,
}

type UnescapeResult<T = ()> = Result<T, UnescapeError>;

impl<'b> Unescaper<'b> {
    pub fn new(buffer: &'b mut [MaybeUninit<u8>]) -> Unescaper<'b> {
        Unescaper { buffer, len: 0 }
    }

    /// Unescape the string whose first character is at `start`, after the opening
    /// quote. Returns the offset after the closing quote.
    pub fn unescape(&mut self, bytes: &[u8], start: usize) -> UnescapeResult<usize> {
        let mut at = start;
        loop {
            let run = plain_run(&bytes[at..]);
            self.extend(&bytes[at..at + run])?;
            at += run;
            match bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => at = self.escape(bytes, at)?,
                Some(_) => return Err(invalid(Reason::Control, at)),
                None => return Err(invalid(Reason::End, at)),
            }
        }
    }

    /// The unescaped bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `extend` initialized the first `len` bytes of the buffer.
        unsafe { std::slice::from_raw_parts(self.buffer.as_ptr().cast(), self.len) }
    }

    fn extend(&mut self, piece: &[u8]) -> UnescapeResult {
        if self.buffer.len() - self.len < piece.len() {
            return Err(UnescapeError::Full);
        }
        // SAFETY: the check above leaves at least `piece.len()` bytes after `len`.
        unsafe { copy_short(piece, self.buffer.as_mut_ptr().add(self.len).cast()) };
        self.len += piece.len();
        Ok(())
    }

    /// Append the character of the escape at `start`. Returns the offset after it.
    fn escape(&mut self, bytes: &[u8], start: usize) -> UnescapeResult<usize> {
        let byte = match bytes.get(start + 1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(bytes, start),
            Some(_) => return Err(invalid(Reason::Escape, start)),
            None => return Err(invalid(Reason::End, start + 1)),
        };
        self.extend(&[byte])?;
        Ok(start + 2)
    }

    /// Append the character of the `\u` escape at `start`, or of the surrogate pair
    /// that starts there. Returns the offset after it.
    fn unicode_escape(&mut self, bytes: &[u8], start: usize) -> UnescapeResult<usize> {
        let mut code = code_unit(bytes, start, start)?;
        let mut end = start + 6;
        if (0xd800..0xdc00).contains(&code) && bytes[end..].starts_with(b"\\u") {
            let low = code_unit(bytes, end, end)?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(invalid(Reason::Surrogate, start));
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            end += 6;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(invalid(Reason::Surrogate, start));
        };
        self.extend(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        Ok(end)
    }
}

/// The value of the four hexadecimal digits of the `\u` escape at `escape`. An
/// invalid digit is reported at `start`.
fn code_unit(bytes: &[u8], escape: usize, start: usize) -> UnescapeResult<u32> {
    let mut code = 0;
    for at in escape + 2..escape + 6 {
        let Some(&byte) = bytes.get(at) else {
            return Err(invalid(Reason::End, at));
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(invalid(Reason::Escape, start));
        };
        code = code << 4 | digit;
    }
    Ok(code)
}

/// The length in bytes of the escaped string that starts at `start`: an upper
/// bound of its unescaped length.
pub fn raw_length(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            _ => return at.min(bytes.len()) - start,
        }
    }
}

#[cold]
fn invalid(reason: Reason, offset: usize) -> UnescapeError {
    UnescapeError::Invalid(DecodeError { reason, offset })
}
