//! Base64 as Flux carries bytes in JSON (RFC 4648, padded). Decoding accepts
//! what a broker's decoder accepts, a missing padding included.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID: u8 = 0xff;
const SEXTETS: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let mut table = [INVALID; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// The length of `len` bytes once encoded.
pub fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_len(bytes.len()));
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) as usize & 0x3f;
            text.push(if i > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[sextet])
            });
        }
    }
    text
}

/// `None` for what is not base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    // Padding means something in the last quartet only.
    let tail_start = text.len().saturating_sub(1) / 4 * 4;
    let padding = text[tail_start..]
        .iter()
        .rev()
        .take_while(|&&c| c == b'=')
        .count();
    let digits = &text[..text.len() - padding];
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for quartet in digits.chunks(4) {
        if quartet.len() == 1 {
            return None;
        }
        let mut word = 0u32;
        for i in 0..4 {
            let sextet = quartet.get(i).map_or(0, |&c| SEXTETS[usize::from(c)]);
            if sextet == INVALID {
                return None;
            }
            word = word << 6 | u32::from(sextet);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..quartet.len()]);
    }
    Some(bytes)
}
