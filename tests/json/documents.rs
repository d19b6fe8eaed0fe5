//! Compares the JSON codec with serde_json, on generated documents, damaged ones,
//! and the files of a directory.

use flux::json;
use flux::lua::Interpreter;
use serde_json::Value;

use super::{HAS_INTEGERS, decode, encode, new_lua};

/// Decode the text with null kept, and encode the value again.
fn round_trip(lua: &Interpreter, text: &[u8]) -> Result<String, json::DecodeError> {
    decode(lua, text, true)?;
    Ok(encode(lua).unwrap_or_else(|error| panic!("{error} in {}", excerpt(text))))
}

/// The first 300 bytes, for messages.
fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned()
}

/// Whether both values are equal. Numbers are compared as Lua sees them. serde_json
/// may round the last digit of a float wrongly on either side, so a small
/// difference is allowed; another test checks our rounding.
fn same_value(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => {
            if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
                return a == b || (!HAS_INTEGERS && a as f64 == b as f64);
            }
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(1.0));
            a == b || (a.to_bits() as i64 - b.to_bits() as i64).abs() <= 4
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| same_value(a, b)))
        }
        _ => ours == theirs,
    }
}

/// Assert that the codec and serde_json assert_agreement whether the text is JSON, and on its
/// value.
fn assert_agreement(lua: &Interpreter, text: &[u8]) {
    let theirs = serde_json::from_slice::<Value>(text);
    match (round_trip(lua, text), theirs) {
        (Ok(ours), Ok(theirs)) => {
            let value = serde_json::from_str(&ours).unwrap_or_else(|error| {
                panic!(
                    "{error} in {}, decoded from {}",
                    excerpt(ours.as_bytes()),
                    excerpt(text)
                )
            });
            assert!(
                same_value(&value, &theirs),
                "{} decoded from {}",
                excerpt(ours.as_bytes()),
                excerpt(text)
            );
        }
        (Err(_), Err(_)) => {}
        (Ok(ours), Err(error)) => panic!(
            "{error}, but flux-lua decodes {} to {}",
            excerpt(text),
            excerpt(ours.as_bytes())
        ),
        (Err(error), Ok(_)) => panic!("flux-lua refuses valid JSON: {error} in {}", excerpt(text)),
    }
}

/// The xorshift64* generator. A fixed seed gives the same documents in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn choose<'p>(&mut self, of: &[&'p str]) -> &'p str {
        of[self.below(of.len())]
    }
}

fn write_document(random: &mut Random, out: &mut String, depth: usize) {
    write_space(random, out);
    match random.below(if depth == 0 { 7 } else { 11 }) {
        0 => out.push_str("null"),
        1 => out.push_str(random.choose(&["true", "false"])),
        2 | 3 => write_number(random, out),
        4..=6 => write_string(random, out),
        7 | 8 => write_items(random, out, ['[', ']'], |random, out| {
            write_document(random, out, depth - 1);
        }),
        _ => write_items(random, out, ['{', '}'], |random, out| {
            write_string(random, out);
            write_space(random, out);
            out.push(':');
            write_document(random, out, depth - 1);
        }),
    }
    write_space(random, out);
}

fn write_items(
    random: &mut Random,
    out: &mut String,
    brackets: [char; 2],
    write: impl Fn(&mut Random, &mut String),
) {
    out.push(brackets[0]);
    let count = match random.below(12) {
        0 => 0,
        1 => 30 + random.below(20),
        2 => 15 + random.below(4),
        _ => random.below(6),
    };
    for n in 0..count {
        if n > 0 {
            out.push(',');
        }
        write(random, out);
        // The next item may be a name, so white space may precede it.
        write_space(random, out);
    }
    out.push(brackets[1]);
}

fn write_space(random: &mut Random, out: &mut String) {
    if random.below(8) == 0 {
        out.push_str(random.choose(&[
            " ",
            "\n",
            "\t",
            "\r\n",
            "          ",
            "\n                 ",
        ]));
    }
}

