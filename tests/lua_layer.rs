//! The mechanisms behind every entry point of the module: the conversion of Rust
//! results and panics, protected calls, and typed userdata. The functions here
//! stand in for those of the module.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::raw::c_int;
use std::rc::Rc;

use flux::lua::{
    Cause, Class, ClassInfo, Error, Failure, Integer, Interpreter, Kind, Push, Result, State, Text,
    Writer, lua_CFunction,
};
use flux::lua_functions;

thread_local! {
    /// How many [`Owned`] values exist.
    static ALIVE: Cell<i32> = const { Cell::new(0) };
}

/// A value whose destructor is counted.
struct Owned;

impl Owned {
    fn new() -> Owned {
        ALIVE.set(ALIVE.get() + 1);
        Owned
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

/// A result that raises while it is pushed.
struct RaisesWhenPushed {
    _owned: Owned,
}

impl Push for RaisesWhenPushed {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.bytes(b"no room");
        writer.raise()
    }
}

/// A counter in a userdata.
#[derive(Clone)]
struct Counter(Rc<(Owned, Cell<i64>)>);

impl Class for Counter {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"TEST.counter", "counter");
        &INFO
    }
}

/// A second class, whose objects must not be accepted as counters.
#[derive(Clone)]
struct Other;

impl Class for Other {
    fn info() -> &'static ClassInfo {
        static INFO: ClassInfo = ClassInfo::new(c"TEST.other", "other");
        &INFO
    }
}

/// A new userdata with this value.
struct New<T>(Option<T>);

impl<T: Class> Push for New<T> {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        writer.new_object(&mut self.0);
        1
    }
}

fn panics(_: State<'_>) -> Result<()> {
    let _owned = Owned::new();
    panic!("a bug at {}", 42);
}

fn raises(_: State<'_>) -> Result<()> {
    let _owned = Owned::new();
    Err(Error::raise("it went wrong"))
}

fn raises_when_pushed(_: State<'_>) -> Result<RaisesWhenPushed> {
    Ok(RaisesWhenPushed {
        _owned: Owned::new(),
    })
}

fn refuses_argument(state: State<'_>) -> Result<()> {
    let _owned = Owned::new();
    Err(Error::expected(state, 1, "string"))
}

fn fails(_: State<'_>) -> Result<()> {
    let failure = Failure {
        text: "No such file or directory".to_owned(),
        code: Some(2),
        detail: Some("no key".to_owned()),
    };
    Err(failure.into())
}

/// Calls argument 1 and passes on the error that it raises.
fn calls(state: State<'_>) -> Result<Text> {
    let _owned = Owned::new();
    state.push_value(1);
    state.call(0, 1)?;
    let text = state.bytes(-1).map(String::from_utf8_lossy);
    Ok(Text(text.unwrap_or_default().into_owned()))
}

/// Makes a protected call that raises, and continues after it.
fn recovers(state: State<'_>) -> Result<Integer> {
    let owned = Owned::new();
    let top = state.top();
    let done = state.protect(0, |writer| {
        writer.bytes(b"raised within");
        writer.raise()
    });
    let cause = done.map_err(Error::cause);
    assert!(matches!(cause, Err(Cause::RaiseTop)));
    assert_eq!(state.bytes(-1), Some(&b"raised within"[..]));
    state.set_top(top);
    drop(owned);
    Ok(Integer(ALIVE.get().into()))
}

fn new_counter(_: State<'_>) -> Result<New<Counter>> {
    Ok(New(Some(Counter(Rc::new((Owned::new(), Cell::new(0)))))))
}

fn new_other(_: State<'_>) -> Result<New<Other>> {
    Ok(New(Some(Other)))
}

fn count(state: State<'_>) -> Result<Integer> {
    let counter: Counter = state.check_object(1)?;
    counter.0.1.set(counter.0.1.get() + 1);
    Ok(Integer(counter.0.1.get()))
}

