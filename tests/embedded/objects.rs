//! Tests of reading JSON objects from other programs: which are accepted and
//! which are refused.

use std::collections::BTreeMap;

use flux::backend::object::{self, Members, present};
use serde::Deserialize;
use serde_json::value::RawValue;
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
    "{,}",
    r#"{"a"}"#,
    r#"{"a":1,}"#,
    r#"{"a":1} x"#,
    r#"{"a":[[1]}"#,
    r#"{"a":tru}"#,
    r#"{"\ud800":1}"#,
    "{\"a\":\"\u{1}\"}",
    "[]",
    "[1]",
    "null",
    "\"text\"",
];

#[test]
fn members_accepts_the_same_texts_as_serde_json() {
    for text in TEXTS {
        let expected: Option<BTreeMap<String, Value>> = serde_json::from_str(text).ok();
        let read = object::members(text.as_bytes());
        let read = read.map(|members: Members| {
            let values = members.into_iter();
            values
                .map(|(name, json)| (name, serde_json::from_str(json.get()).unwrap()))
                .collect()
        });
        assert_eq!(read, expected, "{text}");
    }
    assert!(object::members(b"{\"a\":\"\xff\"}").is_none());
}

#[derive(Deserialize, Debug, PartialEq)]
struct Record {
    n: i64,
    #[serde(default, deserialize_with = "present")]
    text: Option<String>,
}

#[test]
fn an_object_is_read_only_if_it_fits_the_type() {
    let read = |text: &str| object::read::<Record>(text.as_bytes());
    let record = |n, text: Option<&str>| {
        let text = text.map(str::to_owned);
        Some(Record { n, text })
    };
    assert_eq!(read(r#"{"n":-7,"more":[{}]}"#), record(-7, None));
    assert_eq!(
        read(r#" {"text":"\ud83d\ude00","n":1}"#),
        record(1, Some("😀"))
    );
    for refused in [
        r#"{"text":"x"}"#,
        r#"{"n":1.0}"#,
        r#"{"n":"1"}"#,
        r#"{"n":9223372036854775808}"#,
        r#"{"n":1,"text":null}"#,
        r#"{"n":1,"text":"\ud800"}"#,
        r#"{"n":1"#,
        r#"[1,"x"]"#,
        "1",
        "",
    ] {
        assert_eq!(read(refused), None, "{refused}");
    }
}

#[test]
fn the_last_of_several_members_with_one_name_is_used() {
    let text = r#"{"n":"first","text":"a","n":2,"text":"b"}"#;
    let members = object::members(text.as_bytes()).unwrap();
    assert_eq!((members["n"].get(), members["text"].get()), ("2", "\"b\""));
    let text = Some("b".to_owned());
    let record = object::read(br#"{"n":"first","text":"a","n":2,"text":"b"}"#);
    assert_eq!(record, Some(Record { n: 2, text }));
}

#[test]
fn an_object_nested_deeper_than_the_limit_is_refused() {
    #[derive(Deserialize)]
    struct Deep<'t> {
        #[serde(borrow)]
        a: &'t RawValue,
    }
    let read = || {
        let deepest = flux::MAX_JSON_DEPTH as usize - 1;
        for depth in [1, 128, deepest, deepest + 1, 1_000_000] {
            let inner = ["[".repeat(depth), "]".repeat(depth)].concat();
            // Brackets in strings do not count as nesting.
            let text = format!(r#"{{"{0}\"":"\"{0}","a":{inner}}}"#, "[".repeat(2000));
            let wanted = (depth <= deepest).then_some(inner);
            let members = object::members(text.as_bytes());
            let value = members.map(|members| members["a"].get().to_owned());
            assert_eq!(value, wanted, "{depth}");
            let object = object::read::<Deep>(text.as_bytes());
            assert_eq!(object.map(|o| o.a.get().to_owned()), wanted, "{depth}");
        }
    };
    // The thread has a small stack: deep nesting must not use much of it.
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    thread.spawn(read).unwrap().join().unwrap();
}

#[test]
fn a_written_object_reads_back_as_the_same_value() {
    let hard = "\"\\/\u{0}\u{1f}\n\r\t\u{7f}é😀";
    let value = json!({ hard: hard, "n": i64::MIN, "b": false, "j": [1, null] });
    let text = object::write(&value);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
}
