//! Decodes any bytes and compares the result with serde_json: whether it is an error,
//! and the value. The only allowed difference is the depth limit of 1,000. Both must
//! treat numbers out of range, lone surrogates, equal names, NaN and invalid UTF-8 in
//! the same way.

#![no_main]

use std::os::raw::c_int;

use flux::json::{self, DecodeError, MAX_DEPTH, Options, Output};
use flux::lua::{Interpreter, Scratch, State};
use flux_lua_fuzz::{Null, assert_decoded, assert_encoded, nesting};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::{Deserializer, Value};

thread_local! {
    /// One Lua state for all inputs.
    static LUA: Interpreter = {
        let lua = Interpreter::new().expect("a Lua state");
        let opened = lua.state().protect(0, |writer| {
            json::open(writer);
            0
        });
        opened.expect("the module opens");
        lua
    };
}

fuzz_target!(|data: &[u8]| LUA.with(|lua| check(lua.state(), data)));

fn check(state: State<'_>, data: &[u8]) {
    let top = state.top();
    let expected = parse(data);
    for null in [Null::Nil, Null::Light] {
        let got = decode(state, data, null);
        match (&expected, got) {
            (Some(value), Ok(())) => {
                assert_decoded(state, value, null);
                if matches!(null, Null::Light) {
                    check_encoding(state, value);
                }
                state.pop(1);
            }
            (None, Err(error)) => assert!(error.offset <= data.len(), "{error}"),
            (Some(value), Err(error)) => panic!("{value}: {error}"),
            (None, Ok(())) => panic!("{:?} is not JSON", String::from_utf8_lossy(data)),
        }
        assert_eq!(state.top(), top);
    }
}

/// The value that serde_json decodes, or `None` on an error or beyond the depth limit.
fn parse(data: &[u8]) -> Option<Value> {
    if nesting(data) > MAX_DEPTH {
        return None;
    }
    let mut parser = Deserializer::from_slice(data);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser).ok()?;
    parser.end().ok()?;
    Some(value)
}

/// The free stack slots that Lua guarantees to a C function.
const FREE_SLOTS: usize = 20;
/// The free stack slots that decoding requires.
const NEEDED_SLOTS: usize = 8;

/// Decode and push the value. The stack is filled first, at most to the number of
/// slots that decoding requires.
fn decode(state: State<'_>, data: &[u8], null: Null) -> Result<(), DecodeError> {
    let mut decoded = Ok(());
    let filled = data.len() % (FREE_SLOTS - NEEDED_SLOTS);
    let done = state.protect(0, |writer| {
        writer.light_userdata(std::ptr::null());
        for _ in 0..filled {
            writer.boolean(true);
        }
        let top = writer.state().top();
        let null = matches!(null, Null::Light).then_some(1);
        decoded = json::decode(writer, data, Options { null });
        let pushed = c_int::from(decoded.is_ok());
        assert_eq!(writer.state().top(), top + pushed);
        pushed
    });
    done.expect("no Lua error");
    decoded
}

/// Assert that the value on top of the stack encodes to JSON of `value`.
fn check_encoding(state: State<'_>, value: &Value) {
    let top = state.top();
    let mut scratch = Scratch::new();
    let mut text = Output::new(&mut scratch);
    json::encode(state, -1, &mut text).expect("what was decoded can be encoded");
    assert_eq!(state.top(), top);
    let written = parse(&text).expect("JSON");
    assert_encoded(value, &written);
}