fn close(state: State<'_>) -> Result<()> {
    drop(state.take_object::<Counter>(1));
    Ok(())
}

/// The result of `keep`: stores argument 2 in the counter's own table and pushes
/// the value that was there before.
struct PreviousEntry;

fn keep(state: State<'_>) -> Result<PreviousEntry> {
    state.check_object::<Counter>(1)?;
    Ok(PreviousEntry)
}

impl Push for PreviousEntry {
    fn push(&mut self, writer: &Writer<'_>) -> c_int {
        assert!(writer.object_table::<Counter>(1));
        writer.state().raw_get_index(-1, 1);
        writer.state().push_value(2);
        writer.raw_set_index(-3, 1);
        1
    }
}

lua_functions! {
    lua_panics => panics;
    lua_raises => raises;
    lua_raises_when_pushed => raises_when_pushed;
    lua_refuses_argument => refuses_argument;
    lua_fails => fails;
    lua_calls => calls;
    lua_recovers => recovers;
    lua_new_counter => new_counter;
    lua_new_other => new_other;
    lua_count => count;
    lua_close => close;
    lua_keep => keep;
}

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    (c"panics", Some(lua_panics)),
    (c"raises", Some(lua_raises)),
    (c"raises_when_pushed", Some(lua_raises_when_pushed)),
    (c"refuses_argument", Some(lua_refuses_argument)),
    (c"fails", Some(lua_fails)),
    (c"calls", Some(lua_calls)),
    (c"recovers", Some(lua_recovers)),
    (c"counter", Some(lua_new_counter)),
    (c"other", Some(lua_new_other)),
    (c"count", Some(lua_count)),
    (c"close", Some(lua_close)),
    (c"keep", Some(lua_keep)),
];

unsafe extern "C-unwind" fn open(raw: *mut flux::lua::lua_State) -> c_int {
    // SAFETY: Lua passes a live state, and no frame here has a destructor.
    let writer = unsafe { Writer::new(raw) };
    // SAFETY: the class gets no functions.
    unsafe { writer.new_class::<Counter>(&[]) };
    // SAFETY: the class gets no functions.
    unsafe { writer.new_class::<Other>(&[]) };
    writer.table(0, FUNCTIONS.len());
    for (name, function) in FUNCTIONS {
        // SAFETY: `lua_functions!` made the function, so Lua may call it.
        unsafe { writer.function(*function) };
        writer.set_field(-2, name);
    }
    1
}

/// Run a chunk in which `t` is a table of the functions above.
fn run(chunk: &str) -> std::result::Result<(), String> {
    let host = Interpreter::new().expect("memory for a Lua state");
    // SAFETY: `lua_functions!` made the function, so Lua may call it.
    unsafe { host.preload(c"t", Some(open)) }?;
    host.load(
        format!("local t = require 't'\n{chunk}").as_bytes(),
        "=test",
    )?;
    host.call(0).map(|_| ())
}

/// Run a chunk that must succeed, and check that every [`Owned`] was dropped.
fn ok(chunk: &str) {
    ALIVE.set(0);
    if let Err(message) = run(chunk) {
        panic!("{message}");
    }
    assert_eq!(ALIVE.get(), 0, "everything owned was dropped");
}

