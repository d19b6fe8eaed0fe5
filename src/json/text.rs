//! JSON strings as bytes: finding what must be escaped eight bytes at a time,
//! and copying the rest. Knows neither Lua nor the rest of the grammar.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;
pub const WORD: usize = size_of::<u64>();

/// Turns `"` into a blank, of the characters above it none into one, and
/// control characters into such: so these and `"` are below [`LEAST`].
const FOLD: u64 = ONES * 0x02;
const LEAST: u64 = ONES * 0x21;
const BACKSLASHES: u64 = ONES * b'\\' as u64;

/// The high bit of each byte that a JSON string cannot hold as it is: `"`,
/// `\` and control characters. Only the lowest set bit is exact.
fn specials(word: u64) -> u64 {
    let folded = word ^ FOLD;
    let other = word ^ BACKSLASHES;
    (folded.wrapping_sub(LEAST) | other.wrapping_sub(ONES)) & !word & HIGHS
}

/// Whether all eight bytes are ASCII that a JSON string can hold as it is.
fn is_plain_word(word: u64) -> bool {
    // No sum is carried into the next byte where all are ASCII.
    let folded = (word ^ FOLD).wrapping_add(HIGHS - LEAST);
    let other = (word ^ BACKSLASHES).wrapping_add(HIGHS - ONES);
    folded & other & !word & HIGHS == HIGHS
}

const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The eight bytes from `start` on, NULs after the text's end; none where the
/// text is shorter than that, or ended.
#[inline(always)]
fn word_at(bytes: &[u8], start: usize) -> Option<u64> {
    let rest = bytes.get(start..)?;
    if let Some(word) = rest.first_chunk() {
        return Some(u64::from_le_bytes(*word));
    }
    let word = u64::from_le_bytes(*bytes.last_chunk()?);
    word.checked_shr(8 * (WORD - rest.len()) as u32)
}

/// Of the eight bytes from `start` on, how many a JSON string can hold as they
/// are, up to the first that it cannot; 0 where there are not eight.
#[inline(always)]
pub fn short_run(bytes: &[u8], start: usize) -> usize {
    word_at(bytes, start).map_or(0, |word| specials(word).trailing_zeros() as usize / 8)
}

/// How many bytes that a JSON string can hold as they are the text begins with.
pub fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    let run = rest.iter().take_while(|byte| !is_special(**byte)).count();
    bytes.len() - rest.len() + run
}

/// What is seen of a text at a glance: nothing of one that was not looked at, or
/// has less than eight bytes.
#[derive(Default)]
pub struct Survey {
    pub is_ascii: bool,
    /// How many are in it; of a text that is not ASCII a guess.
    pub colons: usize,
}

/// Look at a text of less than 256 bytes.
#[inline]
pub fn survey(bytes: &[u8]) -> Survey {
    let (mut at, mut seen, mut counts) = (0, 0, 0);
    while let Some(word) = word_at(bytes, at) {
        seen |= word;
        // The high bit of each byte that is none.
        let others = (word ^ (ONES * u64::from(b':'))).wrapping_add(HIGHS - ONES);
        counts += !others >> 7 & ONES;
        at += WORD;
    }
    let is_ascii = at > 0 && seen & HIGHS == 0;
    Survey {
        is_ascii,
        colons: (counts.wrapping_mul(ONES) >> 56) as usize,
    }
}

/// The bytes that are not ASCII, or that a JSON string cannot hold as they are.
const NOT_PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        table[byte as usize] = is_special(byte);
        byte += 1;
    }
    table
};

/// Copy less than a word, in pieces that may overlap, and say whether all of it
/// is ASCII that needs no escape.
///
/// # Safety
/// At `to` is room for as many bytes.
#[inline(always)]
pub unsafe fn copy_plain(bytes: &[u8], to: *mut u8) -> bool {
    let len = bytes.len();
    // SAFETY: each piece goes where it is in the text, for which there is room.
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

/// Whether all of it is ASCII that needs no escape.
pub fn is_plain(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else {
        return bytes
            .iter()
            .all(|&byte| !is_special(byte) && byte.is_ascii());
    };
    let (words, _) = bytes.as_chunks();
    words
        .iter()
        .chain([last])
        .all(|word| is_plain_word(u64::from_le_bytes(*word)))
}

/// Copy what is most often a few bytes.
///
/// # Safety
/// At `to` is room for as many bytes.
pub unsafe fn copy_short(bytes: &[u8], to: *mut u8) {
    let len = bytes.len();
    // SAFETY: by the contract; of two words that overlap, both have the bytes
    // that they share.
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
