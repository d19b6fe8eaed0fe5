//! JSON strings as bytes: finding what must be escaped eight bytes at a time,
//! and writing it. Knows neither Lua nor the rest of the grammar.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte that a JSON string cannot hold as it is: `"`,
/// `\` and control characters. Only the lowest set bit is exact.
fn specials(word: u64) -> u64 {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zeros(word ^ (ONES * u64::from(b'"')));
    let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
    (control | quote | backslash) & HIGHS
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// How many bytes from `start` on a JSON string can hold as they are.
#[inline(always)]
pub fn plain_run(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let found = specials(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8 - start;
        }
        at += 8;
    }
    while at < bytes.len() && !is_special(bytes[at]) {
        at += 1;
    }
    at - start
}

/// Whether all of it, eight bytes or more, is ASCII that needs no escape.
fn is_plain_ascii(first: &[u8; 8], bytes: &[u8], last: &[u8; 8]) -> bool {
    let mut seen = plain_or_else(u64::from_le_bytes(*last));
    if bytes.len() <= 16 {
        return seen | plain_or_else(u64::from_le_bytes(*first)) == 0;
    }
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        seen |= plain_or_else(u64::from_le_bytes(*chunk));
        if seen != 0 {
            return false;
        }
        rest = after;
    }
    true
}

/// 0 for eight bytes of ASCII that need no escape.
fn plain_or_else(word: u64) -> u64 {
    specials(word) | (word & HIGHS)
}

/// Less than eight bytes as a word, the first lowest, the others 0.
fn short_word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let high = u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
        return high | u64::from(u32::from_le_bytes(*first));
    }
    match *bytes {
        [a, .., b] => {
            let middle = u64::from(bytes[len / 2]) << (8 * (len / 2));
            u64::from(a) | middle | u64::from(b) << (8 * (len - 1))
        }
        [a] => u64::from(a),
        [] => 0,
    }
}

/// The text that is not UTF-8, from this byte on (0 is the first).
#[derive(Debug)]
pub struct NotUtf8(pub usize);

/// Append `bytes` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NotUtf8> {
    let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) else {
        return write_short(out, bytes);
    };
    if !is_plain_ascii(first, bytes, last) {
        return write_escaped(out, bytes);
    }
    let start = out.len();
    out.reserve(bytes.len() + 2);
    // SAFETY: there is room for the text and its quotes, which are written
    // before they count as the vector's.
    unsafe {
        let to = out.as_mut_ptr().add(start);
        to.write(b'"');
        copy_short(bytes, to.add(1));
        to.add(1 + bytes.len()).write(b'"');
        out.set_len(start + bytes.len() + 2);
    }
    Ok(())
}

/// The same of less than eight bytes, as most names are: one word.
fn write_short(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NotUtf8> {
    const FILL: u64 = ONES * b'_' as u64;
    let word = short_word(bytes);
    if plain_or_else(word | FILL << (8 * bytes.len())) != 0 {
        return write_escaped(out, bytes);
    }
    let start = out.len();
    out.reserve(size_of::<u64>() + 2);
    // SAFETY: there is room for the whole word and two quotes; of it the text
    // is written before it counts as the vector's.
    unsafe {
        let to = out.as_mut_ptr().add(start);
        to.write(b'"');
        to.add(1)
            .cast::<[u8; 8]>()
            .write_unaligned(word.to_le_bytes());
        to.add(1 + bytes.len()).write(b'"');
        out.set_len(start + bytes.len() + 2);
    }
    Ok(())
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

fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NotUtf8> {
    std::str::from_utf8(bytes).map_err(|error| NotUtf8(error.valid_up_to()))?;
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let run = plain_run(bytes, at);
        out.extend_from_slice(&bytes[at..at + run]);
        at += run;
        let Some(&byte) = bytes.get(at) else {
            out.push(b'"');
            return Ok(());
        };
        write_escape(out, byte);
        at += 1;
    }
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}
