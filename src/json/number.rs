//! Reads and writes JSON numbers. Floats are rounded correctly in both
//! directions. Nothing here knows about Lua values or the rest of JSON.

use super::output::Output;
use crate::lua::Scratch;

/// 2^53. Below it, every integer has an exact float, so an integral float can be
/// written as an integer and read back without loss.
const EXACT_INTEGER_LIMIT: u64 = 1 << 53;

/// The digits of 0 to 99: "00" to "99".
const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

/// The length of the longest integer, -9223372036854775808.
const MAX_INTEGER_LEN: usize = 20;

/// Append an integer.
pub fn write_integer(out: &mut Output<'_>, n: i64) {
    // The digits end in the middle of the array, so that a copy of fixed length
    // starts at any first digit. `prefix` keeps only the digits.
    let mut digits = [0; 2 * MAX_INTEGER_LEN];
    let mut start = MAX_INTEGER_LEN;
    let mut rest = n.unsigned_abs();
    while rest >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&DIGIT_PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest > 0 || start == MAX_INTEGER_LEN {
        start -= 1;
        digits[start] = b'0' + rest as u8;
    }
    if n < 0 {
        start -= 1;
        digits[start] = b'-';
    }
    if let Some(text) = digits[start..].first_chunk::<MAX_INTEGER_LEN>() {
        out.prefix(text, MAX_INTEGER_LEN - start);
    }
}

/// The integer to write in place of the float `x`, if `x` is integral, below
/// 2^53 in magnitude, and not minus zero.
pub fn integral(x: f64) -> Option<i64> {
    let n = x as i64;
    let is_minus_zero = n == 0 && x.is_sign_negative();
    let is_exact = n as f64 == x && n.unsigned_abs() < EXACT_INTEGER_LIMIT;
    (is_exact && !is_minus_zero).then_some(n)
}

/// Append a finite float. If [`integral`] has an integer for it, append that;
/// otherwise append the shortest text that reads back as the same float.
pub fn write_float(out: &mut Output<'_>, x: f64) {
    if let Some(n) = integral(x) {
        return write_integer(out, n);
    }
    let written = serde_json::to_writer(out, &x);
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

/// The text of a float in an error message, also of one that is not finite.
pub fn float_text(x: f64) -> String {
    if !x.is_finite() {
        return non_finite_text(x).to_owned();
    }
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    write_float(&mut text, x);
    String::from_utf8_lossy(&text).into_owned()
}

/// "nan", "inf" or "-inf". `x` must not be finite.
pub fn non_finite_text(x: f64) -> &'static str {
    match x {
        x if x.is_nan() => "nan",
        x if x > 0.0 => "inf",
        _ => "-inf",
    }
}

/// A JSON number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without a fraction and an exponent, and in the range of `i64`.
    Integer(i64),
    /// Any other number.
    Float(f64),
}

/// Why a number cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// The grammar of numbers is violated at this byte offset of the text.
    Malformed(usize),
    /// The number is too large for a float.
    OutOfRange,
}

/// Read the number that starts at `start`. Also returns the offset after it.
pub fn read(text: &str, start: usize) -> Result<(Number, usize), NumberError> {
    let bytes = text.as_bytes();
    let is_negative = bytes.get(start) == Some(&b'-');
    let mut digits = Digits::new(bytes, start + usize::from(is_negative));
    digits.read_integral()?;
    let (fraction, exponent) = match digits.peek() {
        b'.' | b'e' | b'E' => (digits.read_fraction()?, digits.read_exponent()?),
        _ => match digits.integer(is_negative) {
            Some(n) => return Ok((Number::Integer(n), digits.at)),
            None => (0, Some(0)),
        },
    };
    let exact = exponent.and_then(|exponent| digits.exact_float(exponent - fraction));
    let x = match exact {
        Some(x) if is_negative => -x,
        Some(x) => x,
        // The grammar was checked above, so `parse` succeeds.
        None => text[start..digits.at].parse().unwrap_or(f64::INFINITY),
    };
    if x.is_infinite() {
        return Err(NumberError::OutOfRange);
    }
    Ok((Number::Float(x), digits.at))
}

