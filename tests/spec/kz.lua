-- Byte streams in the KVS, and watchers of them.

local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local EAGAIN = 11

-- Writes a whole stream.
local function write(f, key, ...)
  local kz = spec.ok(f:kz_open(key, "w"))
  for _, text in ipairs { ... } do
    equal(kz:write(text), #text)
  end
  kz:close()
end

-- Reads a stream to its end.
local function read(f, key)
  local kz = spec.ok(f:kz_open(key))
  local blocks = {}
  while true do
    local block = spec.ok(kz:read())
    blocks[#blocks + 1] = block.data
    if block.eof then
      return table.concat(blocks), #blocks
    end
  end
end

-- Watches a stream. The table that is returned collects the text and the end.
local function watch(f, key, fields)
  local seen = { text = "", calls = 0 }
  fields = fields or {}
  fields.key = key
  fields.handler = function(w, data, err)
    seen.calls = seen.calls + 1
    seen.watcher = w
    if data then
      equal(err, nil)
      spec.ok(#data > 0, "data is empty")
      seen.text = seen.text .. data
    else
      seen.ended, seen.err = true, err
      f:reactor_stop()
    end
  end
  return seen, spec.ok(f:iowatcher(fields))
end

test("a stream is read back block by block up to its end", function()
  local f, key = support.kvs()
  local kz = spec.ok(f:kz_open(key, "w"))
  equal(type(kz), "userdata")
  spec.returns({ 5 }, kz:write "hello")
  spec.returns({ 6 }, kz:write "\nworld")
  kz:close()
  local reader = spec.ok(f:kz_open(key, "r"))
  spec.same(reader:read(), { data = "hello", eof = false })
  spec.same(reader:read(), { data = "\nworld", eof = false })
  spec.same(reader:read(), { eof = true })
  spec.same(reader:read(), { eof = true })
  reader:close()
end)

test("mode defaults to 'r', and only its first letter counts", function()
  local f, key = support.kvs()
  spec.ok(f:kz_open(key, "write")):close()
  for _, mode in ipairs { "r", "read", "rb" } do
    spec.same(f:kz_open(key, mode):read(), { eof = true })
  end
  spec.same(f:kz_open(key):read(), { eof = true })
  spec.same(f:kz_open(key, nil):read(), { eof = true })
end)

test("any other mode is an error", function()
  local f, key = support.kvs()
  for _, mode in ipairs { "", "a", "x", "R", "+r" } do
    fails("Expected 'r' or 'w' mode for kz_open", f:kz_open(key, mode))
  end
  for _, mode in ipairs { {}, true, 42 } do
    spec.refuses(f.kz_open, f, key, mode)
  end
end)

test("a stream may hold any byte", function()
  local f, key = support.kvs()
  local bytes = {}
  for n = 0, 255 do
    bytes[#bytes + 1] = string.char(n)
  end
  for length = 0, 5 do
    bytes[#bytes + 1] = ("\0"):rep(length)
  end
  local all = table.concat(bytes)
  write(f, key, all, "\0", "\255\254", all)
  equal(read(f, key), all .. "\0" .. "\255\254" .. all)
end)

test("a stream carries a megabyte in one block or in many", function()
  local f, key = support.kvs()
  local block = ("0123456789abcdef"):rep(65536)
  write(f, key, block)
  spec.ok(read(f, key) == block, "the text differs")
  local piece = ("x"):rep(16384)
  local pieces = {}
  for n = 1, 64 do
    pieces[n] = piece
  end
  write(f, key, support.unpack(pieces))
  local text, count = read(f, key)
  equal(#text, 1048576)
  equal(count, 64)
end)

test("writing an empty string writes no block", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  spec.returns({ 0 }, kz:write "")
  kz:write "x"
  spec.returns({ 0 }, kz:write "")
  kz:close()
  local text, count = read(f, key)
  equal(text, "x")
  equal(count, 1)
end)

test("writing anything but a string or a number raises an error", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  for _, wrong in ipairs { {}, true, print } do
    raises("bad argument", kz.write, kz, wrong)
  end
  raises("bad argument", kz.write, kz)
  kz:close()
  equal(read(f, key), "")
end)

test("read fails with EAGAIN until the next block is written", function()
  local f, key = support.kvs()
  local reader = spec.ok(f:kz_open(key, "r"))
  local function fails_again()
    local data, err, errnum = reader:read()
    equal(data, nil)
    spec.matches(err, "Resource temporarily unavailable")
    equal(errnum, EAGAIN)
  end
  fails_again()
  local writer = support.open():kz_open(key, "w")
  fails_again()
  writer:write "one"
  spec.same(reader:read(), { data = "one", eof = false })
  fails_again()
  writer:write "two"
  spec.same(reader:read(), { data = "two", eof = false })
  fails_again()
  writer:close()
  spec.same(reader:read(), { eof = true })
end)

test("opening for writing replaces the stream", function()
  local f, key = support.kvs()
  write(f, key, "old one", "old two", "old three")
  write(f, key, "new")
  equal(read(f, key), "new")
end)

test("opening for writing replaces a value or a directory", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1, ["b.c"] = 2 })
  write(f, key .. ".a", "stream")
  equal(read(f, key .. ".a"), "stream")
  write(f, key .. ".b", "stream")
  equal(read(f, key .. ".b"), "stream")
  fails("No such file or directory", f:kvs_get(key .. ".b.c"))
end)

test("opening a stream does not commit other pending puts", function()
  local f, key = support.kvs()
  f:kvs_put(key .. ".pending", 1)
  write(f, key .. ".stream", "x")
  fails("No such file or directory", f:kvs_get(key .. ".pending"))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key .. ".pending"), 1)
  equal(read(f, key .. ".stream"), "x")
end)

test("read fails on a writer, and write fails on a reader", function()
  local f, key = support.kvs()
  local writer, reader = f:kz_open(key, "w"), f:kz_open(key, "r")
  fails("Invalid argument", writer:read())
  fails("Invalid argument", reader:write "x")
  writer:close()
  reader:close()
  equal(read(f, key), "")
end)

test("using a closed stream fails, and closing it again is allowed", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  kz:write "x"
  kz:close()
  kz:close()
  spec.matches(spec.refuses(kz.write, kz, "y"), "closed")
  spec.matches(tostring(kz), "closed")
  local reader = f:kz_open(key)
  reader:close()
  reader:close()
  spec.matches(spec.refuses(reader.read, reader), "closed")
  equal(read(f, key), "x")
end)

test("tostring shows the key", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  spec.ok(tostring(kz):find(key, 1, true), tostring(kz))
  kz:close()
end)

test("collecting an open writer ends its stream", function()
  local f, key = support.kvs()
  local function start()
    f:kz_open(key, "w"):write "unfinished"
  end
  start()
  collectgarbage()
  collectgarbage()
  -- The commit that ends the stream is asynchronous. Later commits come after it.
  support.put(f, key .. "-after", { a = 1 })
  spec.ok(f:kvs_unlink(key .. "-after"))
  spec.ok(f:kvs_commit())
  equal(read(f, key), "unfinished")
end)

test("<close> closes a stream", function()
  local f, key = support.kvs()
  local chunk = support.load [[
    local f, key = ...
    local kz <close> = f:kz_open(key, "w")
    kz:write "closed"
  ]]
  if not chunk then
    spec.skip "this Lua has no <close>"
  end
  chunk(f, key)
  equal(read(f, key), "closed")
end)

test("methods raise an error if self is not a stream", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  for _, name in ipairs { "read", "write", "close" } do
    for _, wrong in ipairs { f, {}, 42, "text", io.stdout } do
      raises("bad argument", kz[name], wrong, "x")
    end
  end
  equal(kz.nosuch, nil)
  kz:close()
end)

test("an invalid key is an error", function()
  local f = support.open()
  for _, odd in ipairs { "", "a\0b" } do
    spec.refuses(f.kz_open, f, odd, "w")
  end
  for _, wrong in ipairs { {}, true, print } do
    raises("bad argument", f.kz_open, f, wrong)
  end
  raises("bad argument", f.kz_open, f)
end)

test("methods of a stream raise an error when its handle is closed", function()
  local f, key = support.kvs()
  local g = support.open()
  local writer, reader = g:kz_open(key, "w"), g:kz_open(key)
  writer:write "x"
  g:close()
  raises("closed", writer.write, writer, "y")
  raises("closed", reader.read, reader)
  pcall(writer.close, writer)
  collectgarbage()
  equal(f:kz_open(key):read().data, "x")
end)

test("a second writer replaces the stream of the first", function()
  local f, key = support.kvs()
  local first = f:kz_open(key, "w")
  first:write "first"
  first:close()
  local second = f:kz_open(key, "w")
  second:write "second"
  second:close()
  equal(read(f, key), "second")
end)

test("a stream can be read while another process writes it", function()
  local f, key = support.kvs()
  local process = support.start(([[
    local kz = require("flux").new():kz_open("%s", "w")
    for n = 1, 50 do
      kz:write(n .. "\n")
    end
    kz:close()
  ]]):format(key))
  local reader = f:kz_open(key)
  local text, deadline = "", os.time() + support.patience
  while true do
    local block, err, errnum = reader:read()
    if block then
      text = text .. (block.data or "")
      if block.eof then
        break
      end
    else
      equal(errnum, EAGAIN, err)
    end
    spec.ok(os.time() < deadline, "reading took too long")
  end
  local want = {}
  for n = 1, 50 do
    want[n] = n .. "\n"
  end
  equal(text, table.concat(want))
  equal(process:read "*a", "")
  process:close()
end)

test("a watcher gets an existing stream and nil at its end", function()
  local f, key = support.kvs()
  write(f, key, "hello\n", "world")
  local seen, w = watch(f, key)
  support.run(f)
  equal(seen.text, "hello\nworld")
  equal(seen.calls, 3)
  equal(seen.err, nil)
  equal(seen.watcher, w)
  equal(f:reactor(), 0)
end)

test("the stream of a watcher is its field kz", function()
  local f, key = support.kvs()
  local _, w = watch(f, key)
  equal(type(w.kz), "userdata")
  spec.ok(tostring(w.kz):find(key, 1, true), tostring(w.kz))
  equal(w.key, key)
  w:remove()
end)

test("a watcher waits for a stream and follows it while it is written", function()
  local f, key = support.kvs()
  local g = support.open()
  local seen, w = watch(f, key)
  support.run_for(f, 10)
  equal(seen.calls, 0)
  local kz = g:kz_open(key, "w")
  local pieces, n = { "a", "b\n", "\0\255", "" }, 0
  f:timer {
    timeout = 3,
    oneshot = false,
    handler = function(_, timer)
      n = n + 1
      if pieces[n] then
        kz:write(pieces[n])
      else
        timer:remove()
        kz:close()
      end
    end,
  }
  support.run(f)
  equal(seen.text, "ab\n\0\255")
  equal(seen.calls, 4)
  w:remove()
end)

test("a watcher follows a megabyte", function()
  local f, key = support.kvs()
  local seen = watch(f, key)
  local block = ("0123456789abcdef"):rep(8192)
  local kz = support.open():kz_open(key, "w")
  for _ = 1, 8 do
    kz:write(block)
  end
  kz:close()
  support.run(f)
  spec.ok(seen.text == block:rep(8), "the text differs")
end)

test("a watcher follows a stream that another process writes", function()
  local f, key = support.kvs()
  local seen = watch(f, key)
  local process = support.start(([[
    local kz = require("flux").new():kz_open("%s", "w")
    for n = 1, 50 do
      kz:write(n .. "\n")
    end
    kz:close()
  ]]):format(key))
  support.run(f)
  local want = {}
  for n = 1, 50 do
    want[n] = n .. "\n"
  end
  equal(seen.text, table.concat(want))
  equal(process:read "*a", "")
  process:close()
end)

test("a watcher follows a stream that is written at another rank", function()
  local far = support.open_at(1)
  local f, key = support.kvs()
  local seen = watch(f, key)
  write(far, key, "from", " afar")
  support.run(f)
  equal(seen.text, "from afar")
end)

test("a watcher follows a stream behind a symlink", function()
  local f, key = support.kvs()
  support.put(f, key, { ["target.x"] = 0 })
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = watch(f, key .. ".link.stream")
  support.run_for(f, 5)
  write(support.open(), key .. ".target.stream", "one", "two")
  support.run(f)
  equal(seen.text, "onetwo")
end)

test("two watchers of one stream both get all of it", function()
  local f, key = support.kvs()
  local ends = 0
  local texts = { "", "" }
  for n = 1, 2 do
    f:iowatcher {
      key = key,
      handler = function(_, data)
        texts[n] = texts[n] .. (data or "")
        ends = ends + (data and 0 or 1)
      end,
    }
  end
  write(f, key, "one", "two")
  equal(f:reactor(), 0)
  equal(ends, 2)
  spec.same(texts, { "onetwo", "onetwo" })
end)

test("a watcher with nofollow stops at the last block written so far", function()
  local f, key = support.kvs()
  local kz = f:kz_open(key, "w")
  kz:write "so far"
  local seen = watch(f, key, { kz_flags = { "nofollow" } })
  support.run(f)
  equal(seen.text, "so far")
  equal(seen.err, nil)
  equal(f:reactor(), 0)
  kz:close()
  seen = watch(f, key, { kz_flags = { "nofollow" } })
  support.run(f)
  equal(seen.text, "so far")
  equal(seen.calls, 2)
end)

test("a watcher with nofollow ends at once if the stream does not exist", function()
  local f, key = support.kvs()
  local seen = watch(f, key, { kz_flags = { "nofollow" } })
  support.run(f)
  equal(seen.calls, 1)
  equal(seen.ended, true)
  equal(f:reactor(), 0)
end)

test("unknown kz_flags are an error", function()
  local f, key = support.kvs()
  for _, wrong in ipairs { { "follow" }, { "nofollow", "nosuch" }, { 1 }, "nofollow", true } do
    fails("kz_open: unknown kz_flags", f:iowatcher { key = key, kz_flags = wrong, handler = print })
  end
  local w = spec.ok(f:iowatcher { key = key, kz_flags = {}, handler = print })
  w:remove()
  equal(f:reactor(), 0)
end)

test("a watcher of a key that is a value gets an error", function()
  local f, key = support.kvs()
  support.put(f, key, { a = "xxx" })
  local seen = watch(f, key .. ".a")
  support.run(f)
  equal(seen.text, "")
  equal(seen.err, "Not a directory")
  equal(f:reactor(), 0)
end)

test("a malformed block is an error for its readers", function()
  local f, key = support.kvs()
  support.put(f, key, { ["000000"] = "no block" })
  fails("Protocol error", f:kz_open(key):read())
  local seen = watch(f, key)
  support.run(f)
  spec.matches(seen.err, "Protocol error")
  equal(f:reactor(), 0)
end)

test("a removed watcher gets nothing more", function()
  local f, key = support.kvs()
  local count = 0
  f:iowatcher {
    key = key,
    handler = function(w)
      count = count + 1
      w:remove()
    end,
  }
  f:iowatcher({ key = key, handler = error }):remove()
  write(f, key, "one", "two")
  support.run_until(f, function()
    return count > 0
  end)
  support.run_for(f, 20)
  equal(count, 1)
  equal(f:reactor(), 0)
end)

test("after an error in the handler the next run delivers the next block", function()
  local f, key = support.kvs()
  write(f, key, "one", "two")
  local value, seen = {}, {}
  local w = f:iowatcher {
    key = key,
    handler = function()
      error(value)
    end,
  }
  equal(support.reactor_error(f), value)
  w.handler = function(_, data)
    seen[#seen + 1] = data
  end
  equal(f:reactor(), 0)
  spec.same(seen, { "two" })
end)

test("a key of the wrong type is named in the error", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print } do
    spec.matches(spec.refuses(f.iowatcher, f, { key = wrong, handler = print }), "key")
  end
  for _, odd in ipairs { "a\0b", "\255" } do
    spec.refuses(f.iowatcher, f, { key = odd, handler = print })
  end
  equal(f:reactor(), 0)
end)

test("assigning to a field of a stream raises an error", function()
  local f, key = support.kvs()
  local kz = spec.ok(f:kz_open(key))
  spec.raises("cannot set field 'mine' of a flux kz: keep the value", function()
    kz.mine = 1
  end)
end)

test("a failed kz_open names the key that was not committed", function()
  local f = support.open()
  local _, detail = spec.fails("Invalid argument", f:kz_open(".", "w"))
  spec.equal(detail, "not committed: '.'")
end)
