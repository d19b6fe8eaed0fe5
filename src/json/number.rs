//! JSON numbers as bytes: integers and floats written, and read exactly as
//! they round. Knows neither Lua's values nor the rest of the grammar.

use super::output::Output;
use crate::lua::Scratch;

/// Floats below it have integers as neighbours, so that an integer's text is
/// as good as theirs.
const EXACT_INTEGERS: u64 = 1 << 53;

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + n as u8 / 10, b'0' + n as u8 % 10];
        n += 1;
    }
    pairs
};

/// As long as the least integer.
const LONGEST: usize = 20;

pub fn write_integer(out: &mut Output<'_>, n: i64) {
    // What is behind the digits is written with them, and overwritten.
    let mut digits = [0; 2 * LONGEST];
    let mut start = LONGEST;
    let mut rest = n.unsigned_abs();
    while rest >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest > 0 || start == LONGEST {
        start -= 1;
        digits[start] = b'0' + rest as u8;
    }
    if n < 0 {
        start -= 1;
        digits[start] = b'-';
    }
    if let Some(text) = digits[start..].first_chunk::<LONGEST>() {
        out.part(text, LONGEST - start);
    }
}

/// The integer that a float is written as: an integral one below 2^53.
pub fn integral(x: f64) -> Option<i64> {
    let n = x as i64;
    let is_minus_zero = n == 0 && x.is_sign_negative();
    let is_exact = n as f64 == x && n.unsigned_abs() < EXACT_INTEGERS;
    (is_exact && !is_minus_zero).then_some(n)
}

/// Append a finite float: an integral one below 2^53 as an integer, others as
/// the shortest text that reads back the same, and as a float.
pub fn write_float(out: &mut Output<'_>, x: f64) {
    if let Some(n) = integral(x) {
        return write_integer(out, n);
    }
    let written = serde_json::to_writer(out, &x);
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

/// A float that is a key, as an error or a path names it.
pub fn float_text(x: f64) -> String {
    if !x.is_finite() {
        return non_finite_text(x).to_owned();
    }
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    write_float(&mut text, x);
    String::from_utf8_lossy(&text).into_owned()
}

pub fn non_finite_text(x: f64) -> &'static str {
    match x {
        x if x.is_nan() => "nan",
        x if x > 0.0 => "inf",
        _ => "-inf",
    }
}

/// A number as JSON has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written as an integer, and in the range of 64 bits.
    Integer(i64),
    Float(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not a number, from this byte of the text on.
    Malformed(usize),
    /// Too large for a float.
    OutOfRange,
}

/// Read the number that starts at `start`, and say where it ends.
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
        // The grammar was checked, so that it parses; infinity is out of range.
        None => text[start..digits.at].parse().unwrap_or(f64::INFINITY),
    };
    if x.is_infinite() {
        return Err(NumberError::OutOfRange);
    }
    Ok((Number::Float(x), digits.at))
}

/// The digits of one number, gathered while its grammar is checked.
struct Digits<'t> {
    bytes: &'t [u8],
    at: usize,
    /// All digits so far as one integer, unless `count` says that it wrapped.
    value: u64,
    count: usize,
}

/// So many digits always fit.
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

    /// The byte to be read next; NUL, which no number holds, at the end.
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Take all digits that follow; there must be one.
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

    fn read_integral(&mut self) -> Result<(), NumberError> {
        let start = self.at;
        let first = self.peek();
        // Most have few digits: these need no look at eight.
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

    /// Take a fraction, if there is one, and return how many digits it has.
    fn read_fraction(&mut self) -> Result<i64, NumberError> {
        if self.peek() != b'.' {
            return Ok(0);
        }
        self.at += 1;
        let start = self.at;
        self.read_digits()?;
        Ok((self.at - start) as i64)
    }

    /// Take an exponent, if there is one; `None` stands for a huge one.
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

    /// The integer, if it is in range; minus zero is a float.
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

    /// The digits times ten to `exponent`, where a single operation on exact
    /// floats gives it, which then rounds as it should.
    fn exact_float(&self, exponent: i64) -> Option<f64> {
        if self.count > MAX_DIGITS || self.value > EXACT_INTEGERS {
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

/// The powers of ten that are exact as floats.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Eight digits as a number, the pairs, then the fours, added up in parallel.
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
