-- What other users may leave in the KVS: malformed objects, symlinks, names, streams,
-- and barrier records.

local flux = require "flux"
local kvs = require "kvs"
local support = require "support"

local test, check, equal, refused = support.test, support.check, support.equal, support.refused
local bounded, number_in = support.bounded, support.number_in
local f, service, victim, is_embedded = support.f, support.service, support.victim, support.is_embedded
local MIB = support.MIB

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local word = a * 65536 + (b or 0) * 256 + (c or 0)
    for n = 3, 0, -1 do
      local at = math.floor(word / 64 ^ n) % 64 + 1
      out[#out + 1] = 3 - n > (c and 3 or b and 2 or 1) and "=" or ALPHABET:sub(at, at)
    end
  end
  return table.concat(out)
end

local function commit(key, dirent)
  local op = { key = key, flags = 0, dirent = dirent }
  return f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = flux.json.array { op } })
end

local function store(key, bytes)
  assert(commit(key, { type = "val", ver = 1, data = base64(bytes) }))
end

for name, bytes in pairs {
  binary = "\0\1\254\255",
  ["not-utf8"] = "\"\255\"",
  bare = "hello",
  scalar = "5",
  percent = "%s%n",
  brackets = ("["):rep(2000),
} do
  test("a value may be " .. name, function()
    store(victim .. ".v", bytes)
    local value, err = f:kvs_get(victim .. ".v")
    check(value == (name == "scalar" and 5 or bytes), "a different value", value, err)
    local kind, same = f:kvs_type(victim .. ".v")
    equal(kind, "file")
    equal(same, value)
    equal(f:kvsdir(victim).v, value)
  end)
end

for name, dirent in pairs {
  base64 = { type = "val", ver = 1, data = "!!!!" },
  version = { type = "val", ver = 99, data = "" },
  kind = { type = "x", ver = 1, data = "" },
  reference = { type = "dirref", ver = 1, data = flux.json.array { "no-blobref" } },
  missing = { type = "val", ver = 1 },
  number = { type = "val", ver = 1, data = 5 },
} do
  test("an object whose " .. name .. " is wrong is refused or cannot be read", function()
    local done, err = commit(victim .. ".broken", dirent)
    if done then
      local value, why = f:kvs_get(victim .. ".broken")
      check(value == nil and type(why) == "string", "not refused", value, why)
      f:kvs_unlink(victim .. ".broken")
      assert(f:kvs_commit())
    else
      check(type(err) == "string" and #err < 200, "no error text", err)
    end
  end)
end

test("a cycle of symlinks is an error", function()
  assert(f:kvs_symlink(victim .. ".one", victim .. ".two"))
  assert(f:kvs_symlink(victim .. ".two", victim .. ".one"))
  assert(f:kvs_commit())
  refused("Too many levels of symbolic links", 40, f:kvs_get(victim .. ".one"))
  refused("Too many levels of symbolic links", 40, f:kvs_get(victim .. ".one.x"))
  equal(f:kvs_type(victim .. ".one"), "symlink")
end)

if is_embedded then
  test("symlinks that multiply are followed for a bounded time", function()
    -- Each link passes through the previous one nine times.
    f:kvs_symlink("m0", ".")
    for i = 1, 9 do
      f:kvs_symlink("m" .. i, ("m%d."):format(i - 1):rep(9):sub(1, -2))
    end
    assert(f:kvs_commit())
    return bounded(50 * MIB, 10, function()
      local value, err = f:kvs_get "m9.x"
      check(value == nil and type(err) == "string", "not refused", value, err)
    end)
  end)
  test("a key may have a hundred thousand parts", function()
    return bounded(400 * MIB, 60, function()
      local key = victim .. ".deep" .. (".a"):rep(100000)
      local done, err = commit(key, { type = "val", ver = 1, data = "MQ==" })
      check(done or type(err) == "string", "no error text", err)
      check(f:kvs_get(key) == 1, "a different value")
      f:kvs_unlink(victim .. ".deep")
      assert(f:kvs_commit())
    end)
  end)
end

test("unusual names are read unchanged", function()
  for _, name in ipairs { "%s%n", "\27[2J", " ", "a\nb", ("n"):rep(10000) } do
    assert(f:kvs_put(victim .. ".names." .. name, 1))
    assert(f:kvs_commit())
    equal(f:kvsdir(victim .. ".names")[name], 1)
  end
  local count = 0
  for _ in kvs.keys(f:kvsdir(victim .. ".names")) do
    count = count + 1
  end
  equal(count, 5)
end)

test("a malformed block of a stream is an error", function()
  for _, text in ipairs {
    "5",
    "null",
    "[]",
    "{}",
    '{"eof":1}',
    '{"data":"!!!!","eof":false}',
    '{"data":5,"eof":"x"}',
    ("["):rep(100000),
  } do
    store(victim .. ".stream.000000", text)
    refused("Protocol error", 71, f:kz_open(victim .. ".stream"):read())
  end
end)

test("a stream's block of small objects takes memory in proportion to its text", function()
  local text = '{"eof":false,"x":[' .. ('{"":0},'):rep(1000000) .. "0]}"
  assert(f:kvs_put(victim .. ".small.000000", flux.json.decode(text)))
  assert(f:kvs_commit())
  text = nil
  collectgarbage()
  collectgarbage()
  return bounded(12 * 7 * MIB, 20, function()
    local block, err = f:kz_open(victim .. ".small"):read()
    check(block, "not read", err)
    equal(block.eof, false)
  end)
end)

test("a guest is not counted at a barrier", function()
  if not is_embedded then
    support.skip()
  end
  -- The peer enters as a guest, and half a second later as the owner.
  local started = number_in("/proc/uptime", "^(%S+)")
  f:send(("%s.barrier.%s.2.%s"):format(service, victim, victim), {})
  equal(f:barrier(victim, 2), 0)
  check(number_in("/proc/uptime", "^(%S+)") - started > 0.4, "released by the guest")
  assert(f:recv())
end)

test("a malformed barrier record is ignored", function()
  store("flux-lua.barrier.=" .. victim, '{"rank":-1,"service":5}')
  equal(f:barrier(victim, 1), 0)
end)

f:kvs_unlink(victim)
assert(f:kvs_commit())
