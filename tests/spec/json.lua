-- flux.json: Lua values to JSON and back.

local flux = require "flux"
local spec = require "spec"

local json = flux.json
local encode, decode = json.encode, json.decode
local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local INFINITY = 1 / 0

test("a table with the keys 1 to n is an array", function()
  equal(encode { 1, 2, 3 }, "[1,2,3]")
  equal(encode { "a" }, '["a"]')
  equal(encode { { 1 }, { { 2 } } }, "[[1],[[2]]]")
  local backwards = {}
  for n = 5, 1, -1 do
    backwards[n] = n
  end
  equal(encode(backwards), "[1,2,3,4,5]")
end)

test("a long array keeps all of its items", function()
  local list = {}
  for n = 1, 10000 do
    list[n] = n
  end
  spec.same(decode(encode(list)), list)
end)

test("an array may hold false", function()
  equal(encode { false, true, false }, "[false,true,false]")
end)

test("any other table is an object", function()
  equal(encode { a = 1 }, '{"a":1}')
  equal(encode { [2] = "x" }, '{"2":"x"}')
  equal(encode { [0] = "x" }, '{"0":"x"}')
  equal(encode { [-1] = "x" }, '{"-1":"x"}')
  spec.same(decode(encode { 1, 2, nil, 4 }), { ["1"] = 1, ["2"] = 2, ["4"] = 4 })
  spec.same(decode(encode { 1, 2, x = 3 }), { ["1"] = 1, ["2"] = 2, x = 3 })
end)

test("number keys become their decimal text", function()
  equal(encode { [1.5] = "x" }, '{"1.5":"x"}')
  equal(encode { [2 ^ 40] = "x" }, '{"1099511627776":"x"}')
end)

test("a number key and a string key with the same text are an error", function()
  raises('the keys 5 and "5" have the same text', encode, { [5] = 1, ["5"] = 2 })
  spec.same(decode(encode { [5] = 1, ["05"] = 2 }), { ["5"] = 1, ["05"] = 2 })
end)

test("a key of any other type is an error that names the type", function()
  raises("a key of type boolean", encode, { [true] = 1 })
  raises("a key of type table", encode, { [{}] = 1 })
  raises("a key of type function at %.a$", encode, { a = { [print] = 1 } })
  raises("a key of type userdata", encode, { [flux.NULL] = 1 })
end)

test("an infinite key is an error", function()
  raises("a key is not finite %(inf%)", encode, { [INFINITY] = 1 })
  raises("a key is not finite %(%-inf%)", encode, { [-INFINITY] = 1 })
end)

test("an empty table is an object unless it is marked as an array", function()
  equal(encode {}, "{}")
  equal(encode(json.array {}), "[]")
  equal(encode(json.array()), "[]")
  equal(encode { list = json.array {}, table = {} } == '{"list":[],"table":{}}'
    or encode { list = json.array {}, table = {} } == '{"table":{},"list":[]}', true)
end)

test("json.array returns its argument, which may be filled later", function()
  local list = {}
  equal(json.array(list), list)
  equal(json.array(list), list)
  list[1] = "x"
  equal(encode(list), '["x"]')
  list[1] = nil
  equal(encode(list), "[]")
end)

test("json.array refuses a value that is not a table, or has a metatable", function()
  raises("bad argument #1", json.array, 42)
  raises("bad argument #1", json.array, "x")
  raises("bad argument #1", json.array, setmetatable({}, {}))
end)

test("empty arrays and objects keep their kind when decoded and encoded", function()
  equal(encode(decode "[]"), "[]")
  equal(encode(decode "{}"), "{}")
  equal(encode(decode '[[],{},[[]]]'), "[[],{},[[]]]")
end)

test("integral floats below 2^53 are written as integers", function()
  equal(encode(1.0), "1")
  equal(encode(-3.0), "-3")
  equal(encode(0.0), "0")
  equal(encode(1e15), "1000000000000000")
  equal(encode(2 ^ 53 - 1), "9007199254740991")
  equal(encode(-(2 ^ 53 - 1)), "-9007199254740991")
end)

