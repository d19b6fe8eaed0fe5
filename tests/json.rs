//! The JSON codec in the Lua that the features select: its rules, with exact
//! results and error texts. `documents` compares with serde_json; `memory` covers
//! allocation failures and the garbage collector.

use std::os::raw::c_int;

use flux::json::{self, EncodeError, Options, Output};
use flux::lua::{Interpreter, Scratch};

#[path = "json/documents.rs"]
mod documents;
#[path = "json/memory.rs"]
mod memory;

const HAS_INTEGERS: bool = cfg!(any(feature = "lua53", feature = "lua54", feature = "lua55"));

/// A Lua state in which `require "json"` returns `flux.json`.
fn new_lua() -> Interpreter {
    let lua = Interpreter::new().expect("a Lua state");
    let opened = lua.state().protect(0, |writer| {
        writer.global(c"package");
        writer.field(-1, c"loaded");
        json::push_module(writer);
        writer.set_field(-2, c"json");
        0
    });
    opened.expect("the module opens");
    lua
}

const PRELUDE: &str = r#"
local json = require "json"
local encode, decode, array, NULL = json.encode, json.decode, json.array, json.NULL
local function fails(what, f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "no error: " .. what)
  assert(tostring(err):find(what, 1, true), "got: " .. tostring(err) .. "; wanted: " .. what)
end
local function is(got, wanted)
  if got ~= wanted then
    error("got " .. tostring(got) .. "; wanted " .. tostring(wanted), 2)
  end
end
"#;

/// Run a chunk of Lua. Its assertions fail the test.
fn run(script: &str) {
    let lua = new_lua();
    let chunk = format!("{PRELUDE}{script}");
    lua.load(chunk.as_bytes(), "=test")
        .expect("the chunk compiles");
    if let Err(message) = lua.call(0) {
        panic!("{message}");
    }
}

/// Decode `text` and push the value. If `keep_null`, null decodes to `json.NULL`.
fn decode(lua: &Interpreter, text: &[u8], keep_null: bool) -> Result<(), json::DecodeError> {
    let mut decoded = Ok(());
    let done = lua.state().protect(0, |writer| {
        let top = writer.state().top();
        writer.light_userdata(std::ptr::null());
        let null = keep_null.then_some(top + 1);
        decoded = json::decode(writer, text, Options { null });
        assert_eq!(writer.state().top(), top + 1 + c_int::from(decoded.is_ok()));
        c_int::from(decoded.is_ok())
    });
    assert_eq!(done.expect("no Lua error"), c_int::from(decoded.is_ok()));
    decoded
}

/// An output that already contains `kept:`.
fn prefixed_output(scratch: &mut Scratch) -> Output<'_> {
    let mut out = Output::new(scratch);
    out.extend(b"kept:");
    out
}

/// Pop the value on top of the stack and encode it.
fn encode(lua: &Interpreter) -> Result<String, EncodeError> {
    let state = lua.state();
    let top = state.top();
    let mut scratch = Scratch::new();
    let mut text = prefixed_output(&mut scratch);
    let encoded = json::encode(state, -1, &mut text);
    assert_eq!(state.top(), top);
    state.pop(1);
    match encoded {
        Ok(()) => Ok(String::from_utf8(text[5..].to_vec()).expect("UTF-8")),
        Err(error) => {
            assert_eq!(&text[..], b"kept:");
            Err(error)
        }
    }
}

