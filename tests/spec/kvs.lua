-- The KVS methods of a handle.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local VALUES = {
  string = "foo",
  ["empty string"] = "",
  number = 42,
  ["negative number"] = -7,
  ["zero"] = 0,
  fraction = 0.25,
  ["true"] = true,
  ["false"] = false,
  ["string 0"] = "0",
  ["string 0x1"] = "0x1",
  ["string 00"] = "00",
  ["string null"] = "null",
  ["string with a NUL"] = "a\0b",
  table = { x = 1, y = 2 },
  ["deeper table"] = { x = { "a", "deep", "table" } },
  array = { 1, 2, 3, 4, 5, 6 },
  ["empty table"] = {},
  ["long string"] = ("long "):rep(20000),
}

test("every kind of value is read back as it was put", function()
  local f, key = support.kvs()
  for name, value in pairs(VALUES) do
    spec.returns({ true }, f:kvs_put(key, value))
    spec.returns({ true }, f:kvs_commit())
    local got = f:kvs_get(key)
    spec.ok(type(got) == type(value), name)
    spec.same(got, value)
    equal(select("#", f:kvs_get(key)), 1)
  end
end)

test("kvs_get fails for a key that does not exist", function()
  local f, key = support.kvs()
  fails("No such file or directory", f:kvs_get(key))
  fails("No such file or directory", f:kvs_get(key .. ".below"))
end)

test("a put is not visible before the commit", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key, 1))
  fails("No such file or directory", f:kvs_get(key))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 1)
end)

test("all puts take effect with one commit", function()
  local f, key = support.kvs()
  for n = 1, 50 do
    spec.ok(f:kvs_put(key .. "." .. n, n))
  end
  spec.ok(f:kvs_commit())
  for n = 1, 50 do
    equal(f:kvs_get(key .. "." .. n), n)
  end
end)

test("the last of several puts to one key counts", function()
  local f, key = support.kvs()
  f:kvs_put(key, 1)
  f:kvs_put(key, 2)
  f:kvs_unlink(key)
  f:kvs_put(key, 3)
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 3)
end)

test("every handle has its own transaction", function()
  local f, key = support.kvs()
  local other = support.open()
  f:kvs_put(key, "mine")
  spec.returns({ true }, other:kvs_commit())
  fails("No such file or directory", f:kvs_get(key))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), "mine")
end)

test("a commit without changes succeeds", function()
  local f = support.open()
  spec.returns({ true }, f:kvs_commit())
  spec.returns({ true }, f:kvs_commit())
end)

test("another handle reads what one handle committed", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  equal(support.open():kvs_get(key .. ".a"), 1)
end)

test("another rank reads a committed value after an event announced the commit", function()
  local far = support.open_at(1)
  local f, key = support.kvs()
  local topic = support.unique "told"
  far:subscribe(topic)
  support.put(f, key, { a = 1 })
  f:sendevent(topic)
  far:recv_event()
  equal(far:kvs_get(key .. ".a"), 1)
end)

test("putting nil unlinks the key", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  spec.returns({ true }, f:kvs_put(key .. ".a", nil))
  spec.ok(f:kvs_commit())
  fails("No such file or directory", f:kvs_get(key .. ".a"))
end)

test("kvs_unlink removes a key or a directory with everything in it", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1, ["d.e.f"] = 2 })
  spec.returns({ true }, f:kvs_unlink(key .. ".a"))
  spec.ok(f:kvs_commit())
  fails("No such file or directory", f:kvs_get(key .. ".a"))
  equal(f:kvs_get(key .. ".d.e.f"), 2)
  f:kvs_unlink(key .. ".d")
  spec.ok(f:kvs_commit())
  fails("No such file or directory", f:kvs_get(key .. ".d.e.f"))
end)

test("unlinking a key that does not exist succeeds", function()
  local f, key = support.kvs()
  spec.returns({ true }, f:kvs_unlink(key .. ".nosuch.key"))
  spec.returns({ true }, f:kvs_commit())
end)

