//! Payloads that no well-behaved peer sends, by name. victim/cases.lua says what
//! each must lead to.

/// The bytes of a payload. `n` is its size, in a unit that depends on `name`.
/// None for a message without a payload.
pub fn make(name: &str, n: usize) -> Option<Vec<u8>> {
    Some(match name {
        "none" => return None,
        "empty" => Vec::new(),
        "object" => br#"{"a":1}"#.to_vec(),
        "terminated" => b"{\"a\":1}\0".to_vec(),
        "nul" => b"\0".to_vec(),
        "nuls" => b"\0\0\0".to_vec(),
        "nul-inside" => b"{\"a\":1}\0{\"b\":2}".to_vec(),
        "nul-in-string" => b"{\"a\":\"x\0y\"}".to_vec(),
        "escaped-nul" => br#"{"a\u0000b":"x\u0000y"}"#.to_vec(),
        "binary" => (0..=255).collect(),
        "not-utf8" => b"{\"a\":\"\xff\xfe\"}".to_vec(),
        "surrogate" => br#"{"a":"\ud800"}"#.to_vec(),
        "cut" => br#"{"a":[1,2"#.to_vec(),
        "trailing" => br#"{"a":1}x"#.to_vec(),
        "null" => b"null".to_vec(),
        "number" => b"5".to_vec(),
        "text" => br#""text""#.to_vec(),
        "array" => b"[1,2]".to_vec(),
        "duplicate" => br#"{"a":1,"a":2}"#.to_vec(),
        "huge-exponent" => br#"{"a":1e999999}"#.to_vec(),
        "tiny-exponent" => br#"{"a":1e-999999}"#.to_vec(),
        "digits" => object(&"1".repeat(n)),
        "fraction" => object(&format!("0.{}", "1".repeat(n))),
        "percent" => br#"{"a":"%s%n%d%1$*2$x"}"#.to_vec(),
        "control" => br#"{"a":"\u001b]0;title\u0007\r\n"}"#.to_vec(),
        "mebibytes" => object(&format!("\"{}\"", "x".repeat(n << 20))),
        "zeros" => object(&list("0", n)),
        "bare-zeros" => list("0", n).into_bytes(),
        "empty-tables" => object(&list("[]", n)),
        "small-objects" => object(&list(r#"{"":0}"#, n)),
        "table-after-zeros" => object(&format!("[{},{{\"b\":1}}]", list("0", n))),
        "brackets" => "[".repeat(n).into_bytes(),
        "names" => r#"{"a":"#.repeat(n).into_bytes(),
        "deep" => [r#"{"a":"#.repeat(n), "1".to_owned(), "}".repeat(n)]
            .concat()
            .into_bytes(),
        "keys" => keys(n, |i| format!("key{i}")),
        "long-keys" => keys(n, |i| format!("{}{i:08}{0}", "x".repeat(60))),
        // Strings of 256 bytes that differ only in bytes 4 to 7. The hashes of
        // Lua 5.1 to 5.3, and the first of LuaJIT's two, skip these bytes.
        "equal-hash" => keys(n, |i| format!("xxxx{i:04x}{}", "x".repeat(248))),
        _ => format!(r#"{{"error":"there is no payload {name}"}}"#).into_bytes(),
    })
}

fn object(value: &str) -> Vec<u8> {
    [r#"{"a":"#, value, "}"].concat().into_bytes()
}

fn list(item: &str, n: usize) -> String {
    let mut text = String::with_capacity(n * (item.len() + 1) + 2);
    text.push('[');
    for i in 0..n {
        if i > 0 {
            text.push(',');
        }
        text.push_str(item);
    }
    text.push(']');
    text
}

fn keys(n: usize, name: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = String::from("{");
    for i in 0..n {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&format!("\"{}\":{i}", name(i)));
    }
    text.push('}');
    text.into_bytes()
}

/// The text of an error response, by name.
pub fn error_text(name: &str) -> Option<Vec<u8>> {
    Some(match name {
        "none" => return None,
        "empty" => Vec::new(),
        "mebibyte" => vec![b'x'; 1 << 20],
        "percent" => b"%s%n%d%1$*2$x".to_vec(),
        "control" => b"line\r\n\x1b[2Jline".to_vec(),
        "not-utf8" => b"\xff\xfe text".to_vec(),
        "nul" => b"before\0after".to_vec(),
        _ => b"unknown text".to_vec(),
    })
}
