-- The handle: fields, attributes, the log, and close.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

test("rank and size are numbers and match the broker's attributes", function()
  local f = support.open()
  equal(type(f.rank), "number")
  equal(type(f.size), "number")
  equal(("%d"):format(f.rank), f:getattr "rank")
  equal(("%d"):format(f.size), f:getattr "size")
end)

test("rank and size are integers in Lua 5.3 and later", function()
  if not math.type then
    spec.skip "this Lua has no integers"
  end
  local f = support.open()
  equal(math.type(f.rank), "integer")
  equal(math.type(f.size), "integer")
end)

test("a handle at another rank reports that rank", function()
  local f = support.open_at(1)
  equal(f.rank, 1)
  equal(f:getattr "rank", "1")
end)

test("arity is a number in a k-ary tree and an error in other trees", function()
  local f = support.open()
  local arity, err = f.arity
  if arity == nil then
    fails(nil, arity, err or "lost by the assignment")
  else
    equal(type(arity), "number")
    equal(f:getattr("tbon.topo"):match "^kary:(%d+)$", ("%d"):format(arity))
  end
end)

test("an unknown field of a handle is nil", function()
  local f = support.open()
  equal(f.nosuch, nil)
  equal(f[1], nil)
  equal(f[true], nil)
end)

test("assigning to a field of a handle raises an error", function()
  local f = support.open()
  raises("^[^\n]*handle.lua:%d+: cannot set field 'rank' of a flux handle: it can only be read$", function()
    f.rank = 7
  end)
  equal(f.rank, support.open().rank)
  raises("cannot set field 'mine' of a flux handle: keep the value in a variable", function()
    f.mine = 1
  end)
  equal(f.mine, nil)
  raises("cannot set an index of a flux handle", function()
    f[1] = 1
  end)
  local closed = spec.ok(flux.new())
  closed:close()
  raises("cannot set field 'mine' of a flux handle", function()
    closed.mine = 1
  end)
  raises("flux handle expected", getmetatable(f).__newindex, {}, "mine", 1)
end)

test("getattr returns a string", function()
  local f = support.open()
  equal(type(f:getattr "size"), "string")
  spec.matches(f:getattr "version", "^%d+%.%d+")
end)

test("getattr fails for an attribute that does not exist", function()
  local f = support.open()
  fails("No such file or directory", f:getattr "nosuchthing")
  fails("No such file or directory", f:getattr "")
end)

test("getattr finds an attribute that was set after the handle was opened", function()
  local f = support.open()
  spec.ok(f:rpc("attr.set", { name = "test.flux-lua-spec", value = "first" }))
  equal(f:getattr "test.flux-lua-spec", "first")
  spec.ok(f:rpc("attr.set", { name = "test.flux-lua-spec", value = "second" }))
  equal(f:getattr "test.flux-lua-spec", "second")
  local removed, err = f:rpc("attr.rm", { name = "test.flux-lua-spec" })
  -- Real brokers before 0.80 cannot remove attributes.
  if not removed and (support.is_embedded or err ~= "Function not implemented") then
    error(err)
  end
end)

local LEVELS = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" }

-- Returns the number of lines that the broker's log has received so far.
local function logged(f)
  return spec.ok(f:rpc("log.stats-get", {})).count
end

test("log accepts every syslog level by name and by number", function()
  local f = support.open()
  for number, name in ipairs(LEVELS) do
    -- A real broker prints the more severe levels to its terminal, so skip them there.
    if number > 5 or support.is_embedded then
      local before = logged(f)
      spec.returns({ 0 }, f:log(name, "flux-lua's spec: %s", name))
      spec.returns({ 0 }, f:log(number - 1, "flux-lua's spec: %d", number - 1))
      spec.ok(logged(f) >= before + 2, "the log should have grown by two lines")
    end
  end
end)

test("a log line reaches the broker's log with its text formatted and its level", function()
  support.needs_processes()
  local f = support.open()
  local mark = support.unique "logged"
  f:log("info", "%s has %d %%", mark, 7)
  spec.matches(support.flux "dmesg", "info[^\n]*" .. mark:gsub("%-", "%%-") .. " has 7 %%")
end)