test("flux.NULL is stored as null and read as nil", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key, flux.NULL))
  spec.ok(f:kvs_commit())
  spec.returns({ n = 1 }, f:kvs_get(key))
  spec.same({ f:kvs_type(key) }, { "file" })
end)

test("a value that is not JSON is returned as a string", function()
  local f, key = support.kvs()
  -- The values are "hello", "hello world", "{", and the bytes 0, 255, 1.
  for base64, bytes in pairs {
    ["aGVsbG8="] = "hello",
    ["aGVsbG8gd29ybGQ="] = "hello world",
    ["ew=="] = "{",
    ["AP8B"] = "\0\255\1",
  } do
    support.put_raw(f, key, base64)
    equal(f:kvs_get(key), bytes)
    spec.returns({ "file", bytes }, f:kvs_type(key))
  end
end)

test("a value that is JSON text is decoded, whoever stored it", function()
  local f, key = support.kvs()
  -- The values are 42 and {"a":[1]}.
  support.put_raw(f, key, "NDI=")
  equal(f:kvs_get(key), 42)
  support.put_raw(f, key, "eyJhIjpbMV19")
  spec.same(f:kvs_get(key), { a = { 1 } })
end)

test("a key with an empty value is read as an empty string", function()
  local f, key = support.kvs()
  support.put_raw(f, key, "")
  equal(f:kvs_get(key), "")
  spec.returns({ "file", "" }, f:kvs_type(key))
end)

test("kvs_get reads what flux kvs put stored", function()
  support.needs_processes()
  local f, key = support.kvs()
  equal(support.flux("kvs put " .. key .. ".bare=hello " .. key .. ".empty= " .. key .. ".n=7"), "")
  equal(support.flux("kvs put " .. key .. ".text='\"quoted\"'"), "")
  equal(f:kvs_get(key .. ".bare"), "hello")
  equal(f:kvs_get(key .. ".empty"), "")
  equal(f:kvs_get(key .. ".n"), 7)
  equal(f:kvs_get(key .. ".text"), "quoted")
end)

test("flux kvs get reads what kvs_put stored", function()
  support.needs_processes()
  local f, key = support.kvs()
  support.put(f, key, { text = "hello", n = 7, t = { a = 1 } })
  equal(support.flux("kvs get " .. key .. ".text"), '"hello"\n')
  equal(support.flux("kvs get " .. key .. ".n"), "7\n")
  equal(support.flux("kvs get " .. key .. ".t"), '{"a":1}\n')
end)

test("kvs_get of a directory is an error", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  fails("Is a directory", f:kvs_get(key))
  fails("Is a directory", f:kvs_get ".")
end)

test("a path that leads through a value does not exist", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  fails("No such file or directory", f:kvs_get(key .. ".a.b"))
end)

test("a commit that fails changes nothing", function()
  local f, key = support.kvs()
  support.put(f, key, { old = 1 })
  spec.ok(f:kvs_put(key .. ".fresh", 2))
  spec.ok(f:kvs_put(key .. ".old", 2))
  -- The root is not a valid key, so this commit fails.
  local put, err = f:kvs_put(".", 3)
  if put then
    fails("Invalid argument", f:kvs_commit())
    -- The failed transaction is dropped, not retried.
    spec.returns({ true }, f:kvs_commit())
    fails("No such file or directory", f:kvs_get(key .. ".fresh"))
    equal(f:kvs_get(key .. ".old"), 1)
  else
    equal(err, "Invalid argument")
  end
end)

test("puts after a failed commit take effect", function()
  local f, key = support.kvs()
  f:kvs_put(".", 1)
  f:kvs_commit()
  support.put(f, key, { a = 1 })
  equal(f:kvs_get(key .. ".a"), 1)
end)

test("an empty key is refused and the transaction stays as it was", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key, 1))
  fails("Invalid argument", f:kvs_put("", 2))
  fails("Invalid argument", f:kvs_unlink "")
  fails("Invalid argument", f:kvs_symlink("", "x"))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 1)
  fails("Invalid argument", f:kvs_get "")