fn write_number(random: &mut Random, out: &mut String) {
    let edges = [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1e0",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1e22",
        "1e23",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072011e-308",
        "1E+2",
        "0.1e-2",
        "100.0",
        "123456789012345678901234567890",
        "0.30000000000000004",
        "1e-400",
        "0e999999",
    ];
    match random.below(4) {
        0 => out.push_str(random.choose(&edges)),
        1 => out.push_str(&(random.next() as i64 >> random.below(63)).to_string()),
        2 => {
            let x = f64::from_bits(random.next());
            out.push_str(&format!("{:?}", if x.is_finite() { x } else { 0.5 }));
        }
        _ => out.push_str(&format!("{:?}", (random.next() >> 40) as f64 / 1000.0)),
    }
}

fn write_string(random: &mut Random, out: &mut String) {
    let pieces = [
        "a",
        "key",
        "1",
        "-2",
        "1.5",
        "name",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0000",
        "\\u00e9",
        "é",
        "日本",
        "\\ud83d\\ude00",
        "😀",
        "\u{7f}",
        "\\u001f",
        "some longer text in it",
        " ",
        "\\uFFFF",
    ];
    out.push('"');
    for _ in 0..random.below(5) {
        out.push_str(random.choose(&pieces));
    }
    out.push('"');
}

#[test]
fn generated_documents_decode_to_the_same_value_as_with_serde_json() {
    let lua = new_lua();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..3000 {
        let mut text = String::new();
        write_document(&mut random, &mut text, 4);
        assert_agreement(&lua, text.as_bytes());
    }
}

#[test]
fn damaged_documents_are_refused_exactly_when_serde_json_refuses_them() {
    let lua = new_lua();
    let mut random = Random(42);
    let bytes = b"{}[]:,\"\\0123456789-+.eEtfnul \n\t\x00\x1f\x7f\x80\xc3\xa9\xed\xff/u";
    for _ in 0..1500 {
        let mut text = String::new();
        write_document(&mut random, &mut text, 3);
        let text = text.into_bytes();
        assert_agreement(&lua, &text[..random.below(text.len() + 1)]);
        for _ in 0..6 {
            let mut text = text.clone();
            let at = random.below(text.len());
            let byte = bytes[random.below(bytes.len())];
            match random.below(3) {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
            assert_agreement(&lua, &text);
        }
    }
}

#[test]
fn floats_are_rounded_correctly() {
    let lua = new_lua();
    let mut random = Random(7);
    for n in 0..20_000 {
        let text = match n % 3 {
            0 => format!("{:?}", f64::from_bits(random.next())),
            1 => {
                let (whole, part) = (random.next() >> random.below(63), random.next());
                format!("{whole}.{}", &part.to_string()[..1 + random.below(16)])
            }
            _ => {
                let digits = random.next() >> random.below(63);
                format!("{digits}e{}", random.below(600) as i64 - 330)
            }
        };
        let Some(x) = text.parse::<f64>().ok().filter(|x| x.is_finite()) else {
            continue;
        };
        decode(&lua, text.as_bytes(), false).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(lua.state().number(-1), Some(x), "{text}");
        let written = encode(&lua).expect("a finite number");
        assert_eq!(
            written.parse::<f64>().map(f64::to_bits),
            Ok(x.to_bits()),
            "{text}"
        );
        let is_integral = !written.contains(['.', 'e']);
        assert_eq!(
            is_integral,
            x.fract() == 0.0 && x.abs() < 9007199254740992.0 && x.to_bits() != 1 << 63
        );
    }
}

#[test]
fn the_documents_of_a_directory_survive_a_round_trip() {
    let Some(dir) = std::env::var_os("FLUX_LUA_JSON_DIR") else {
        println!("skipped: FLUX_LUA_JSON_DIR names no directory of documents");
        return;
    };
    let lua = new_lua();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            assert_agreement(&lua, &std::fs::read(&path).expect("a document"));
            seen += 1;
        }
    }
    assert!(seen > 0, "no documents");
}