#[test]
fn a_panic_becomes_a_lua_error_after_the_destructors_ran() {
    std::panic::set_hook(Box::new(|_| {}));
    ok(r#"
        local ok, err = pcall(t.panics)
        assert(not ok)
        assert(err:find("internal error: a bug at 42", 1, true), err)
    "#);
}

#[test]
fn an_error_is_raised_after_the_destructors_ran_with_the_callers_position() {
    ok(r#"
        local ok, err = pcall(function()
          t.raises()
        end)
        assert(not ok)
        assert(err == "test:4: it went wrong", err)
    "#);
}

#[test]
fn a_result_is_dropped_when_pushing_it_raises() {
    ok(r#"
        local ok, err = pcall(t.raises_when_pushed)
        assert(not ok and err == "no room", err)
    "#);
}

#[test]
fn a_wrong_argument_is_an_error_that_names_the_argument_and_the_function() {
    ok(r#"
        local ok, err = pcall(function() t.refuses_argument() end)
        assert(not ok)
        assert(err:find("bad argument #1 to 'refuses_argument' (string expected, got no value)", 1, true), err)
        local ok, err = pcall(function() t.refuses_argument({}) end)
        assert(err:find("string expected, got table", 1, true), err)
    "#);
}

#[test]
fn a_failure_returns_nil_text_code_and_detail() {
    ok(r#"
        local a, b, c, d = t.fails()
        assert(a == nil and b == "No such file or directory" and c == 2 and d == "no key")
        assert(select('#', t.fails()) == 4)
    "#);
}

#[test]
fn an_error_value_of_a_called_function_is_passed_on_unchanged() {
    ok(r#"
        local value = { "a table" }
        local ok, err = pcall(t.calls, function() error(value) end)
        assert(not ok and err == value)
        assert(t.calls(function() return "fine" end) == "fine")
    "#);
}

#[test]
fn the_caller_of_a_protected_call_continues_after_an_error() {
    ok("assert(t.recovers() == 0)");
}

#[test]
fn a_collected_userdata_drops_its_value_exactly_once() {
    ok(r#"
        for i = 1, 1000 do
          local c = t.counter()
          assert(t.count(c) == 1 and t.count(c) == 2)
        end
        collectgarbage()
        collectgarbage()
        local c = t.counter()
        local gc = getmetatable(c).__gc
        gc(c)
        gc(c)
        local ok, err = pcall(t.count, c)
        assert(not ok and err:find("the counter is closed", 1, true), err)
    "#);
}

#[test]
fn a_method_of_a_closed_object_raises_an_error_that_says_so() {
    ok(r#"
        local c = t.counter()
        t.close(c)
        t.close(c)
        local ok, err = pcall(t.count, c)
        assert(not ok and err:find("the counter is closed", 1, true), err)
    "#);
}

#[test]
fn an_object_of_another_class_is_refused_even_with_a_forged_metatable() {
    ok(r#"
        local c, o = t.counter(), t.other()
        for _, value in ipairs { o, io.stdout, {}, 1, "x", print, true } do
          local ok, err = pcall(t.count, value)
          assert(not ok and err:find("counter expected, got", 1, true), err)
        end
        debug.setmetatable(o, getmetatable(c))
        local ok, err = pcall(t.count, o)
        assert(not ok and err:find("counter expected", 1, true), err)
        local file = io.tmpfile()
        local mt = getmetatable(file)
        debug.setmetatable(file, getmetatable(c))
        local ok, err = pcall(t.count, file)
        assert(not ok and err:find("counter expected", 1, true), err)
        debug.setmetatable(file, mt)
    "#);
}

#[test]
fn every_object_has_a_table_of_its_own() {
    ok(r#"
        local a, b = t.counter(), t.counter()
        assert(t.keep(a, "first") == nil)
        assert(t.keep(b, "other") == nil)
        assert(t.keep(a, "second") == "first")
        assert(t.keep(b, nil) == "other")
    "#);
}

#[test]
fn a_hook_may_make_a_protected_call_during_another_one() {
    ok(r#"
        debug.sethook(function()
          debug.sethook()
          assert(t.recovers() >= 0)
        end, "c")
        local c = t.counter()
        debug.sethook()
        assert(t.count(c) == 1)
    "#);
}

#[test]
fn kinds_have_the_type_names_of_lua() {
    let names = [Kind::None, Kind::Nil, Kind::Table, Kind::Userdata].map(Kind::name);
    assert_eq!(names, ["no value", "nil", "table", "userdata"]);
}
