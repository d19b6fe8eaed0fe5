//! A fake KVS service that answers lookups with wrong data. The key of a lookup,
//! `NAME.N`, selects the answer. A watch gets a correct value.

use serde_json::Value;

use super::peer::{Header, Peer};
use super::raw::Raw;

pub fn serve(peer: &Raw) {
    while let Some((request, topic)) = peer.next() {
        let is_watch = topic == "kvs-watch.lookup";
        if topic != "kvs.lookup" && !is_watch {
            if !topic.ends_with("disconnect") {
                peer.respond(&request, Header::default(), Some(b"{}"));
            }
            continue;
        }
        let payload = peer.payload(&request);
        let asked: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let key = asked["key"].as_str().unwrap_or_default();
        let (name, n) = key.split_once('.').unwrap_or((key, "0"));
        // libflux accepts JSON only if it ends with a NUL.
        let answer = match is_watch {
            true => answer("good", 0),
            false => answer(name, n.parse().unwrap_or(0)),
        } + "\0";
        let header = Header {
            streaming: is_watch,
            ..Header::default()
        };
        peer.respond(&request, header, Some(answer.as_bytes()));
    }
}

/// The answer that the key `NAME.N` selects.
fn answer(name: &str, n: usize) -> String {
    let object =
        |kind: &str, data: &str| format!(r#"{{"val":{{"ver":1,"type":"{kind}","data":{data}}}}}"#);
    let entry = r#"{"ver":1,"type":"val","data":"MQ=="}"#;
    let many = |item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    match name {
        "good" => object("val", r#""MQ==""#),
        "base64" => object("val", r#""!!!!""#),
        "number" => object("val", "5"),
        "missing" => r#"{"val":{"ver":1,"type":"val"}}"#.to_owned(),
        "no-val" => r#"{"value":1}"#.to_owned(),
        "not-json" => "{".to_owned(),
        "scalar" => r#"{"val":5}"#.to_owned(),
        "version" => r#"{"val":{"ver":99,"type":"val","data":"MQ=="}}"#.to_owned(),
        "kind" => object("directory", "{}"),
        "dirref" => object("dirref", r#"["no-blobref"]"#),
        "dirrefs" => object(
            "dirref",
            r#"["sha1-0000000000000000000000000000000000000000"]"#,
        ),
        "valrefs" => {
            let blobref = |i: usize| format!(r#""sha1-{i:040x}""#);
            object("valref", &format!("[{}]", many(&blobref)))
        }
        "symlink" => object("symlink", r#"{"target":5}"#),
        "symlink-to-nowhere" => object("symlink", "{}"),
        "namespace" => object("symlink", r#"{"target":"t","namespace":5}"#),
        "nul-target" => object("symlink", r#"{"target":"a\u0000b"}"#),
        "dots" => object(
            "dir",
            &format!(r#"{{"a.b":{entry},"":{entry},"..":{entry}}}"#),
        ),
        "percent" => object("dir", &format!(r#"{{"%s%n":{entry},"\u001b[2J":{entry}}}"#)),
        "entry" => object("dir", r#"{"a":5}"#),
        "entry-kind" => object("dir", r#"{"a":{"ver":1,"type":"x","data":""}}"#),
        "list" => object("dir", "[]"),
        "deep" => object(
            "dir",
            &format!(r#"{{"a":{}1{}}}"#, "[".repeat(n), "]".repeat(n)),
        ),
        "names" => {
            let name = |i: usize| format!(r#""name{i}":{entry}"#);
            object("dir", &format!("{{{}}}", many(&name)))
        }
        // Objects of 7 bytes each. A parser that builds trees needs much more.
        "small" => {
            let small = |_: usize| r#"{"":0}"#.to_owned();
            object(
                "dir",
                &format!(
                    r#"{{"a":{{"ver":1,"type":"dir","data":{{"b":[{}]}}}}}}"#,
                    many(&small)
                ),
            )
        }
        "large" => object("val", &format!("\"{}\"", "QUJD".repeat(n))),
        _ => r#"{"val":null}"#.to_owned(),
    }
}
