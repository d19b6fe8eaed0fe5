-- Payloads that no well-behaved peer sends, and what a script has of them.

local support = require "support"

local check, equal, malformed = support.check, support.equal, support.malformed
local is_embedded = support.is_embedded

local function field(wanted)
  return function(value)
    check(type(value) == "table", "no table", value)
    equal(value.a, wanted, "field a")
  end
end

local function nothing(value)
  check(type(value) == "table" and next(value) == nil, "no empty table", value)
end

-- A payload's name and size, and what is to come of it.
return {
  { "none", 0, nothing },
  { "empty", 0, nothing },
  { "object", 0, field(1) },
  -- The NUL that ends a string is no part of what the embedded broker carries.
  { "terminated", 0, is_embedded and malformed "unexpected text after the value" or field(1) },
  { "nul", 0, is_embedded and malformed "expected a value at byte 1" or nothing },
  { "nuls", 0, malformed "expected a value at byte 1" },
  { "nul-inside", 0, malformed "unexpected text after the value at byte 8" },
  { "nul-in-string", 0, malformed "control character in a string" },
  { "escaped-nul", 0, function(value) equal(value["a\0b"], "x\0y") end },
  { "binary", 0, malformed "invalid UTF-8 at byte 129" },
  { "not-utf8", 0, malformed "invalid UTF-8 at byte 7" },
  { "surrogate", 0, malformed "lone surrogate at byte 7" },
  { "cut", 0, malformed "unexpected end of text" },
  { "trailing", 0, malformed "unexpected text after the value at byte 8" },
  { "null", 0, malformed "not an object" },
  { "number", 0, malformed "not an object" },
  { "text", 0, malformed "not an object" },
  { "array", 0, function(value) equal(#value, 2) equal(value[2], 2) end },
  { "duplicate", 0, field(2) },
  { "huge-exponent", 0, malformed "number out of range" },
  { "tiny-exponent", 0, field(0) },
  { "percent", 0, field "%s%n%d%1$*2$x" },
  { "control", 0, field "\27]0;title\7\r\n" },
  { "deep", 999, function(value) check(type(value.a) == "table", "no table", value.a) end },
  { "deep", 1000, function(value) check(type(value.a) == "table", "no table", value.a) end },
  { "deep", 1001, malformed "nesting deeper than 1000" },
}