test("log raises an error for an unknown level", function()
  local f = support.open()
  for _, wrong in ipairs { "loud", "", 8, -1, 1.5, true, {} } do
    raises("bad argument", f.log, f, wrong, "text")
  end
  raises("#1 to 'log'", function()
    f:log("loud", "text")
  end)
end)

test("log writes nothing if the format does not fit its arguments", function()
  local f = support.open()
  local before = logged(f)
  local _, err = fails(nil, f:log("debug", "%d", "seven"))
  equal(err, nil)
  if support.is_embedded then
    equal(logged(f), before)
  end
end)

test("a log text may be empty, long, or have several lines", function()
  local f = support.open()
  for _, text in ipairs { "", "\n", "a\nb\nc", ("long "):rep(5000), "ünïcödé" } do
    spec.returns({ 0 }, f:log("debug", "%s", text))
  end
end)

test("tostring tells an open handle from a closed one", function()
  local f = spec.ok(flux.new())
  spec.matches(tostring(f), "flux")
  spec.ok(not tostring(f):find "closed", "an open handle should not say that it is closed")
  f:close()
  spec.matches(tostring(f), "closed")
end)

test("close returns nothing, and closing again is allowed", function()
  local f = spec.ok(flux.new())
  spec.returns({}, f:close())
  spec.returns({}, f:close())
end)

test("every method refuses a closed handle", function()
  local f = support.open()
  local closed = spec.ok(flux.new())
  closed:close()
  for _, call in ipairs(support.handle_calls) do
    raises("closed", f[call[1]], closed, support.unpack(call, 2))
  end
end)

test("calling any method on a closed handle raises an error", function()
  local f = spec.ok(flux.new())
  f:close()
  for _, call in ipairs(support.handle_calls) do
    raises("closed", function()
      return f[call[1]](f, support.unpack(call, 2))
    end)
  end
end)

test("reading any field of a closed handle raises an error", function()
  local f = spec.ok(flux.new())
  f:close()
  for _, name in ipairs { "rank", "size", "arity" } do
    raises("closed", function()
      return f[name]
    end)
  end
end)

test("closing a handle discards puts that were not committed", function()
  local f, key = support.kvs()
  local other = spec.ok(flux.new())
  spec.ok(other:kvs_put(key, 1))
  other:close()
  fails("No such file or directory", f:kvs_get(key))
end)

test("closing one handle leaves other handles open", function()
  local f = support.open()
  spec.ok(flux.new()):close()
  spec.same(spec.ok(f:rpc("broker.ping", { seq = 1 })).seq, 1)
end)

test("an unreferenced handle is collected", function()
  local weak = setmetatable({ spec.ok(flux.new()) }, { __mode = "v" })
  collectgarbage()
  collectgarbage()
  equal(weak[1], nil)
end)

test("a directory keeps its handle alive", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  local dir = spec.ok(spec.ok(flux.new()):kvsdir(key))
  collectgarbage()
  collectgarbage()
  equal(dir.a, 1)
end)

-- Compiles a chunk that needs the syntax of Lua 5.4.
local function load_close(text)
  local chunk = support.load(text)
  if not chunk then
    spec.skip "this Lua has no <close>"
  end
  return chunk
end

test("<close> closes a handle at the end of its block", function()
  local block = load_close "local f <close> = ...; return f:getattr 'size'"
  local f = spec.ok(flux.new())
  equal(block(f), ("%d"):format(support.open().size))
  raises("closed", f.getattr, f, "size")
end)

test("<close> closes a handle when an error leaves its block", function()
  local block = load_close "local f <close> = ...; error('left', 0)"
  local f = spec.ok(flux.new())
  raises("^left$", block, f)
  raises("closed", f.getattr, f, "size")
end)

test("<close> of a closed handle does nothing", function()
  local block = load_close "local f <close> = ...; f:close(); return true"
  equal(block(spec.ok(flux.new())), true)
end)
