-- Malformed or unusual payloads, and what a script must get for each of them.

local support = require "support"

local check, equal, malformed = support.check, support.equal, support.malformed
local is_embedded = support.is_embedded

local function field_a(wanted)
  return function(value)
    check(type(value) == "table", "not a table", value)
    equal(value.a, wanted, "field a")
  end
end

local function empty_table(value)
  check(type(value) == "table" and next(value) == nil, "not an empty table", value)
end

-- Each row has the payload's name, its size, and a check of the result.
return {
  { "none", 0, empty_table },
  { "empty", 0, empty_table },
  { "object", 0, field_a(1) },
  -- libflux strips a terminating NUL. The embedded broker delivers the payload unchanged.
  { "terminated", 0, is_embedded and malformed "unexpected text after the value" or field_a(1) },
  { "nul", 0, is_embedded and malformed "expected a value at byte 1" or empty_table },
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
  { "duplicate", 0, field_a(2) },
  { "huge-exponent", 0, malformed "number out of range" },
  { "tiny-exponent", 0, field_a(0) },
  { "percent", 0, field_a "%s%n%d%1$*2$x" },
  { "control", 0, field_a "\27]0;title\7\r\n" },
  { "deep", 999, function(value) check(type(value.a) == "table", "not a table", value.a) end },
  { "deep", 1000, function(value) check(type(value.a) == "table", "not a table", value.a) end },
  { "deep", 1001, malformed "nesting deeper than 1000" },
}
