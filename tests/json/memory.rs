//! What becomes of memory: none is left behind, and it may run out, or be
//! collected, at any point.

use std::os::raw::c_void;

use flux::lua::{self, Kind};

use super::{PRELUDE, decode, encode, host, run};

#[test]
fn nothing_stays_behind_in_memory() {
    let host = host();
    let text = format!(
        "[{}]",
        vec![r#"{"name":"value of it","n":[1,2,3]}"#; 200].join(",")
    );
    decode(&host, text.as_bytes(), false).expect("JSON");
    assert_eq!(host.state().kind(-1), Kind::Table);
    let script = format!(
        "{PRELUDE}
        local text = ...
        collectgarbage() collectgarbage()
        local before = collectgarbage 'count'
        for i = 1, 200 do
          local v = decode(encode(decode(text)))
          is(#v, 200)
          assert(not decode(text .. 'x'))
          assert(not pcall(encode, {{v, print}}))
        end
        v = nil
        collectgarbage() collectgarbage()
        assert(collectgarbage 'count' < before + 100, 'memory grows')"
    );
    host.load(script.as_bytes(), "=test")
        .expect("the chunk compiles");
    host.state()
        .protect(0, |writer| {
            writer.bytes(text.as_bytes());
            1
        })
        .expect("a string");
    if let Err(message) = host.call(1) {
        panic!("{message}");
    }
}

/// Short texts are written in a room on the stack: each token has to come out
/// whole where that ends, and where what replaces it does.
#[test]
fn tokens_are_whole_wherever_they_are_in_the_text() {
    let tokens = [
        "-9007199254740991",
        "0.000012345678901234567",
        "true",
        "null",
        "[]",
        r#""""#,
        r#""seven""#,
        r#""of sixteen bytes""#,
        r#""\u0001\n\"é""#,
        r#"{"name":[false,"of more than eight"]}"#,
    ];
    let host = host();
    let longest = format!(r#"["{}"]"#, r"é\n".repeat(400));
    for token in tokens {
        // As far as the memory is kept that the longest was written in.
        for len in (0..40).chain(430..530).chain((1000..4200).step_by(5)) {
            let text = format!(r#"["{}",{token},{token}]"#, "x".repeat(len));
            decode(&host, text.as_bytes(), true).expect("JSON");
            let written = encode(&host).expect("can be encoded");
            let again: serde_json::Value = serde_json::from_str(&written).expect("JSON");
            let wanted: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(again, wanted, "{len} bytes, then {token}");
        }
        // Nothing of one text is seen in the next.
        decode(&host, longest.as_bytes(), false).expect("JSON");
        assert_eq!(encode(&host).as_deref(), Ok(longest.as_str()));
    }
}

#[test]
fn a_hook_does_not_get_at_a_table_that_is_being_encoded() {
    run(r#"
        local leaf = {g = {h = {i = 1}}}
        local t = {a = {b = {c = {d = {e = {f = leaf}}}}}}
        local calls, hook = 0, nil
        hook = function()
          calls = calls + 1
          -- The call of encode itself is the first.
          if calls > 1 then
            t.a = nil
            for n = 1, 100 do t["k" .. n] = n end
          end
        end
        debug.sethook(hook, "c")
        local text = encode(t)
        local still, mask = debug.gethook()
        debug.sethook()
        is(text, '{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":1}}}}}}}}}')
        assert(still == hook and mask == "c", "the hook is gone")
    "#);
}

#[test]
fn a_finalizer_may_encode_while_a_text_is_given_to_lua() {
    run(r#"
        local calls = 0
        local function collected() encode(("y"):rep(5000)) calls = calls + 1 end
        local function garbage()
          if newproxy then
            getmetatable(newproxy(true)).__gc = collected
          else
            setmetatable({}, {__gc = collected})
          end
        end
        for n = 1, 3000 do
          garbage()
          local text = ("x"):rep(n)
          is(encode(text), '"' .. text .. '"')
        end
        assert(calls > 100, calls)
    "#);
}

type Alloc = unsafe extern "C" fn(*mut c_void, *mut c_void, usize, usize) -> *mut c_void;

unsafe extern "C" {
    fn lua_getallocf(state: *mut lua::lua_State, data: *mut *mut c_void) -> Alloc;
    fn lua_setallocf(state: *mut lua::lua_State, alloc: Alloc, data: *mut c_void);
}

/// Lua's allocator, until so many more allocations were made.
struct Budget {
    left: usize,
    alloc: Alloc,
    data: *mut c_void,
}

unsafe extern "C" fn within_budget(
    budget: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the test keeps the budget while this allocator is set; no other
    // thread has it.
    let budget = unsafe { &mut *budget.cast::<Budget>() };
    if new > 0 && (block.is_null() || new > old) {
        if budget.left == 0 {
            return std::ptr::null_mut();
        }
        budget.left -= 1;
    }
    // SAFETY: as Lua asked for it.
    unsafe { (budget.alloc)(budget.data, block, old, new) }
}

#[test]
fn memory_may_run_out_at_any_point() {
    let host = host();
    let state = host.state();
    let script = format!(
        "{PRELUDE}
        local text = '{{\"a\":[1,[],{{\"b\":\"c\\\\nd\"}},[{}1]],\"e\":null}}'
        return function() return encode(decode(text)) end",
        "{\"long enough a name to be new\":0.5},".repeat(40)
    );
    host.load(script.as_bytes(), "=test")
        .expect("the chunk compiles");
    host.call(0).expect("a function");
    let mut budget = Budget {
        left: usize::MAX,
        // SAFETY: the state is live, and null is no place to write to.
        alloc: unsafe { lua_getallocf(state.raw(), std::ptr::null_mut()) },
        data: std::ptr::null_mut(),
    };
    let budget: *mut Budget = &mut budget;
    // SAFETY: the budget outlives its use: the old allocator is set again below.
    unsafe {
        lua_getallocf(state.raw(), &mut (*budget).data);
        lua_setallocf(state.raw(), within_budget, budget.cast());
    }
    let mut failures = 0;
    loop {
        state.push_value(-1);
        // SAFETY: nothing else refers to the budget now.
        unsafe { (*budget).left = failures };
        let called = state.call(0, 1);
        // SAFETY: as above.
        unsafe { (*budget).left = usize::MAX };
        if called.is_ok() {
            break;
        }
        assert_eq!(state.bytes(-1), Some(&b"not enough memory"[..]));
        state.pop(1);
        failures += 1;
    }
    // SAFETY: what it was before.
    unsafe { lua_setallocf(state.raw(), (*budget).alloc, (*budget).data) };
    assert!(failures > 40, "only {failures} allocations");
    let text = state
        .bytes(-1)
        .map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(text.is_some_and(|text| text.contains("long enough a name to be new")));
}
