//! Texts of others as error texts show them.

/// A text as an error shows it: in quotes, on one line, and cut where it is long.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 200;
    let mut chars = text.chars();
    let mut shown = String::from("'");
    for c in chars.by_ref().take(MOST) {
        match c.is_control() {
            // As Lua writes it.
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
