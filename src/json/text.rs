//! Scans and copies the bytes of strings, eight at a time. Finds the bytes that
//! JSON strings must escape. Nothing here knows about Lua or the rest of JSON.
//!
//! A *plain* byte is ASCII and needs no escape.

/// The value 1 in each byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The high bit of each byte.
const HIGH_BITS: u64 = ONES << 7;
/// Bytes in a word.
pub const WORD: usize = size_of::<u64>();

/// XOR with this value maps `"` (0x22) to a blank (0x20), control characters to
/// control characters, and a blank to `"`. After the XOR, the bytes below
/// [`LOWEST_PLAIN`] are exactly those that were `"` or control characters.
const QUOTE_TO_BLANK: u64 = ONES * 0x02;
/// The lowest byte, after [`QUOTE_TO_BLANK`], that needs no escape.
const LOWEST_PLAIN: u64 = ONES * 0x21;
const BACKSLASHES: u64 = ONES * b'\\' as u64;

/// Sets the high bit of each byte that a JSON string must escape: `"`, `\` and
/// control characters. Only the lowest set bit is exact: borrows may set higher
/// ones.
fn escape_bits(word: u64) -> u64 {
    let folded = word ^ QUOTE_TO_BLANK;
    let other = word ^ BACKSLASHES;
    (folded.wrapping_sub(LOWEST_PLAIN) | other.wrapping_sub(ONES)) & !word & HIGH_BITS
}

/// Whether all eight bytes are plain.
fn is_plain_word(word: u64) -> bool {
    // If all bytes are ASCII, no sum carries into the next byte.
    let folded = (word ^ QUOTE_TO_BLANK).wrapping_add(HIGH_BITS - LOWEST_PLAIN);
    let other = (word ^ BACKSLASHES).wrapping_add(HIGH_BITS - ONES);
    folded & other & !word & HIGH_BITS == HIGH_BITS
}

/// Whether a JSON string must escape this byte.
const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The eight bytes from `start` on, filled up with NULs after the end. `None` if
/// the whole text has fewer than eight bytes or ends at or before `start`.
#[inline(always)]
fn word_at(bytes: &[u8], start: usize) -> Option<u64> {
    let rest = bytes.get(start..)?;
    if let Some(word) = rest.first_chunk() {
        return Some(u64::from_le_bytes(*word));
    }
    let word = u64::from_le_bytes(*bytes.last_chunk()?);
    word.checked_shr(8 * (WORD - rest.len()) as u32)
}

/// How many of the eight bytes from `start` on need no escape, up to the first
/// one that does. 0 if the text has fewer than eight bytes.
#[inline(always)]
pub fn short_run(bytes: &[u8], start: usize) -> usize {
    word_at(bytes, start).map_or(0, |word| escape_bits(word).trailing_zeros() as usize / 8)
}

/// How many bytes at the start of the text need no escape.
pub fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let found = escape_bits(u64::from_le_bytes(*word));
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let run = rest.iter().take_while(|byte| !must_escape(**byte)).count();
    bytes.len() - rest.len() + run
}

/// The result of a quick scan of a short text. The default, for a text that was
/// not scanned, says nothing about it.
#[derive(Default)]
pub struct Survey {
    /// All bytes are ASCII.
    pub is_ascii: bool,
    /// The number of colons. Only an estimate if the text is not ASCII.
    pub colons: usize,
}

/// Scan a text of less than 256 bytes. Does not scan one of less than eight.
#[inline]
pub fn survey(bytes: &[u8]) -> Survey {
    let (mut at, mut seen, mut counts) = (0, 0, 0);
    while let Some(word) = word_at(bytes, at) {
        seen |= word;
        // Sets the high bit of each byte that is not a colon.
        let others = (word ^ (ONES * u64::from(b':'))).wrapping_add(HIGH_BITS - ONES);
        counts += !others >> 7 & ONES;
        at += WORD;
    }
    let is_ascii = at > 0 && seen & HIGH_BITS == 0;
    Survey {
        is_ascii,
        colons: (counts.wrapping_mul(ONES) >> 56) as usize,
    }
}

/// The bytes that are not plain.
const NOT_PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        table[byte as usize] = must_escape(byte);
        byte += 1;
    }
    table
};

/// Copy fewer than eight bytes to `to`. Returns whether all of them are plain.
///
/// # Safety
/// `to` is valid for writes of `bytes.len()` bytes.
#[inline(always)]
pub unsafe fn copy_plain(bytes: &[u8], to: *mut u8) -> bool {
    let len = bytes.len();
    // SAFETY: each piece is written at its offset in the text, so it ends at most
    // at `len`. The pieces may overlap.
    unsafe {
        if let (Some(&first), Some(&last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            to.cast::<[u8; 4]>().write_unaligned(first);
            to.add(len - 4).cast::<[u8; 4]>().write_unaligned(last);
            let (first, last) = (u32::from_le_bytes(first), u32::from_le_bytes(last));
            return is_plain_word(u64::from(first) | u64::from(last) << 32);
        }
        let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
            return true;
        };
        let middle = bytes[len / 2];
        to.write(first);
        to.add(len / 2).write(middle);
        to.add(len - 1).write(last);
        !(NOT_PLAIN[first as usize] | NOT_PLAIN[middle as usize] | NOT_PLAIN[last as usize])
    }
}

/// Whether all bytes are plain.
pub fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        return bytes
            .iter()
            .all(|&byte| !must_escape(byte) && byte.is_ascii());
    };
    let (words, _) = bytes.as_chunks();
    words
        .iter()
        .chain([last])
        .all(|word| is_plain_word(u64::from_le_bytes(*word)))
}

/// Copy the bytes to `to`. Fast for 8 to 16 bytes.
///
/// # Safety
/// `to` is valid for writes of `bytes.len()` bytes, which do not overlap `bytes`.
pub unsafe fn copy_short(bytes: &[u8], to: *mut u8) {
    let len = bytes.len();
    // SAFETY: the caller guarantees the space. In the first arm, both words lie
    // within `len` bytes. Where they overlap, they write the same bytes.
    unsafe {
        match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(first), Some(last)) if len <= 16 => {
                to.cast::<[u8; 8]>().write_unaligned(*first);
                to.add(len - 8).cast::<[u8; 8]>().write_unaligned(*last);
            }
            _ => bytes.as_ptr().copy_to_nonoverlapping(to, len),
        }
    }
}