end)

test("a value that JSON cannot hold is refused and the transaction stays as it was", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key, 1))
  raises("function at %.a", f.kvs_put, f, key, { a = print })
  raises("bad argument", f.kvs_put, f, key, print)
  raises("bad argument", f.kvs_put, f, key, 0 / 0)
  raises("bad argument", f.kvs_put, f, key, "\255")
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 1)
end)

test("leading, trailing and repeated dots in a key are ignored", function()
  local f, key = support.kvs()
  spec.ok(f:kvs_put(key .. "..a.", 1))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key .. ".a"), 1)
  equal(f:kvs_get("." .. key .. "...a"), 1)
end)

test("a number used as a key means its decimal text", function()
  local f, key = support.kvs()
  support.put(f, key, { ["1"] = "one" })
  equal(f:kvs_get(key .. ".1"), "one")
  fails("No such file or directory", f:kvs_get(123456789))
end)

test("key names may hold any characters", function()
  local f, key = support.kvs()
  for _, name in ipairs { "with space", "ünïcödé", "a/b", "[x]", "%d", ("long"):rep(100) } do
    spec.ok(f:kvs_put(key .. "." .. name, name))
  end
  spec.ok(f:kvs_commit())
  for _, name in ipairs { "with space", "ünïcödé", "a/b", "[x]", "%d", ("long"):rep(100) } do
    equal(f:kvs_get(key .. "." .. name), name)
  end
end)

test("reading a symlink reads its target", function()
  local f, key = support.kvs()
  support.put(f, key, { target = "this is the target" })
  spec.returns({ true }, f:kvs_symlink(key .. ".link", key .. ".target"))
  spec.returns({ true }, f:kvs_commit())
  equal(f:kvs_get(key .. ".link"), "this is the target")
  spec.returns({ "symlink", key .. ".target" }, f:kvs_type(key .. ".link"))
end)

test("a symlink to a directory can be part of a path", function()
  local f, key = support.kvs()
  support.put(f, key, { ["d.a"] = 1 })
  f:kvs_symlink(key .. ".link", key .. ".d")
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key .. ".link.a"), 1)
  support.put(f, key, { ["link.b"] = 2 })
  equal(f:kvs_get(key .. ".d.b"), 2)
end)

test("a symlink may point to a key that does not exist", function()
  local f, key = support.kvs()
  f:kvs_symlink(key .. ".link", key .. ".nowhere")
  spec.ok(f:kvs_commit())
  fails("No such file or directory", f:kvs_get(key .. ".link"))
  spec.returns({ "symlink", key .. ".nowhere" }, f:kvs_type(key .. ".link"))
end)

test("reading a symlink that leads to itself is an error", function()
  local f, key = support.kvs()
  f:kvs_symlink(key .. ".a", key .. ".b")
  f:kvs_symlink(key .. ".b", key .. ".a")
  spec.ok(f:kvs_commit())
  fails("Too many levels of symbolic links", f:kvs_get(key .. ".a"))
end)

test("unlinking a symlink keeps its target", function()
  local f, key = support.kvs()
  support.put(f, key, { target = 1 })
  f:kvs_symlink(key .. ".link", key .. ".target")
  f:kvs_commit()
  f:kvs_unlink(key .. ".link")
  spec.ok(f:kvs_commit())
  fails("No such file or directory", f:kvs_get(key .. ".link"))
  equal(f:kvs_get(key .. ".target"), 1)
end)

test("kvs_type of a value returns 'file' and the value", function()
  local f, key = support.kvs()
  for _, value in ipairs { "text", 42, false, { a = 1 } } do
    f:kvs_put(key, value)
    f:kvs_commit()
    spec.returns({ "file", value }, f:kvs_type(key))
  end
end)

