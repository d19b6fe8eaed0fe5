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

/// Whether all of it is ASCII that needs no escape.
fn is_plain_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return is_plain_word(short_word(bytes));
    };
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        if !is_plain_word(u64::from_le_bytes(*chunk)) {
            return false;
        }
        rest = after;
    }
    is_plain_word(u64::from_le_bytes(*last))
}

fn is_plain_word(word: u64) -> bool {
    specials(word) | (word & HIGHS) == 0
}

/// A word that holds each of less than eight bytes, and else what is plain.
fn short_word(bytes: &[u8]) -> u64 {
    const FILL: u64 = ONES * b'_' as u64;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let high = u64::from(u32::from_le_bytes(*last)) << 32;
        return high | u64::from(u32::from_le_bytes(*first));
    }
    match *bytes {
        [a, .., b] => {
            let middle = bytes[bytes.len() / 2];
            FILL & !0xff_ffff | u64::from(a) | u64::from(middle) << 8 | u64::from(b) << 16
        }
        [a] => FILL & !0xff | u64::from(a),
        [] => FILL,
    }
}

/// The text that is not UTF-8, from this byte on (0 is the first).
#[derive(Debug)]
pub struct NotUtf8(pub usize);

/// Append `bytes` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NotUtf8> {
    if is_plain_ascii(bytes) {
        write_plain(out, bytes);
        return Ok(());
    }
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    write_escaped(out, bytes)?;
    out.push(b'"');
    Ok(())
}

/// Append what needs no escape, between quotes.
fn write_plain(out: &mut Vec<u8>, bytes: &[u8]) {
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
}

/// Copy what is most often a few bytes: names and words.
///
/// # Safety
/// At `to` is room for as many bytes.
unsafe fn copy_short(bytes: &[u8], to: *mut u8) {
    // SAFETY: by the contract; a word that overlaps the one before it is in
    // both as a whole.
    unsafe {
        match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            (Some(first), Some(last)) if bytes.len() <= 16 => {
                to.cast::<[u8; 8]>().write_unaligned(*first);
                to.add(bytes.len() - 8)
                    .cast::<[u8; 8]>()
                    .write_unaligned(*last);
            }
            (Some(_), _) => bytes.as_ptr().copy_to_nonoverlapping(to, bytes.len()),
            _ => {
                for (at, byte) in bytes.iter().enumerate() {
                    to.add(at).write(*byte);
                }
            }
        }
    }
}

fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NotUtf8> {
    std::str::from_utf8(bytes).map_err(|error| NotUtf8(error.valid_up_to()))?;
    let mut at = 0;
    loop {
        let run = plain_run(bytes, at);
        out.extend_from_slice(&bytes[at..at + run]);
        at += run;
        let Some(&byte) = bytes.get(at) else {
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
