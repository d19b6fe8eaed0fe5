-- Responses that are large, or that decode to large Lua values. Each part runs in its
-- own process.

local support = require "support"

local test, check, equal, malformed = support.test, support.check, support.equal, support.malformed
local ask, bounded = support.ask, support.bounded
local MIB = support.MIB

-- True if this Lua hashes only some characters of a long name.
local samples = not jit and tonumber(_VERSION:match "%d+%.%d+") < 5.4

local parts = {}

-- Checks a response of up to `bytes` bytes. Decoding it may take `times` as much memory.
local function large(title, name, n, bytes, times, seconds, expect)
  test(title, function()
    -- On the embedded broker the peer runs in this process, so its copies count too.
    local limit = bytes * times + 32 * MIB
    return bounded(limit, seconds, function()
      expect(ask("respond", name, n))
    end)
  end)
end

parts["strings"] = function()
  for _, n in ipairs { 1, 64, 256 } do
    large(("a string of %d MiB"):format(n), "mebibytes", n, n * MIB, 5, 60, function(value, err)
      check(value, "refused", err)
      equal(#value.a, n * MIB)
    end)
  end
end

parts["arrays"] = function()
  large("an array of ten million zeros", "zeros", 10000000, 20 * MIB, 30, 60, function(value, err)
    check(value, "refused", err)
    equal(#value.a, 10000000)
    equal(value.a[10000000], 0)
  end)
end

parts["nesting"] = function()
  large("a million brackets", "brackets", 1000000, MIB, 30, 10, malformed "nesting deeper than 1000")
  large("a million objects", "names", 1000000, 5 * MIB, 30, 10, malformed "nesting deeper than 1000")
  large("64 Mi brackets", "brackets", 64 * MIB, 64 * MIB, 5, 30, malformed "nesting deeper than 1000")
end

parts["numbers"] = function()
  large("a number of 100,000 digits", "digits", 100000, MIB, 30, 10, malformed "number out of range")
  large("a number of 300 digits", "digits", 300, MIB, 30, 10, function(value)
    check(value.a > 1e299 and value.a < 1e300, "a different value", value.a)
  end)
  large("a fraction of ten million digits", "fraction", 10000000, 10 * MIB, 10, 10, function(value)
    check(value.a > 0.11 and value.a < 0.12, "a different value", value.a)
  end)
end

parts["many names"] = function()
  large("a million names", "keys", 1000000, 18 * MIB, 20, 60, function(value, err)
    check(value, "refused", err)
    equal(value.key0, 0)
    equal(value.key999999, 999999)
  end)
end

parts["long names"] = function()
  -- A Lua that samples characters puts many of these names into one hash chain.
  local n = samples and 10000 or 100000
  large(n .. " long names with a common prefix", "long-keys", n, n * 140, 20, 60, function(value, err)
    check(value, "refused", err)
    local x = ("x"):rep(60)
    equal(value[("%s%08d%s"):format(x, n - 1, x)], n - 1)
  end)
end

-- Names with equal hashes are compared one by one. This is Lua's behaviour; the test
-- checks that a payload of this size stays affordable.
parts["names of equal hash"] = function()
  large("10,000 names of equal hash", "equal-hash", 10000, 3 * MIB, 30, 60, function(value, err)
    check(value, "refused", err)
    local count = 0
    for _ in pairs(value) do
      count = count + 1
    end
    equal(count, 10000)
  end)
end

parts["small arrays"] = function()
  large("three million empty arrays", "empty-tables", 3000000, 9 * MIB, 45, 60, function(value, err)
    check(value, "refused", err)
    equal(#value.a, 3000000)
  end)
end

parts["small objects"] = function()
  large("a million objects of one field", "small-objects", 1000000, 7 * MIB, 45, 60, function(value, err)
    check(value, "refused", err)
    equal(value.a[1000000][""], 0)
  end)
end

parts["a table after a large one"] = function()
  large("a small object after 2^22 + 1 zeros", "table-after-zeros", 4194305, 8 * MIB, 20, 30, function(value, err)
    check(value, "refused", err)
    equal(value.a[2].b, 1)
  end)
end

parts[support.part]()
