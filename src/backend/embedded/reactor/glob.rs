//! Matches topics against patterns, with the syntax of fnmatch(3) without flags
//! in the C locale. fnmatch itself is not used, because it depends on the
//! locale and may take exponential time.

/// Whether a text is a pattern, not a plain topic.
pub fn is_glob(topic: &[u8]) -> bool {
    topic.iter().any(|c| b"*?[".contains(c))
}

/// The text with which all topics that match the pattern begin.
pub fn start(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|c| b"*?[\\".contains(c));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// Whether a pattern matches a text.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // The pattern after the last star, and where it was tried last. On a
    // mismatch, only a longer match of the last star can help.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let Some(after) = rest.strip_prefix(b"*") {
            rest = after;
            star = Some((rest, at));
            continue;
        }
        let next = match text.get(at) {
            Some(&c) => one(rest, c),
            None => return rest.is_empty(),
        };
        if let Some(after) = next {
            rest = after;
            at += 1;
            continue;
        }
        let Some((after, tried)) = star else {
            return false;
        };
        (rest, at) = (after, tried + 1);
        star = Some((rest, at));
    }
}

/// Matches one byte. Returns the rest of the pattern, or None if the byte does
/// not match.
fn one(pattern: &[u8], c: u8) -> Option<&[u8]> {
    let (&first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'[' => match bracket(rest, c) {
            Bracket::Matches(rest) => Some(rest),
            Bracket::Differs => None,
            Bracket::Unclosed => (c == b'[').then_some(rest),
        },
        b'\\' => {
            let (&escaped, rest) = rest.split_first()?;
            (escaped == c).then_some(rest)
        }
        _ => (first == c).then_some(rest),
    }
}

enum Bracket<'a> {
    Matches(&'a [u8]),
    Differs,
    /// This is not a bracket expression, so its `[` stands for itself.
    Unclosed,
}

/// Matches a bracket expression. `pattern` is the text after the `[`.
fn bracket(pattern: &[u8], c: u8) -> Bracket<'_> {
    let negated = pattern.starts_with(b"!") || pattern.starts_with(b"^");
    let mut rest = &pattern[usize::from(negated)..];
    let (mut found, mut first) = (false, true);
    loop {
        let closed = rest.strip_prefix(b"]").filter(|_| !first);
        if let Some(rest) = closed {
            return match found != negated {
                true => Bracket::Matches(rest),
                false => Bracket::Differs,
            };
        }
        let (item, after) = match item(rest) {
            Ok(item) => item,
            Err(end) => return end,
        };
        found |= item.contains(c);
        (rest, first) = (after, false);
    }
}

/// A part of a bracket expression.
enum Item {
    Range(u8, u8),
    Class(fn(&u8) -> bool),
}

impl Item {
    fn contains(&self, c: u8) -> bool {
        match self {
            Item::Range(low, high) => (*low..=*high).contains(&c),
            Item::Class(contains) => contains(&c),
        }
    }
}

/// Reads the next part. Returns it and the text after it. If there is none, the
/// error is the result of the whole expression. Half a range, or an unknown
/// name, matches nothing.
fn item(pattern: &[u8]) -> Result<(Item, &[u8]), Bracket<'_>> {
    let class_name = named(pattern, b':').filter(|(name, _)| name.iter().all(is_name));
    if let Some((name, rest)) = class_name {
        let class = class(name).ok_or(Bracket::Differs)?;
        return Ok((Item::Class(class), rest));
    }
    if let Some((&[c], rest)) = named(pattern, b'=') {
        return Ok((Item::Range(c, c), rest));
    }
    let (low, rest) = bound(pattern, Bracket::Unclosed)?;
    match rest.strip_prefix(b"-") {
        Some(after) if !after.starts_with(b"]") => {
            let (high, rest) = bound(after, Bracket::Differs)?;
            Ok((Item::Range(low, high), rest))
        }
        _ => Ok((Item::Range(low, low), rest)),
    }
}

fn is_name(c: &u8) -> bool {
    c.is_ascii_lowercase()
}

/// Reads one byte, which may be plain, escaped, or written as `[.x.]`. Returns
/// it and the rest of the pattern. If the pattern ends here, the result of the
/// whole expression is `missing`.
fn bound<'a>(pattern: &'a [u8], missing: Bracket<'a>) -> Result<(u8, &'a [u8]), Bracket<'a>> {
    if pattern.starts_with(b"[.") {
        return match named(pattern, b'.') {
            Some((&[c], rest)) => Ok((c, rest)),
            _ => Err(Bracket::Differs),
        };
    }
    match pattern {
        [b'\\', c, rest @ ..] => Ok((*c, rest)),
        [] | [b'\\'] => Err(missing),
        [c, rest @ ..] => Ok((*c, rest)),
    }
}

/// Returns the name in `[:name:]`, and the text after it. `mark` is the byte in
/// place of the colon.
fn named(pattern: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let name = pattern.strip_prefix(&[b'[', mark])?;
    let end = name.windows(2).position(|pair| pair == [mark, b']'])?;
    Some((&name[..end], &name[end + 2..]))
}

/// The character class of this name.
fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |c| b" \t".contains(c),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |c| matches!(c, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |c| c.is_ascii_whitespace() || *c == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}
