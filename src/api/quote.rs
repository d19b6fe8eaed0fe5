//! Quotes a text from outside, such as a key or a URI, in an error text.

/// The text in quotes and on one line. Control characters are escaped, and the end of a
/// long text is cut off.
pub fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut chars = text.chars();
    let mut shown = String::from("'");
    for c in chars.by_ref().take(MAX_CHARS) {
        match c.is_control() {
            // The escape sequence of Lua.
            true => shown.push_str(&format!("\\{}", u32::from(c))),
            false => shown.push(c),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown.push('\'');
    shown
}
