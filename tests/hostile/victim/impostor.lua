-- Runs on an instance without a KVS. The peer answers KVS lookups in its place.

local support = require "support"

local test, check, equal, bounded = support.test, support.check, support.equal, support.bounded
local f, MIB = support.f, support.MIB

local function unreadable(name, n, ...)
  local key = ("%s.%d"):format(name, n)
  for _, method in ipairs { ... } do
    test(("%s gets %s %d"):format(method, name, n), function()
      return bounded(400 * MIB, 30, function()
        local value, err, code, detail = f[method](f, key)
        check(value == nil and type(err) == "string" and type(code) == "number", "not refused", value, err)
        check(#err < 200 and (detail == nil or #detail < 200), "too long", err, detail)
      end)
    end)
  end
end

test("a well-formed object is read", function()
  equal(f:kvs_get "good.0", 1)
end)

for _, name in ipairs {
  "base64", "number", "missing", "no-val", "not-json", "scalar", "version", "kind", "dirref",
  "dirrefs", "symlink", "symlink-to-nowhere", "namespace", "null",
} do
  unreadable(name, 0, "kvs_get", "kvsdir")
end

unreadable("valrefs", 100000, "kvs_get", "kvsdir")
for _, name in ipairs { "entry", "entry-kind", "list" } do
  unreadable(name, 0, "kvsdir")
end

unreadable("deep", 100, "kvsdir")
unreadable("deep", 100000, "kvsdir")

test("kvs_type fails for malformed symlinks", function()
  for _, key in ipairs { "symlink.0", "symlink-to-nowhere.0", "base64.0", "kind.0" } do
    local kind, err = f:kvs_type(key)
    check(kind == nil and type(err) == "string", "not refused", kind, err)
  end
end)

test("a symlink's target may hold a NUL or is refused", function()
  local kind, target = f:kvs_type "nul-target.0"
  check(kind == nil or target == "a\0b", "a different value", kind, target)
end)

test("names in a directory are returned unchanged", function()
  for key, wanted in pairs { ["dots.0"] = 3, ["percent.0"] = 2 } do
    local dir, err = f:kvsdir(key)
    check(dir, "refused", err)
    local count = 0
    for name in dir:keys() do
      check(type(name) == "string", "not a string", name)
      count = count + 1
    end
    equal(count, wanted, key)
  end
end)

test("a watched directory that stops being a directory is an error", function()
  local values = {}
  local w = assert(f:kvswatcher {
    key = "dots.0",
    isdir = true,
    handler = function(_, value, errnum)
      values[#values + 1] = { value, errnum }
      f:reactor_stop()
    end,
  })
  local timer = f:timer { timeout = support.PATIENCE * 1000, handler = function() f:reactor_stop() end }
  f:reactor()
  timer:remove()
  w:remove()
  equal(#values, 1)
  equal(values[1][1], nil)
  equal(values[1][2], 71)
end)

test("a directory of 300,000 names takes memory in proportion to its text", function()
  return bounded(13 * MIB * 40, 60, function()
    local dir, err = f:kvsdir "names.300000"
    check(dir, "refused", err)
    local count = 0
    for _ in dir:keys() do
      count = count + 1
    end
    equal(count, 300000)
  end)
end)

test("a value of 64 MiB is read", function()
  return bounded(64 * MIB * 8, 60, function()
    local value, err = f:kvs_get(("large.%d"):format(math.floor(64 * MIB / 3)))
    check(value, "refused", err)
    equal(#value, math.floor(64 * MIB / 3) * 3)
  end)
end)
