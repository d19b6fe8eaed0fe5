//! JSON objects that others wrote: read as serde_json reads them, whatever
//! they hold.

use flux::backend::object::{self, Field, Object};
use serde_json::{Value, json};

const TEXTS: &[&str] = &[
    "{}",
    " { } ",
    r#"{"a":1}"#,
    r#"{"a" : [ ] , "b" : { } }"#,
    r#"{"a":[1,{"b":[null,true,false]},"x"],"c":-0.5e+7}"#,
    r#"{"a":1,"a":{"b":2},"a":"last"}"#,
    r#"{"A":"\u0041\n\"\\\/\b\f\r\t","\ud83d\ude00":"é\u00e9"}"#,
    "{\"a\":\t[\r\n1 , 2]}\n",
    "",
    "{",
    "}",
    "{]",
    "[}",
    "{,}",
    r#"{"a"}"#,
    r#"{"a":}"#,
    r#"{"a":1,}"#,
    r#"{"a":1 "b":2}"#,
    r#"{"a":1}}"#,
    r#"{"a":1} x"#,
    r#"{a:1}"#,
    r#"{"a":[1,]}"#,
    r#"{"a":[1}]"#,
    r#"{"a":[[1]}"#,
    r#"{"a":{"b"}}"#,
    r#"{"a":tru}"#,
    r#"{"a":nulls}"#,
    r#"{"a":01}"#,
    r#"{"a":-}"#,
    r#"{"a":+1}"#,
    r#"{"a":1.}"#,
    r#"{"a":.5}"#,
    r#"{"a":1e}"#,
    r#"{"a":1E-2}"#,
    r#"{"a":NaN}"#,
    r#"{"a":"\x"}"#,
    r#"{"a":"\u12g4"}"#,
    r#"{"a":"\u+123"}"#,
    "{\"a\":\"\n\"}",
    r#"{"a":"open}"#,
    r#"{"a":"\"}"#,
    r#"{"\ud800":1}"#,
    "[]",
    "[1]",
    "null",
    "\"text\"",
];

#[test]
fn an_object_is_read_where_serde_json_reads_one() {
    for text in TEXTS {
        let expected = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Some(fields),
            _ => None,
        };
        let read = Object::parse(text.as_bytes());
        assert_eq!(read.is_some(), expected.is_some(), "{text}");
        let (Some(read), Some(expected)) = (read, expected) else {
            continue;
        };
        let read: Vec<(&str, Value)> = read
            .fields()
            .map(|(name, json)| (name, serde_json::from_str(json).unwrap()))
            .collect();
        let expected: Vec<(&str, Value)> = expected
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        assert_eq!(read, expected, "{text}");
    }
}

#[test]
fn any_cut_or_changed_byte_of_an_object_is_noticed_where_serde_json_notices() {
    let text = r#"{"a":[1,-2.5e3,{"b":null}],"c":"x\u00e9\n","d":{"e":true}}"#.as_bytes();
    for at in 0..text.len() {
        let cut = &text[..at];
        assert!(Object::parse(cut).is_none(), "cut at {at}");
        for byte in *b"\"\\,:[]{}0-.eu \n\x01" {
            let mut changed = text.to_vec();
            changed[at] = byte;
            let expected = serde_json::from_slice::<Value>(&changed).is_ok_and(|v| v.is_object());
            let read = Object::parse(&changed).is_some();
            let shown = String::from_utf8_lossy(&changed);
            assert_eq!(read, expected, "{shown}");
        }
    }
}

#[test]
fn fields_are_what_they_are_read_as_and_nothing_else() {
    let text = r#"{"s":"é\ud83d\ude00","half":"\ud800x","n":-7,"f":1.0,"big":4294967296,
        "t":true,"o":{"n":1},"l":[1,"two",[3]],"z":null}"#;
    let object = Object::parse(text.as_bytes()).unwrap();
    assert_eq!(object.fields().count(), 9);
    assert_eq!(object.text("s").as_deref(), Some("é😀"));
    assert_eq!(object.text("half"), None);
    assert_eq!(object.text("n"), None);
    assert_eq!(object.integer("n"), Some(-7));
    assert_eq!(object.integer("f"), None);
    assert_eq!(object.number("n"), None);
    assert_eq!(object.number("big"), None);
    assert_eq!(object.integer("big"), Some(4_294_967_296));
    assert_eq!(object.boolean("t"), Some(true));
    assert_eq!(object.boolean("n"), None);
    assert_eq!(object.object("o").unwrap().integer("n"), Some(1));
    assert!(object.object("l").is_none());
    let items = object::items(object.json("l").unwrap()).unwrap();
    assert_eq!(items, ["1", "\"two\"", "[3]"]);
    assert_eq!(object::items("[1,]"), None);
    assert_eq!(object::items("{}"), None);
    assert_eq!(object.json("z"), Some("null"));
    assert_eq!(object.json("y"), None);
}

#[test]
fn an_object_is_read_to_the_depth_that_is_allowed_and_no_deeper() {
    let deepest = flux::MAX_JSON_DEPTH as usize - 1;
    for depth in [1, 128, deepest, deepest + 1, 1_000_000] {
        let text = [r#"{"a":"#, &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        let object = Object::parse(text.as_bytes());
        assert_eq!(object.is_some(), depth <= deepest, "{depth}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let hard = "\"\\/\u{0}\u{1f}\n\r\t\u{7f}é😀";
    let text = object::write(&[
        (hard, Field::Text(hard)),
        ("n", Field::Integer(i64::MIN)),
        ("b", Field::Boolean(false)),
        ("j", Field::Json("[1,null]")),
    ]);
    let expected = json!({ hard: hard, "n": i64::MIN, "b": false, "j": [1, null] });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let object = Object::parse(text.as_bytes()).unwrap();
    assert_eq!(object.text(hard).as_deref(), Some(hard));
    assert_eq!(object::write(&[]), "{}");
    assert_eq!(object::write_items(&["1".into(), "{}".into()]), "[1,{}]");
}