test("kvs_type of a directory returns 'dir' and the directory", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  local kind, dir = f:kvs_type(key)
  equal(kind, "dir")
  equal(type(dir), "userdata")
  equal(tostring(dir), key)
  equal(dir.a, 1)
end)

test("kvs_type of the root returns 'dir'", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  local kind, dir = f:kvs_type "."
  equal(kind, "dir")
  equal(dir[key].a, 1)
end)

test("kvs_type of a directory behind a symlink returns 'dir'", function()
  local f, key = support.kvs()
  support.put(f, key, { ["d.sub.a"] = 1 })
  f:kvs_symlink(key .. ".link", key .. ".d")
  spec.ok(f:kvs_commit())
  local kind, dir = f:kvs_type(key .. ".link.sub")
  equal(kind, "dir")
  equal(dir.a, 1)
end)

test("a value can replace a directory", function()
  local f, key = support.kvs()
  support.put(f, key, { ["t.foo"] = "bar" })
  equal(f:kvs_type(key .. ".t"), "dir")
  support.put(f, key, { t = "bar" })
  spec.returns({ "file", "bar" }, f:kvs_type(key .. ".t"))
end)

test("kvs_type fails for a key that does not exist", function()
  local f, key = support.kvs()
  fails("No such file or directory", f:kvs_type(key))
end)

test("integers keep all of their digits in Lua 5.3 and later", function()
  if not math.type then
    spec.skip "this Lua has no integers"
  end
  local f, key = support.kvs()
  for _, n in ipairs { math.maxinteger, math.mininteger, -1, 0 } do
    f:kvs_put(key, n)
    f:kvs_commit()
    local got = f:kvs_get(key)
    equal(got, n)
    equal(math.type(got), "integer")
  end
end)

test("the error for a key that was put but not committed says so", function()
  local f, key = support.kvs()
  local function pending(name, ...)
    local _, detail = fails("No such file or directory", ...)
    equal(detail, ("'%s' is put on this handle, but not committed"):format(key .. name))
  end
  spec.ok(f:kvs_put(key .. ".a.b", 1))
  pending(".a.b", f:kvs_get(key .. ".a.b"))
  pending(".a.b", f:kvs_get("." .. key .. "..a.b."))
  pending(".a.b", f:kvs_type(key .. ".a.b"))
  -- The pending key would also create these directories.
  pending(".a.b", f:kvs_get(key .. ".a"))
  pending(".a.b", f:kvsdir("%s.a", key))
  pending(".a.b", f:kvsdir(key))
  spec.ok(f:kvs_symlink(key .. ".link", key .. ".a"))
  pending(".link", f:kvs_get(key .. ".link.b"))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key .. ".link.b"), 1)
end)

test("the error for a missing key does not mention unrelated pending puts", function()
  local f, key = support.kvs()
  local other = support.open()
  spec.ok(f:kvs_put(key .. ".a.b", 1))
  for _, name in ipairs { ".a.b.c", ".a.bc", ".a.c", ".b" } do
    local _, detail = fails("No such file or directory", f:kvs_get(key .. name))
    equal(detail, nil)
  end
  local _, detail = fails("No such file or directory", other:kvs_get(key .. ".a.b"))
  equal(detail, nil)
  for _, unlinked in ipairs { ".a.b", ".a", "" } do
    spec.ok(f:kvs_put(key .. ".a.b", 1))
    spec.ok(f:kvs_unlink(key .. unlinked))
    local _, detail = fails("No such file or directory", f:kvs_get(key .. ".a.b"))
    equal(detail, nil)
  end
  spec.ok(f:kvs_put(key .. ".a.b", 1))
  spec.ok(f:kvs_put(".", 1))
  fails("Invalid argument", f:kvs_commit())
  _, detail = fails("No such file or directory", f:kvs_get(key .. ".a.b"))
  equal(detail, nil)
end)

