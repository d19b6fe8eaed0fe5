//! Encodes Lua values of all kinds. A value with a JSON form must encode to valid
//! JSON that decodes to the same value. Any other value must be an error. An input
//! describes a few tables, which may contain each other in any way.

#![no_main]

use std::os::raw::c_int;

use flux::json::{self, Options, Output};
use flux::lua::{Interpreter, Scratch, State};
use flux_lua_fuzz::{Decisions, Null, assert_decoded};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;

#[path = "encode/document.rs"]
mod document;

use document::Document;

thread_local! {
    /// One Lua state for all inputs. The values at `HOSTILE` and `ENCODE` stay on its
    /// stack.
    static LUA: Interpreter = new_lua();
}

/// The stack index of a metatable whose metamethods all raise errors.
const HOSTILE: c_int = 1;
/// The stack index of the function `flux.json.encode`.
const ENCODE: c_int = 2;

const SETUP: &[u8] = br#"
local json = ...
local function raise() error "a metamethod was called" end
local hostile = {}
for _, name in ipairs { "index", "newindex", "len", "pairs", "ipairs", "tostring", "call", "eq", "name" } do
  hostile["__" .. name] = raise
end
return hostile, json.encode
"#;

fn new_lua() -> Interpreter {
    let lua = Interpreter::new().expect("a Lua state");
    lua.load(SETUP, "=setup").expect("the chunk compiles");
    let pushed = lua.state().protect(0, |writer| {
        json::push_module(writer);
        1
    });
    pushed.expect("the module opens");
    assert_eq!(lua.call(1), Ok(2));
    lua
}

/// The free stack slots that Lua guarantees to a C function.
const FREE_SLOTS: usize = 20;
/// The free stack slots that encoding requires.
const NEEDED_SLOTS: usize = 8;

fuzz_target!(|data: &[u8]| LUA.with(|lua| check(lua.state(), data)));

fn check(state: State<'_>, data: &[u8]) {
    let top = state.top();
    let mut decisions = Decisions::new(data);
    let filled = decisions.below(FREE_SLOTS - NEEDED_SLOTS + 1);
    let document = Document::of(&mut decisions);
    let Some(is_encodable) = document.verdict() else {
        return;
    };
    document.push(state, HOSTILE);
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    text.extend(b"kept");
    let mut encoded = Ok(());
    state.push_value(-1);
    let done = state.protect(1, |writer| {
        for _ in 0..filled {
            writer.nil();
        }
        encoded = json::encode(writer.state(), 1, &mut text);
        assert_eq!(writer.state().top(), 1 + filled as c_int);
        0
    });
    done.expect("no Lua error");
    match encoded {
        Ok(()) => {
            assert!(is_encodable, "{}", String::from_utf8_lossy(&text));
            check_text(state, &document, &text[4..]);
        }
        Err(error) => {
            assert!(!is_encodable, "{error}");
            assert_eq!(&text[..], b"kept");
            let error = error.to_string();
            assert!(error.len() < 5000, "{error}");
            check_script_function(state, false, error.as_bytes());
        }
    }
    state.set_top(top);
}

/// Assert that `text` is the encoding of the document, whose value is on top of the
/// stack, and that it decodes to the same value.
fn check_text(state: State<'_>, document: &Document, text: &[u8]) {
    let mut parser = serde_json::Deserializer::from_slice(text);
    parser.disable_recursion_limit();
    let written = Value::deserialize(&mut parser).expect("JSON");
    parser.end().expect("nothing after it");
    document.assert_written(&document.root, &written);
    check_script_function(state, true, text);
    let decoded = state.protect(0, |writer| {
        writer.light_userdata(std::ptr::null());
        let options = Options { null: Some(1) };
        json::decode(writer, text, options).expect("what was encoded decodes");
        1
    });
    decoded.expect("no Lua error");
    assert_decoded(state, &written, Null::Light);
    state.pop(1);
}

/// Assert that the script function `flux.json.encode`, called with the value on top
/// of the stack, returns `expected` or, if not `succeeds`, raises it.
fn check_script_function(state: State<'_>, succeeds: bool, expected: &[u8]) {
    state.push_value(ENCODE);
    state.push_value(-2);
    let called = state.call(1, 1);
    assert_eq!(called.is_ok(), succeeds);
    assert_eq!(state.bytes(-1), Some(expected));
    state.pop(1);
}