#[test]
fn a_sequence_is_an_array_in_whatever_order_it_was_filled() {
    run(r#"
        is(encode{1, 2, 3}, "[1,2,3]")
        is(encode{[2] = "b", [1] = "a"}, '["a","b"]')
        local t = {}
        for i = 40, 1, -1 do t[i] = i end
        is(encode(t), "[" .. table.concat(t, ",") .. "]")
        is(encode{[1.0] = "a", [2.0] = {}}, '["a",{}]')
        t = {1, 2, 3, 4, 5}
        t[5] = nil
        is(encode(t), "[1,2,3,4]")
        t = {x = 1, y = 2, z = 3}
        t.x, t.y, t.z = nil
        t[1] = 1
        is(encode(t), "[1]")
    "#);
}

#[test]
fn any_other_table_is_an_object() {
    run(r#"
        local function object(t, n)
          local text = encode(t)
          is(text:sub(1, 1), "{")
          local back = decode(text)
          for k, v in pairs(t) do is(back[tostring(k)], v) n = n - 1 end
          is(n, 0)
        end
        is(encode{}, "{}")
        is(encode{a = 1}, '{"a":1}')
        is(encode{[0] = 1}, '{"0":1}')
        is(encode{[3] = 1}, '{"3":1}')
        is(encode{[-7] = 1}, '{"-7":1}')
        is(encode{[1.5] = 1}, '{"1.5":1}')
        object({1, 2, nil, 4}, 3)
        object({1, 2, x = 3}, 3)
        object({[1] = 1, [3] = 3}, 2)
        object({[0] = 0, 1, 2}, 3)
        object({1, 2, [2.5] = 3}, 3)
        object({1, [1000000] = 2}, 2)
        object({[""] = 1, ["odd key"] = 2, ["01"] = 3, ["1.0"] = 4, [1] = 5}, 5)
        is(encode{[2^40] = 1}, '{"1099511627776":1}')
        is(encode{[2^53] = 1}, '{"9007199254740992":1}')
    "#);
}

#[test]
fn nested_tables_that_start_like_arrays_are_encoded_in_linear_time() {
    run(r#"
        local t = 0
        for _ = 1, 900 do t = {t, x = 1} end
        local text = encode(t)
        is(select(2, text:gsub('"x":1', "")), 900)
        is(select(2, text:gsub('"1":', "")), 900)
    "#);
}

#[test]
fn two_keys_with_the_same_text_are_an_error_that_names_the_text() {
    run(r#"
        fails('the keys 1 and "1" have the same text', encode, {[1] = "a", ["1"] = "b"})
        fails('the keys 1 and "1" have the same text', encode, {1, 2, 3, ["1"] = "b"})
        fails('the keys -3 and "-3" have the same text', encode, {[-3] = "a", ["-3"] = "b"})
        fails('the keys 0.5 and "0.5" have the same text at .x', encode, {x = {[0.5] = "a", ["0.5"] = "b"}})
        is(encode{["1"] = "b"}, '{"1":"b"}')
        is(decode(encode{[1] = "a", ["-1"] = "b"})["-1"], "b")
        is(decode(encode{[1] = "a", ["1.0"] = "b"})["1.0"], "b")
        is(decode(encode{[1] = "a", ["01"] = "b"})["01"], "b")
        is(decode(encode{[0] = "a", ["-0"] = "b"})["-0"], "b")
        is(decode(encode{[0] = "a", ["-0.0"] = "b"})["-0.0"], "b")
        is(decode(encode{[100] = "a", ["1e2"] = "b"})["1e2"], "b")
    "#);
}

#[test]
fn keys_of_other_types_are_errors_that_name_the_type() {
    run(r#"
        fails("a key of type boolean", encode, {[true] = 1})
        fails("a key of type table at .x", encode, {x = {[{}] = 1}})
        fails("a key of type function at [2]", encode, {0, {a = 1, [print] = 1}})
        fails("a key of type userdata", encode, {[NULL] = 1})
        fails("a key is not finite (inf) at .x", encode, {x = {[1/0] = 1}})
        fails("a key is not UTF-8 at byte 2", encode, {["a\255"] = 1})
    "#);
}

#[test]
fn an_empty_table_is_an_array_if_it_is_marked() {
    run(r#"
        is(encode(array{}), "[]")
        is(encode(array()), "[]")
        is(encode{x = array{}}, '{"x":[]}')
        is(encode(decode("[]")), "[]")
        is(encode(decode('{"a":[],"b":{}}').a), "[]")
        is(encode(decode('{"a":[],"b":{}}').b), "{}")
        is(encode(decode("{}")), "{}")
        is(encode(setmetatable({}, {})), "{}")
        local t = array{}
        assert(array(t) == t)
        t.x = 1
        is(encode(t), '{"x":1}')
        t.x = nil
        t[1] = "a"
        is(encode(t), '["a"]')
        is(getmetatable(decode("[]")), getmetatable(array()))
        is(getmetatable(decode("[]")).__name, "flux.json.array")
        is(getmetatable(decode("[1]")), nil)
        is(getmetatable(decode("{}")), nil)
        is(encode(decode("[null]")), "[]")
    "#);
}

#[test]
fn array_refuses_a_table_with_a_metatable_and_other_types() {
    run(r#"
        fails("bad argument #1", array, setmetatable({}, {}))
        fails("table expected, got nil", array, nil)
        fails("table expected, got string", array, "x")
    "#);
}

#[test]
fn metamethods_are_not_called() {
    run(r#"
        local function no() error "called" end
        local meta = {__index = no, __newindex = no, __pairs = no, __ipairs = no, __len = no,
          __eq = no, __tostring = no}
        is(encode(setmetatable({1, 2, nil}, meta)), "[1,2]")
        is(encode(setmetatable({[2] = 2, [1] = 1}, meta)), "[1,2]")
        is(encode(setmetatable({a = setmetatable({}, meta)}, meta)), '{"a":{}}')
        is(decode("null", setmetatable({}, meta)), nil)
    "#);
}

#[test]
fn numbers_are_written_exactly() {
    run(r#"
        is(encode(0), "0")
        is(encode(-1), "-1")
        is(encode(3.0), "3")
        is(encode(-3.0), "-3")
        is(encode(2^31), "2147483648")
        is(encode(2^53 - 1), "9007199254740991")
        is(encode(-(2^53 - 1)), "-9007199254740991")
        is(encode(0.1), "0.1")
        is(encode(-1.5), "-1.5")
        is(encode(1/3), "0.3333333333333333")
        is(encode(0.1 + 0.2), "0.30000000000000004")
        local minus_zero = -1 / (1/0)
        is(encode(minus_zero), "-0.0")
        is(1 / decode(encode(minus_zero)), -1/0)
        is(1 / decode("-0"), -1/0)
        for _, x in ipairs{2^53, -2^53, 2^53 + 2, 2^63, 1e15, 1e16, 1e21, 1e100, 1e-7, 5e-324,
            1.7976931348623157e308} do
          is(decode(encode(x)), x)
        end
        assert(encode(2^53):find("[.e]"), encode(2^53))
        fails("number is not finite (inf)", encode, 1/0)
        fails("number is not finite (-inf) at [2]", encode, {1, -1/0})
        fails("number is not finite (nan) at .x", encode, {x = 0/0})
    "#);
}

#[test]
fn integers_keep_all_64_bits_if_this_lua_has_integers() {
    if !HAS_INTEGERS {
        return run(r#"
            is(decode("9007199254740993"), 2^53)
            is(decode("9223372036854775807"), 2^63)
            is(decode("18446744073709551615"), 2^64)
        "#);
    }
    run(r#"
        is(encode(math.maxinteger), "9223372036854775807")
        is(encode(math.mininteger), "-9223372036854775808")
        is(encode(9007199254740993), "9007199254740993")
        for _, text in ipairs{"9223372036854775807", "-9223372036854775808", "9007199254740993",
            "1000000000000000000", "-999999999999999999", "0", "10", "100", "1000", "12345678"} do
          is(math.type(decode(text)), "integer")
          is(encode(decode(text)), text)
        end
        for _, text in ipairs{"9223372036854775808", "-9223372036854775809", "18446744073709551616",
            "1.0", "1e2", "-0", "9007199254740992.0"} do
          is(math.type(decode(text)), "float")
        end
        is(decode("9223372036854775808"), 2^63)
        is(math.type(decode(encode(2^53))), "float")
        is(encode{[math.maxinteger] = 1}, '{"9223372036854775807":1}')
        fails('have the same text', encode,
          {[math.mininteger] = 1, ["-9223372036854775808"] = 2})
    "#);
}

#[test]
fn strings_are_escaped_where_json_requires_it_and_nowhere_else() {
    run(r#"
        is(encode"", '""')
        is(encode'a"b', [["a\"b"]])
        is(encode"a\\b", [["a\\b"]])
        is(encode"\b\f\n\r\t", [["\b\f\n\r\t"]])
        is(encode"a\0b", [["a\u0000b"]])
        is(encode"\1\11\31\127", '"\\u0001\\u000b\\u001f\127"')
        is(encode"/", '"/"')
        is(encode"é日本😀", '"é日本😀"')
        is(encode{["k\n"] = "v"}, [[{"k\n":"v"}]])
        for n = 0, 70 do
          for _, c in ipairs{"x", '"', "\\", "\n", "\31", "\0", "é", "\127"} do
            for _, s in ipairs{("a"):rep(n) .. c, c .. ("a"):rep(n), ("a"):rep(n) .. c .. ("b"):rep(n)} do
              is(decode(encode(s)), s)
            end
          end
        end
    "#);
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_names_the_byte() {
    run(r#"
        fails("text is not UTF-8 at byte 5", encode, "abcd\255")
        fails("text is not UTF-8 at byte 5 at .name", encode, {name = "abcd\255"})
        fails("text is not UTF-8 at byte 1 at [1]", encode, {"\128"})
        fails("text is not UTF-8 at byte 9", encode, "12345678\237\160\128")
        for n = 0, 40 do
          fails("at byte " .. n + 1, encode, ("x"):rep(n) .. "\192" .. ("y"):rep(40 - n))
        end
        local value, err = decode('["abc\255"]')
        is(value, nil)
        is(err, "invalid UTF-8 at byte 6")
    "#);
}

#[test]
fn null_is_a_light_userdata_and_decodes_to_the_value_of_the_null_option() {
    run(r#"
        is(encode(NULL), "null")
        is(encode{NULL, NULL}, "[null,null]")
        is(type(NULL), "userdata")
        is(select('#', decode("null")), 1)
        is(decode("null"), nil)
        is(decode("null", {}), nil)
        is(decode("null", {null = NULL}), NULL)
        is(decode("null", {null = false}), false)
        is(decode('{"a":null}').a, nil)
        is(next(decode('{"a":null}')), nil)
        is(decode('{"a":null,"b":1}', {null = "none"}).a, "none")
        is(decode('[1,null,3]')[2], nil)
        is(decode('[1,null,3]')[3], 3)
        is(encode(decode('[1,null,3]', {null = NULL})), "[1,null,3]")
        fails("table expected", decode, "1", 2)
    "#);
}

#[test]
fn a_value_without_a_json_form_is_an_error_with_its_path() {
    run(r#"
        fails("cannot encode nil", encode, nil)
        fails("bad argument #1", encode)
        fails("cannot encode a function", encode, print)
        fails("cannot encode a function at .jobs[3].name", encode, {jobs = {1, 2, {name = print}}})
        fails("cannot encode a thread at [2]", encode, {1, coroutine.create(function() end)})
        fails("cannot encode a userdata at .f", encode, {f = io.stdout})
        fails('cannot encode a function at ["odd key"].x', encode, {["odd key"] = {x = print}})
        fails('cannot encode a function at [""]', encode, {[""] = print})
        fails('cannot encode a function at ["1st"]', encode, {["1st"] = print})
        fails("cannot encode a function at [10].y", encode, {[10] = {y = print}})
        fails("cannot encode a function at [2]", encode, {[2] = print, [1] = 1})
        fails("cannot encode a function at [0.5]", encode, {[0.5] = print})
        local ok, err = pcall(encode, print)
        assert(not err:find(" at "), err)
    "#);
}

#[test]
fn encoding_luajit_cdata_is_an_error() {
    if cfg!(feature = "luajit") {
        run(r#"fails("cannot encode a cdata at .x", encode, {x = require"ffi".new("int")})"#);
    }
}

#[test]
fn a_thousand_levels_of_nesting_work_and_one_more_is_an_error() {
    run(r#"
        local function nest(n, wrap) local t = wrap() for _ = 2, n do t = wrap(t) end return t end
        local wraps = {
          function(t) return {t} end,
          function(t) return {a = t} end,
          function(t) return {t, x = 1} end,
          function(t) return {[2] = t or 1, [1] = 1} end,
        }
        for _, wrap in ipairs(wraps) do
          encode(nest(1000, wrap))
          fails("nesting deeper than 1000 at ", encode, nest(1001, wrap))
        end
        is(encode(nest(1000, wraps[1])), ("["):rep(999) .. "{}" .. ("]"):rep(999))
        for _, p in ipairs{{"[", "]"}, {'{"a":', "}"}, {'[1,{"b":2,"a":', "}]"}} do
          local function text(n) return p[1]:rep(n) .. "1" .. p[2]:rep(n) end
          local n = #p[2] == 2 and 500 or 1000
          assert(decode(text(n)))
          is(decode(encode(decode(text(n)))) ~= nil, true)
          local value, err = decode(text(n + 1))
          is(value, nil)
          assert(err:find("^nesting deeper than 1000 at byte %d+$"), err)
          value, err = decode(p[1]:rep(100000))
          is(value, nil)
        end
    "#);
}

#[test]
fn a_cycle_is_an_error_with_a_shortened_path() {
    run(r#"
        local t = {}
        t.a = t
        fails("nesting deeper than 1000 at .a.a.a.a", encode, t)
        local ok, err = pcall(encode, t)
        assert(#err < 200, err)
        assert(err:find("…", 1, true), err)
        local u = {}
        u[1] = {long = {[("k"):rep(5000)] = u}}
        ok, err = pcall(encode, u)
        assert(not ok and #err < 2000, err)
    "#);
}

#[test]
fn malformed_text_returns_nil_and_an_error_with_the_byte() {
    run(r#"
        for text, wanted in pairs{
          [""] = "unexpected end of text at byte 1",
          ["  "] = "unexpected end of text at byte 3",
          ["["] = "unexpected end of text at byte 2",
          ["[1"] = "unexpected end of text at byte 3",
          ["[1,"] = "unexpected end of text at byte 4",
          ["[1,]"] = "expected a value at byte 4",
          ["[1 2]"] = "expected ',' or ']' at byte 4",
          ['{"a":1 "b":2}'] = "expected ',' or '}' at byte 8",
          ['{"a" 1}'] = "expected ':' at byte 6",
          ["{a:1}"] = "expected a name at byte 2",
          ['{"a":1,}'] = "expected a name at byte 8",
          ["1 2"] = "unexpected text after the value at byte 3",
          ["nul"] = "expected a value at byte 1",
          ["True"] = "expected a value at byte 1",
          ["01"] = "invalid number at byte 1",
          ["-"] = "unexpected end of text at byte 2",
          ["-x"] = "invalid number at byte 2",
          ["1."] = "unexpected end of text at byte 3",
          ["[1.]"] = "invalid number at byte 4",
          ["[1e]"] = "invalid number at byte 4",
          ["+1"] = "expected a value at byte 1",
          [".5"] = "expected a value at byte 1",
          ["1e400"] = "number out of range at byte 1",
          ["[-1e999999999999]"] = "number out of range at byte 2",
          ['"a'] = "unexpected end of text at byte 3",
          ['"a\n"'] = "control character in a string at byte 3",
          ['"\0"'] = "control character in a string at byte 2",
          ['"\\x"'] = "invalid escape at byte 2",
          ['"ab\\u12g4"'] = "invalid escape at byte 4",
          ['"\\'] = "unexpected end of text at byte 3",
          ['"\\ud800"'] = "lone surrogate at byte 2",
          ['"\\ude00"'] = "lone surrogate at byte 2",
          ['"\\ud800\\u0041"'] = "lone surrogate at byte 2",
          ["\239\187\191{}"] = "expected a value at byte 1",
          ["\0"] = "expected a value at byte 1",
          ["1\0"] = "unexpected text after the value at byte 2",
        } do
          local value, err = decode(text)
          is(value, nil)
          if err ~= wanted then error(text .. ": " .. tostring(err) .. "; wanted " .. wanted) end
        end
    "#);
}

#[test]
fn decode_refuses_arguments_that_are_neither_strings_nor_numbers() {
    run(r#"
        fails("string expected, got no value", decode)
        is(decode(12), 12)
        fails("string expected, got nil", decode, nil)
        fails("bad argument #1", decode, {})
    "#);
}

#[test]
fn escapes_decode_to_the_characters_they_stand_for() {
    run(r#"
        is(decode[["\"\\\/\b\f\n\r\t"]], '"\\/\b\f\n\r\t')
        is(decode[["\u0041\u00e9\u65e5\ud83d\uDE00"]], "Aé日😀")
        is(decode[["a\u0000b"]], "a\0b")
        is(decode[[{"\u0061\n":1}]]["a\n"], 1)
        is(decode[["\uffff\ud7ff\ue000"]], "\239\191\191\237\159\191\238\128\128")
    "#);
}

#[test]
fn the_last_of_several_equal_names_wins() {
    run(r#"
        is(decode('{"a":1,"a":2}').a, 2)
        is(decode('{"a":1,"\\u0061":2}').a, 2)
        is(decode('{"a":1,"a":null}').a, nil)
        is(decode('{"a":null,"a":1}').a, 1)
        local many = {}
        for i = 1, 100 do many[i] = '"k' .. i % 30 .. '":' .. i end
        local t = decode("{" .. table.concat(many, ",") .. "}")
        is(t.k0, 90)
        is(t.k10, 100)
        is(t.k11, 71)
        local u = decode('[{"a":0,"b":0},{"a":1,"a":2,"b":1,"b":null}]')[2]
        is(u.a, 2)
        is(u.b, nil)
    "#);
}

#[test]
fn a_short_text_decodes_to_the_same_value_as_a_long_one() {
    run(r#"
        local blanks = (" "):rep(300)
        local function same(text, wanted)
          is(encode(decode(text)), wanted or text)
          is(encode(decode(text .. blanks)), wanted or text)
        end
        for n = 0, 30 do
          for m = 0, 9 do
            for _, c in ipairs{"", "é", ":", "\\u0000", "\\\\", '\\"'} do
              local name, value = ("n"):rep(n) .. c, c .. ("v"):rep(m)
              same('{"' .. name .. '":"' .. value .. '"}')
              same('{"' .. name .. '":{"' .. name .. '":["' .. value .. '"]}}')
            end
          end
        end
        same('{"a":"::::::::::::::::"}')
        same('{"a":null,"b":null}', "{}")
        same('{"a":1,"a":null}', "{}")
        same('{"a":null,"a":1,"a":2}', '{"a":2}')
        same('[{"a":{}},{},{"a":{"a":1}}]')
        same(('{"a":'):rep(18) .. "1" .. ("}"):rep(18))
        same(('[{"a":'):rep(14) .. "1" .. ("}]"):rep(14))
        for n = 0, 140 do
          local text = '"' .. ("x"):rep(n)
          is(select(2, decode(text .. "\255")), "invalid UTF-8 at byte " .. n + 2)
          is(select(2, decode(text)), "unexpected end of text at byte " .. n + 2)
        end
    "#);
}

#[test]
fn tables_of_every_size_survive_a_round_trip() {
    run(r#"
        for n = 1, 200 do
          local items, fields = {}, {}
          for i = 1, n do
            items[i] = i
            fields[i] = '"' .. i .. 'k":' .. i
          end
          local text = "[" .. table.concat(items, ",") .. "]"
          is(encode(decode(text)), text)
          is(encode(decode("[[1]," .. text .. "]")), "[[1]," .. text .. "]")
          is(#decode(text), n)
          for _, t in ipairs{
            decode("{" .. table.concat(fields, ",") .. "}"),
            decode('[{"a":1},{' .. table.concat(fields, ",") .. "}]")[2],
          } do
            local count = 0
            for k, v in pairs(t) do count = count + 1 is(k, v .. "k") end
            is(count, n)
          end
        end
    "#);
}

#[test]
fn a_payload_must_be_an_object() {
    let lua = new_lua();
    let state = lua.state();
    let cases: [(&str, Option<&str>); 7] = [
        (r#"{"a":[1]}"#, Some(r#"{"a":[1]}"#)),
        ("{}", Some("{}")),
        ("[1]", None),
        ("[]", None),
        ("1", None),
        (r#""{""#, None),
        ("true", None),
    ];
    for (text, wanted) in cases {
        decode(&lua, text.as_bytes(), true).expect("JSON");
        let mut scratch = Scratch::new();
        let mut out = prefixed_output(&mut scratch);
        let encoded = json::encode_object(state, state.top(), &mut out);
        state.pop(1);
        match wanted {
            Some(wanted) => assert_eq!(&out[5..], wanted.as_bytes()),
            None => {
                assert_eq!(encoded, Err(EncodeError::NotAnObject));
                assert_eq!(&out[..], b"kept:");
            }
        }
    }
}
