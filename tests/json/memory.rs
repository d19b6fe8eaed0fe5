//! The JSON codec and memory: it leaks nothing, and an allocation may fail, or
//! the garbage collector run, at any point.

use std::os::raw::c_void;

use flux::lua::{self, Kind};

use super::{PRELUDE, decode, encode, new_lua, run};

#[test]
fn encoding_and_decoding_leak_no_memory() {
    let lua = new_lua();
    let text = format!(
        "[{}]",
        vec![r#"{"name":"value of it","n":[1,2,3]}"#; 200].join(",")
    );
    decode(&lua, text.as_bytes(), false).expect("JSON");
    assert_eq!(lua.state().kind(-1), Kind::Table);
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
    lua.load(script.as_bytes(), "=test")
        .expect("the chunk compiles");
    lua.state()
        .protect(0, |writer| {
            writer.bytes(text.as_bytes());
            1
        })
        .expect("a string");
    if let Err(message) = lua.call(1) {
        panic!("{message}");
    }
}

/// Short texts are written to a buffer on the stack and then move to the heap. Each
/// token must stay intact at the end of either buffer.
#[test]
fn tokens_stay_intact_wherever_the_output_buffer_ends() {
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
    let lua = new_lua();
    let longest = format!(r#"["{}"]"#, r"é\n".repeat(400));
    for token in tokens {
        // The lengths reach past the end of each buffer that is used: the one on
        // the stack and the heap buffer that the longest text left behind.
        for len in (0..40).chain(430..530).chain((1000..4200).step_by(5)) {
            let text = format!(r#"["{}",{token},{token}]"#, "x".repeat(len));
            decode(&lua, text.as_bytes(), true).expect("JSON");
            let written = encode(&lua).expect("can be encoded");
            let again: serde_json::Value = serde_json::from_str(&written).expect("JSON");
            let wanted: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(again, wanted, "{len} bytes, then {token}");
        }
        // No bytes of an earlier text show up in the next one.
        decode(&lua, longest.as_bytes(), false).expect("JSON");
        assert_eq!(encode(&lua).as_deref(), Ok(longest.as_str()));
    }
}

#[test]
fn a_hook_does_not_run_while_a_table_is_encoded() {
    run(r#"
        local leaf = {g = {h = {i = 1}}}
        local t = {a = {b = {c = {d = {e = {f = leaf}}}}}}
        local calls, hook = 0, nil
        hook = function()
          calls = calls + 1
          -- The first call is that of encode itself.
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
        assert(still == hook and mask == "c", "the hook was removed")
    "#);
}

#[test]
fn a_finalizer_may_encode_while_the_result_of_encode_is_pushed() {
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

/// Limits Lua's allocator to `left` more allocations.
struct Budget {
    left: usize,
    alloc: Alloc,
    data: *mut c_void,
}

/// An allocator for Lua that fails when the budget is used up.
///
/// # Safety
/// `budget` points to a [`Budget`] that nothing else uses during the call. The
/// other arguments are those of Lua's allocator.
unsafe extern "C" fn alloc_within_budget(
    budget: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: the caller guarantees exclusive access.
    let budget = unsafe { &mut *budget.cast::<Budget>() };
    if new > 0 && (block.is_null() || new > old) {
        if budget.left == 0 {
            return std::ptr::null_mut();
        }
        budget.left -= 1;
    }
    // SAFETY: the arguments are Lua's own, passed on to its own allocator.
    unsafe { (budget.alloc)(budget.data, block, old, new) }
}

#[test]
fn any_allocation_of_lua_may_fail() {
    let lua = new_lua();
    let state = lua.state();
    let script = format!(
        "{PRELUDE}
        local text = '{{\"a\":[1,[],{{\"b\":\"c\\\\nd\"}},[{}1]],\"e\":null}}'
        return function() return encode(decode(text)) end",
        "{\"long enough a name to be new\":0.5},".repeat(40)
    );
    lua.load(script.as_bytes(), "=test")
        .expect("the chunk compiles");
    lua.call(0).expect("a function");
    let mut budget = Budget {
        left: usize::MAX,
        // SAFETY: the state is live, and a null `data` is allowed.
        alloc: unsafe { lua_getallocf(state.raw(), std::ptr::null_mut()) },
        data: std::ptr::null_mut(),
    };
    let budget: *mut Budget = &mut budget;
    // SAFETY: the budget outlives its use, because the original allocator is
    // restored below.
    unsafe {
        lua_getallocf(state.raw(), &mut (*budget).data);
        lua_setallocf(state.raw(), alloc_within_budget, budget.cast());
    }
    let mut failures = 0;
    loop {
        state.push_value(-1);
        // SAFETY: Lua does not allocate now, so nothing else uses the budget.
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
    // SAFETY: the original allocator and its data.
    unsafe { lua_setallocf(state.raw(), (*budget).alloc, (*budget).data) };
    assert!(failures > 40, "only {failures} allocations");
    let text = state
        .bytes(-1)
        .map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(text.is_some_and(|text| text.contains("long enough a name to be new")));
}