/// A reader of the digits of one number.
struct Digits<'t> {
    bytes: &'t [u8],
    /// The offset of the next byte.
    at: usize,
    /// All digits so far as one integer, without the decimal point. It has wrapped
    /// if `count` is greater than [`MAX_DIGITS`].
    value: u64,
    /// How many digits were read.
    count: usize,
}

/// This many digits always fit into a `u64`.
const MAX_DIGITS: usize = 19;

impl<'t> Digits<'t> {
    fn new(bytes: &'t [u8], at: usize) -> Digits<'t> {
        Digits {
            bytes,
            at,
            value: 0,
            count: 0,
        }
    }

    /// The next byte, or NUL at the end of the text. No number contains a NUL.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Read all digits that follow. There must be at least one.
    fn read_digits(&mut self) -> Result<(), NumberError> {
        let start = self.at;
        while let Some(eight) = self.bytes[self.at..].first_chunk().and_then(eight_digits) {
            self.value = self.value.wrapping_mul(100_000_000).wrapping_add(eight);
            self.at += 8;
        }
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            self.value = self.value.wrapping_mul(10).wrapping_add(digit.into());
            self.at += 1;
        }
        self.count += self.at - start;
        if self.at == start {
            return Err(NumberError::Malformed(self.at));
        }
        Ok(())
    }

    /// Read the digits before the decimal point. There must be at least one, and no
    /// leading zero.
    fn read_integral(&mut self) -> Result<(), NumberError> {
        let start = self.at;
        let first = self.peek();
        // Fast path: most numbers have at most three digits, too few to read eight
        // at once.
        while self.peek().is_ascii_digit() && self.at - start < 3 {
            self.value = self.value * 10 + u64::from(self.peek() - b'0');
            self.at += 1;
        }
        self.count = self.at - start;
        if self.count == 3 && self.peek().is_ascii_digit() {
            self.read_digits()?;
        }
        if self.count == 0 || (first == b'0' && self.count > 1) {
            return Err(NumberError::Malformed(start));
        }
        Ok(())
    }

    /// Read the fraction, if there is one. Returns how many digits it has.
    fn read_fraction(&mut self) -> Result<i64, NumberError> {
        if self.peek() != b'.' {
            return Ok(0);
        }
        self.at += 1;
        let start = self.at;
        self.read_digits()?;
        Ok((self.at - start) as i64)
    }

    /// Read the exponent, if there is one. Returns 0 without one, and `None` if the
    /// exponent has more than four digits.
    fn read_exponent(&mut self) -> Result<Option<i64>, NumberError> {
        if !matches!(self.peek(), b'e' | b'E') {
            return Ok(Some(0));
        }
        self.at += 1;
        let is_negative = self.peek() == b'-';
        if matches!(self.peek(), b'-' | b'+') {
            self.at += 1;
        }
        let mut exponent = Digits::new(self.bytes, self.at);
        exponent.read_digits()?;
        self.at = exponent.at;
        if exponent.count > 4 {
            return Ok(None);
        }
        let value = exponent.value as i64;
        Ok(Some(if is_negative { -value } else { value }))
    }

    /// The number as an integer, if it fits. Minus zero does not: Lua needs a float
    /// for it.
    fn integer(&self, is_negative: bool) -> Option<i64> {
        if self.count > MAX_DIGITS {
            return None;
        }
        match is_negative {
            false => i64::try_from(self.value).ok(),
            true if self.value == 0 => None,
            true => 0_i64.checked_sub_unsigned(self.value),
        }
    }

    /// The digits times ten to the power `exponent`, if one operation on two exact
    /// floats computes it. That operation rounds correctly.
    fn exact_float(&self, exponent: i64) -> Option<f64> {
        if self.count > MAX_DIGITS || self.value > EXACT_INTEGER_LIMIT {
            return None;
        }
        let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
        let value = self.value as f64;
        Some(if exponent < 0 {
            value / power
        } else {
            value * power
        })
    }
}

/// The powers of ten that have an exact float.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The value of eight ASCII digits, or `None` if a byte is not a digit. Adds up
/// pairs of digits, then pairs of those sums, then the two halves; each step works
/// on all parts of the word at once.
fn eight_digits(bytes: &[u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(*bytes);
    let zeros = u64::from_ne_bytes([b'0'; 8]);
    let above_nine = word.wrapping_add(0x4646_4646_4646_4646);
    let values = word.wrapping_sub(zeros);
    if (above_nine | values) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}
