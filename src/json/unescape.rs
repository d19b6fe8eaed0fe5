//! JSON strings that have escapes, gathered in memory that needs no owner: on
//! the C stack, or a userdata's. Knows the grammar of strings alone.

use std::mem::MaybeUninit;

use super::error::{DecodeError, Reason};
use super::text::{copy_short, plain_run};

/// What is gathered, in memory of a fixed size.
pub struct Unescaped<'b> {
    room: &'b mut [MaybeUninit<u8>],
    len: usize,
}

/// Why a string was not gathered.
pub enum Unfinished {
    Wrong(DecodeError),
    /// There was not room enough.
    Full,
}

type Outcome<T = ()> = Result<T, Unfinished>;

impl<'b> Unescaped<'b> {
    pub fn new(room: &'b mut [MaybeUninit<u8>]) -> Unescaped<'b> {
        Unescaped { room, len: 0 }
    }

    /// Gather the string that starts at `start`, after its quote, and return
    /// where it ends: past the other.
    pub fn gather(&mut self, bytes: &[u8], start: usize) -> Outcome<usize> {
        let mut at = start;
        loop {
            let run = plain_run(&bytes[at..]);
            self.extend(&bytes[at..at + run])?;
            at += run;
            match bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => at = self.escape(bytes, at)?,
                Some(_) => return Err(wrong(Reason::Control, at)),
                None => return Err(wrong(Reason::End, at)),
            }
        }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes of the room were written.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr().cast(), self.len) }
    }

    fn extend(&mut self, piece: &[u8]) -> Outcome {
        if self.room.len() - self.len < piece.len() {
            return Err(Unfinished::Full);
        }
        // SAFETY: there is room, as was just seen.
        unsafe { copy_short(piece, self.room.as_mut_ptr().add(self.len).cast()) };
        self.len += piece.len();
        Ok(())
    }

    /// Take the escape that starts at `start`, and return where it ends.
    fn escape(&mut self, bytes: &[u8], start: usize) -> Outcome<usize> {
        let byte = match bytes.get(start + 1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(bytes, start),
            Some(_) => return Err(wrong(Reason::Escape, start)),
            None => return Err(wrong(Reason::End, start + 1)),
        };
        self.extend(&[byte])?;
        Ok(start + 2)
    }

    /// Take what `\u` stands for, with the other half of a surrogate pair.
    fn unicode_escape(&mut self, bytes: &[u8], start: usize) -> Outcome<usize> {
        let mut code = code_unit(bytes, start, start)?;
        let mut end = start + 6;
        if (0xd800..0xdc00).contains(&code) && bytes[end..].starts_with(b"\\u") {
            let low = code_unit(bytes, end, end)?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(wrong(Reason::Surrogate, start));
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            end += 6;
        }
        let Some(character) = char::from_u32(code) else {
            return Err(wrong(Reason::Surrogate, start));
        };
        self.extend(character.encode_utf8(&mut [0; 4]).as_bytes())?;
        Ok(end)
    }
}

/// The four hexadecimal digits of the escape at `escape`; what is wrong with
/// them is said of `start`.
fn code_unit(bytes: &[u8], escape: usize, start: usize) -> Outcome<u32> {
    let mut code = 0;
    for at in escape + 2..escape + 6 {
        let Some(&byte) = bytes.get(at) else {
            return Err(wrong(Reason::End, at));
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(wrong(Reason::Escape, start));
        };
        code = code << 4 | digit;
    }
    Ok(code)
}

/// How many bytes the string that starts at `start` has in the text: as many
/// as it has without its escapes, or more.
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
fn wrong(reason: Reason, offset: usize) -> Unfinished {
    Unfinished::Wrong(DecodeError { reason, offset })
}