test("the error for a key says so if a pending put would change its type", function()
  local f, key = support.kvs()
  support.put(f, key, { ["dir.a"] = 1, value = 1 })
  spec.ok(f:kvs_put(key .. ".dir", 2))
  spec.ok(f:kvs_put(key .. ".value.b", 2))
  local _, detail = fails("Is a directory", f:kvs_get(key .. ".dir"))
  equal(detail, ("'%s.dir' is put on this handle, but not committed"):format(key))
  _, detail = fails("Not a directory", f:kvsdir(key .. ".value"))
  equal(detail, ("'%s.value.b' is put on this handle, but not committed"):format(key))
end)

test("the error for a commit of the root says that the root is not a key", function()
  local f, key = support.kvs()
  for _, root in ipairs { ".", ".." } do
    spec.ok(f:kvs_put(key, 1))
    spec.ok(f:kvs_put(root, 1))
    local _, detail = fails("Invalid argument", f:kvs_commit())
    spec.matches(detail, "^'%.' is the root")
  end
end)

-- Makes a symlink into another namespace. A commit cannot follow it.
local function link_to_other_namespace(f, key)
  local dirent = { type = "symlink", ver = 1, data = { namespace = "spec-other", target = "x" } }
  local op = { key = key, flags = 0, dirent = dirent }
  spec.ok(f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = { op } }))
end

test("a failed commit names the key and the symlink that leads into another namespace", function()
  local f, key = support.kvs()
  link_to_other_namespace(f, key .. ".out")
  spec.ok(f:kvs_put(key .. ".out.a", 1))
  local cannot = "'%s' cannot be committed: the symlink '%s.out' leads into the namespace 'spec-other'"
  local _, detail = fails("Invalid argument", f:kvs_commit())
  equal(detail, cannot:format(key .. ".out.a", key))
  for n = 1, 9 do
    spec.ok(f:kvs_put(key .. ".a.b.c" .. n, 1))
  end
  spec.ok(f:kvs_put(key .. ".out.b.c.d", 1))
  spec.ok(f:kvs_unlink(key .. ".z"))
  _, detail = fails("Invalid argument", f:kvs_commit())
  equal(detail, cannot:format(key .. ".out.b.c.d", key))
  spec.ok(f:kvs_symlink(key .. ".in", key .. ".out"))
  spec.ok(f:kvs_symlink(key .. ".loop", key .. ".loop"))
  spec.ok(f:kvs_commit())
  local dir = spec.ok(f:kvsdir())
  dir[key .. ".in.x"] = 1
  _, detail = fails("Invalid argument", dir:commit())
  equal(detail, cannot:format(key .. ".in.x", key))
end)

test("a commit to a missing namespace fails and names the first few keys", function()
  local process = support.start_apart(
    [[
      local flux = require "flux"
      local f = assert(flux.new())
      f:kvs_put("b", 1)
      print(f:kvs_commit())
      for n = 1, 7 do f:kvs_put("a." .. n, n) end
      print(f:kvs_commit())
    ]],
    nil,
    "FLUX_KVS_NAMESPACE=spec-nowhere"
  )
  local function failed(keys)
    return ("nil\tOperation not supported\t95\tnot committed: %s\n"):format(keys)
  end
  equal(process:read "*a", failed "'b'" .. failed "'a.1', 'a.2', 'a.3', 'a.4', 'a.5' and 2 more")
  process:close()
end)

test("an invalid key is an error that says why", function()
  local f, key = support.kvs()
  for text, wrong in pairs { ["the key is empty"] = "", ["the key holds a NUL"] = key .. "\0" } do
    for _, call in ipairs {
      { "kvs_put", wrong, 1 },
      { "kvs_put", wrong, nil, n = 3 },
      { "kvs_get", wrong },
      { "kvs_unlink", wrong },
      { "kvs_symlink", wrong, "target" },
      { "kvs_type", wrong },
      { "kz_open", wrong, "w" },
    } do
      local _, detail = fails("Invalid argument", f[call[1]](f, support.unpack(call, 2, call.n or #call)))
      equal(detail, text)
    end
  end
end)
