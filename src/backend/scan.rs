//! JSON text read value by value: where each ends, and what a string says.
//! Builds nothing. A text that is nested too deeply is not JSON here.

use crate::MAX_JSON_DEPTH;

/// How many arrays and objects can be open in the value of a member or item.
const MAX_DEPTH: usize = MAX_JSON_DEPTH as usize - 1;

/// A text that is being read, from its start on. What returns an option has
/// none where the text is no JSON.
pub struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub fn new(text: &'t str) -> Scanner<'t> {
        Scanner { text, at: 0 }
    }

    /// Take this byte, and the space before it, if it is next.
    pub fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        self.take_byte(wanted)
    }

    /// Whether nothing is left but space.
    pub fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// A member's name, as JSON, and the colon after it.
    pub fn name(&mut self) -> Option<&'t str> {
        self.skip_space();
        let start = self.at;
        self.skip_string()?;
        let name = &self.text[start..self.at];
        self.take(b':').then_some(name)
    }

    /// The next value, as JSON.
    pub fn value(&mut self) -> Option<&'t str> {
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        Some(&self.text[start..self.at])
    }

    fn skip_value(&mut self) -> Option<()> {
        // How each array and object that is open is closed.
        let mut open = Vec::new();
        loop {
            self.skip_space();
            let closer = match self.peek()? {
                b'[' => Some(b']'),
                b'{' => Some(b'}'),
                _ => None,
            };
            match closer {
                Some(_) if open.len() == MAX_DEPTH => return None,
                Some(closer) => {
                    self.at += 1;
                    if !self.take(closer) {
                        open.push(closer);
                        self.go_on(closer)?;
                        continue;
                    }
                }
                None => self.skip_scalar()?,
            }
            self.close(&mut open)?;
            if open.is_empty() {
                return Some(());
            }
        }
    }

    /// To the next value in what ends so.
    fn go_on(&mut self, closer: u8) -> Option<()> {
        match closer {
            b'}' => self.name().map(|_| ()),
            _ => Some(()),
        }
    }

    /// After a value: close what ends with it, and go on to the value after.
    fn close(&mut self, open: &mut Vec<u8>) -> Option<()> {
        while let Some(&closer) = open.last() {
            if self.take(closer) {
                open.pop();
                continue;
            }
            if !self.take(b',') {
                return None;
            }
            return self.go_on(closer);
        }
        Some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        if !self.take_byte(b'"') {
            return None;
        }
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            self.at += rest
                .iter()
                .position(|&c| c < b' ' || c == b'"' || c == b'\\')?;
            if self.take_byte(b'"') {
                return Some(());
            }
            let (_, after) = escape(&self.text[self.at..])?;
            self.at = self.text.len() - after.len();
        }
    }

    fn skip_scalar(&mut self) -> Option<()> {
        if self.peek() == Some(b'"') {
            return self.skip_string();
        }
        let rest = &self.text[self.at..];
        for word in ["true", "false", "null"] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Some(());
            }
        }
        self.take_byte(b'-');
        if !self.take_byte(b'0') {
            self.skip_digits()?;
        }
        if self.take_byte(b'.') {
            self.skip_digits()?;
        }
        if self.take_byte(b'e') || self.take_byte(b'E') {
            let _sign = self.take_byte(b'+') || self.take_byte(b'-');
            self.skip_digits()?;
        }
        Some(())
    }

    fn skip_digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take_byte(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The text of a JSON string; `None` for what is none, or is no text: half a
/// character of two.
pub fn text(json: &str) -> Option<String> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = rest.find('\\') {
        let (unit, mut after) = escape(&rest[at..])?;
        let mut code = unit;
        if (0xd800..0xdc00).contains(&unit) {
            let (low, rest) = escape(after).filter(|(low, _)| (0xdc00..0xe000).contains(low))?;
            code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            after = rest;
        }
        text += &rest[..at];
        text.push(char::from_u32(code)?);
        rest = after;
    }
    text += rest;
    Some(text)
}

/// What an escape stands for, in UTF-16, and the text after it.
fn escape(text: &str) -> Option<(u32, &str)> {
    let after = text.strip_prefix('\\')?;
    let letter = *after.as_bytes().first()?;
    let code = match letter {
        b'"' | b'\\' | b'/' => letter,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let digits = after.get(1..5)?;
            let are_digits = digits.bytes().all(|c| c.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok()?;
            return are_digits.then_some((code, &after[5..]));
        }
        _ => return None,
    };
    Some((code.into(), &after[1..]))
}