test("other floats are written as the shortest text that reads back equal", function()
  equal(encode(0.1), "0.1")
  equal(encode(1 / 3), "0.3333333333333333")
  equal(encode(-2.5), "-2.5")
  for _, x in ipairs { 0.1 + 0.2, math.pi, 5e-324, 1.7976931348623157e308, 1e300, 2 ^ 53, 2 ^ 63, 2 ^ 64, 1e22, 1e-7, -1e100 } do
    equal(decode(encode(x)), x)
    spec.ok(#encode(x) <= 25, encode(x))
  end
end)

test("minus zero keeps its sign", function()
  equal(1 / decode(encode(-0.0)), -INFINITY)
  equal(1 / decode "-0.0", -INFINITY)
end)

test("NaN and infinities are an error", function()
  raises("number is not finite %(nan%)", encode, 0 / 0)
  raises("number is not finite %(inf%)", encode, INFINITY)
  raises("number is not finite %(%-inf%) at %.a%.b", encode, { a = { b = -INFINITY } })
end)

test("64-bit integers are exact in Lua 5.3 and later", function()
  if not math.type then
    spec.skip "this Lua has no integers"
  end
  for text, n in pairs {
    ["9223372036854775807"] = math.maxinteger,
    ["-9223372036854775808"] = math.mininteger,
    ["9007199254740993"] = math.tointeger(2 ^ 53) + 1,
    ["0"] = 0,
    ["-1"] = -1,
  } do
    equal(encode(n), text)
    equal(decode(text), n)
    equal(math.type(decode(text)), "integer")
  end
end)

test("a number written as a float is decoded as a float in Lua 5.3 and later", function()
  if not math.type then
    spec.skip "this Lua has no integers"
  end
  equal(math.type(decode "1.0"), "float")
  equal(math.type(decode "1e3"), "float")
  equal(math.type(decode "-0"), "float")
end)

test("integers beyond 64 bits become floats", function()
  equal(decode "9223372036854775808", 2 ^ 63)
  equal(decode "18446744073709551616", 2 ^ 64)
  equal(decode "-9223372036854775809", -2 ^ 63)
  equal(decode("1" .. ("0"):rep(100)), 1e100)
  if math.type then
    equal(math.type(decode "9223372036854775808"), "float")
  end
end)

test("integers up to 2^53 are exact in every Lua", function()
  equal(decode "9007199254740991", 2 ^ 53 - 1)
  equal(decode "-9007199254740991", -(2 ^ 53 - 1))
  equal(encode(decode "9007199254740991"), "9007199254740991")
end)

test("a number too large for a float is an error", function()
  fails("number out of range at byte 1", decode "1e999")
  fails("number out of range at byte 2", decode "[-1e400]")
  equal(decode "1e-999", 0)
end)

test("only characters that need it are escaped", function()
  equal(encode 'a"b\\c/d', [["a\"b\\c/d"]])
  equal(encode "\b\f\n\r\t", [["\b\f\n\r\t"]])
  equal(encode "\0\1\31\127", '"\\u0000\\u0001\\u001f\127"')
  equal(encode "ünïcödé €😀", '"ünïcödé €😀"')
end)

test("strings may hold NUL", function()
  equal(decode(encode "a\0b"), "a\0b")
  equal(decode '"a\\u0000b"', "a\0b")
  spec.same(decode(encode { ["k\0ey"] = "\0" }), { ["k\0ey"] = "\0" })
end)

test("a string that is not UTF-8 is an error that gives the offset", function()
  raises("text is not UTF%-8 at byte 1$", encode, "\255")
  raises("text is not UTF%-8 at byte 4 at %.a%[2%]", encode, { a = { "ok", "abc\128d" } })
  raises("a key is not UTF%-8 at byte 2", encode, { ["a\200"] = 1 })
  -- A surrogate, an overlong encoding of "/", and a truncated character.
  raises("not UTF%-8 at byte 1", encode, "\237\160\128")
  raises("not UTF%-8 at byte 1", encode, "\192\175")
  raises("not UTF%-8 at byte 2", encode, "a\226\130")
end)

test("escapes are decoded", function()
  equal(decode [["\"\\\/\b\f\n\r\t"]], '"\\/\b\f\n\r\t')
  equal(decode [["\u0041\u00e9\u20AC"]], "Aé€")
  equal(decode [["\ud83d\ude00"]], "😀")
end)

test("flux.NULL is encoded as null, which is decoded as nil", function()
  equal(encode(flux.NULL), "null")
  equal(encode { flux.NULL, 1 }, "[null,1]")
  equal(encode { a = flux.NULL }, '{"a":null}')
  spec.returns({ n = 1 }, decode "null")
  spec.same(decode '{"a":null,"b":1}', { b = 1 })
  local list = decode "[1,null,3]"
  equal(list[1], 1)
  equal(list[2], nil)
  equal(list[3], 3)
end)

test("null is decoded as the value of the option null", function()
  equal(decode("null", { null = flux.NULL }), flux.NULL)
  spec.same(decode('{"a":null}', { null = "none" }), { a = "none" })
  spec.same(decode("[null,null]", { null = false }), { false, false })
  spec.returns({ n = 1 }, decode("null", {}))
  equal(encode(decode('{"a":[null]}', { null = flux.NULL })), '{"a":[null]}')
end)

test("booleans are encoded and decoded", function()
  equal(encode(true), "true")
  equal(encode(false), "false")
  equal(decode "true", true)
  equal(decode "false", false)
end)

test("a value that JSON cannot hold is an error that says where", function()
  raises("cannot encode a function at %.jobs%[3%]%.name", encode, { jobs = { {}, {}, { name = print } } })
  raises("cannot encode a thread", encode, coroutine.create(function() end))
  raises("cannot encode a userdata at %[1%]", encode, { io.stdout })
  raises("cannot encode nil", encode, nil)
  raises("cannot encode a function at %[\"odd key\"%]", encode, { ["odd key"] = print })
  raises("bad argument #1", encode)
end)

test("the path of an error shows number keys", function()
  raises("at %[7%]%[%-1%]%.x", encode, { [7] = { [-1] = { x = print } } })
end)

test("1000 levels of nesting are encoded and decoded, and one more is an error", function()
  local nested = "x"
  for _ = 1, 1000 do
    nested = { nested }
  end
  local text = ("["):rep(1000) .. '"x"' .. ("]"):rep(1000)
  equal(encode(nested), text)
  equal(encode(decode(text)), text)
  raises("nesting deeper than 1000", encode, { nested })
  fails("nesting deeper than 1000 at byte 1001", decode(("["):rep(1001) .. ("]"):rep(1001)))
  fails("nesting deeper than 1000 at byte 5001", decode(('{"a":'):rep(5000)))
end)

test("a table that contains itself is an error that says where", function()
  local cycle = {}
  cycle.next = cycle
  raises("nesting deeper than 1000 at %.next%.next", encode, cycle)
  local list = {}
  list[1] = list
  raises("nesting deeper than 1000 at %[1%]%[1%]", encode, list)
end)

test("a table that occurs twice is encoded twice", function()
  local shared = { 1 }
  equal(encode { shared, shared }, "[[1],[1]]")
end)

test("metamethods are not called", function()
  local loud = setmetatable({ a = 1 }, {
    __index = error,
    __pairs = error,
    __len = error,
    __tostring = error,
  })
  equal(encode(loud), '{"a":1}')
end)

test("the last of several equal names wins", function()
  spec.same(decode '{"a":1,"a":2}', { a = 2 })
  spec.same(decode '{"a":1,"b":3,"a":null}', { b = 3 })
  spec.same(decode '{"a":null,"a":1}', { a = 1 })
end)

test("only JSON's white space is skipped", function()
  spec.same(decode ' \t\r\n{ "a" : [ 1 , 2 ] }\n', { a = { 1, 2 } })
  fails("expected a value at byte 1", decode "\v1")
  fails("expected a value at byte 1", decode "\194\1601")
end)

-- Texts that are not JSON, each with its error.
local MALFORMED = {
  { "", "unexpected end of text at byte 1" },
  { " ", "unexpected end of text at byte 2" },
  { "{", "unexpected end of text at byte 2" },
  { "[1", "unexpected end of text at byte 3" },
  { "[1,", "unexpected end of text at byte 4" },
  { '"abc', "unexpected end of text at byte 5" },
  { '"a\\', "unexpected end of text at byte 4" },
  { '{"a"', "unexpected end of text at byte 5" },
  { '{"a":', "unexpected end of text at byte 6" },
  { "hello", "expected a value at byte 1" },
  { "[1,]", "expected a value at byte 4" },
  { "[,1]", "expected a value at byte 2" },
  { "tru", "expected a value at byte 1" },
  { "True", "expected a value at byte 1" },
  { "NaN", "expected a value at byte 1" },
  { "'a'", "expected a value at byte 1" },
  { "+1", "expected a value at byte 1" },
  { ".5", "expected a value at byte 1" },
  { "// x\n1", "expected a value at byte 1" },
  { "{a:1}", "expected a name at byte 2" },
  { '{"a":1,}', "expected a name at byte 8" },
  { "{1:2}", "expected a name at byte 2" },
  { '{"a" 1}', "expected ':' at byte 6" },
  { "[1 2]", "expected ',' or ']' at byte 4" },
  { "[1}", "expected ',' or ']' at byte 3" },
  { '{"a":1 "b":2}', "expected ',' or '}' at byte 8" },
  { "1 2", "unexpected text after the value at byte 3" },
  { "{}}", "unexpected text after the value at byte 3" },
  { "1\0", "unexpected text after the value at byte 2" },
  { '"a\nb"', "control character in a string at byte 3" },
  { '"a\0b"', "control character in a string at byte 3" },
  { '"\\x"', "invalid escape at byte 2" },
  { '"\\u12g4"', "invalid escape at byte 2" },
  { '"\\ud800"', "lone surrogate at byte 2" },
  { '"\\udc00"', "lone surrogate at byte 2" },
  { '"\\ud800\\u0041"', "lone surrogate at byte 2" },
  { '"\255"', "invalid UTF-8 at byte 2" },
  { "\239\187\1911", "expected a value at byte 1" },
}

test("text that is not JSON is an error that gives the reason and the byte", function()
  for _, case in ipairs(MALFORMED) do
    local value, err = decode(case[1])
    spec.same({ case[1], value, err }, { case[1], nil, case[2] })
    equal(select("#", decode(case[1])), 2)
  end
end)

test("a malformed number is an error", function()
  for _, text in ipairs { "01", "-x", "1.x", "1.e5", "1ex", "1e+x", "-01", "00" } do
    fails(nil, decode(text))
    local _, err = decode(text)
    spec.matches(err, "^invalid number at byte %d+$")
  end
  for _, text in ipairs { "-", "1.", "1e", "1e+" } do
    fails("unexpected end of text at byte " .. #text + 1, decode(text))
  end
end)

test("decode raises an error for an argument of the wrong type", function()
  raises("bad argument #1", decode)
  for _, wrong in ipairs { true, {}, print, flux.NULL } do
    raises("bad argument #1", decode, wrong)
  end
  for _, wrong in ipairs { 42, true, "null", print } do
    raises("bad argument #2", decode, "1", wrong)
  end
end)

test("every kind of value survives encoding and decoding", function()
  local value = {
    text = "ünïcödé \0 \" \\ \n",
    list = { 1, "two", { 3 }, false, { four = 4 } },
    nested = { a = { b = { c = { 1, { d = "deep" } } } } },
    numbers = { 0, -1, 1.5, 1e100, 2 ^ 53 - 1, 5e-324 },
    [""] = "empty key",
    ["a.b"] = "dotted key",
  }
  spec.same(decode(encode(value)), value)
end)
