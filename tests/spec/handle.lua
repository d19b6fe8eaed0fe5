-- The handle (A2, B): its fields, attributes, the log, and its end.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

test("rank and size are numbers, and agree with the broker's attributes", function()
  local f = support.open()
  equal(type(f.rank), "number")
  equal(type(f.size), "number")
  equal(("%d"):format(f.rank), f:getattr "rank")
  equal(("%d"):format(f.size), f:getattr "size")
end)

test("rank and size are whole numbers where Lua has integers", function()
  if not math.type then
    spec.skip "this Lua has no integers"
  end
  local f = support.open()
  equal(math.type(f.rank), "integer")
  equal(math.type(f.size), "integer")
end)

test("a handle at another rank says so", function()
  local f = support.open_at(1)
  equal(f.rank, 1)
  equal(f:getattr "rank", "1")
end)

test("arity is the tree's, or an error where the tree has none", function()
  local f = support.open()
  local arity, err = f.arity
  if arity == nil then
    fails(nil, arity, err or "lost by the assignment")
  else
    equal(type(arity), "number")
    equal(f:getattr("tbon.topo"):match "^kary:(%d+)$", ("%d"):format(arity))
  end
end)

test("a field that a handle does not have is nil", function()
  local f = support.open()
  equal(f.nosuch, nil)
  equal(f[1], nil)
  equal(f[true], nil)
end)

test("a handle cannot be assigned to", function()
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

test("getattr of what is not there is an error", function()
  local f = support.open()
  fails("No such file or directory", f:getattr "nosuchthing")
  fails("No such file or directory", f:getattr "")
end)

test("getattr finds what was set since the handle was opened", function()
  local f = support.open()
  spec.ok(f:rpc("attr.set", { name = "test.flux-lua-spec", value = "first" }))
  equal(f:getattr "test.flux-lua-spec", "first")
  spec.ok(f:rpc("attr.rm", { name = "test.flux-lua-spec" }))
end)

local LEVELS = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" }

-- How many lines the broker's log has got since the broker started.
local function logged(f)
  return spec.ok(f:rpc("log.stats-get", {})).count
end

test("log takes each of syslog's levels, by name and by number", function()
  local f = support.open()
  for number, name in ipairs(LEVELS) do
    -- A real broker shows on its terminal what is more severe.
    if number > 5 or support.is_embedded then
      local before = logged(f)
      spec.returns({ 0 }, f:log(name, "flux-lua's spec: %s", name))
      spec.returns({ 0 }, f:log(number - 1, "flux-lua's spec: %d", number - 1))
      spec.ok(logged(f) >= before + 2, "two lines more")
    end
  end
end)

test("what is logged is in the broker's log, formatted, with its level", function()
  support.needs_processes()
  local f = support.open()
  local mark = support.unique "logged"
  f:log("info", "%s has %d %%", mark, 7)
  spec.matches(support.flux "dmesg", "info[^\n]*" .. mark:gsub("%-", "%%-") .. " has 7 %%")
end)

test("a level that does not exist is an error that names the argument", function()
  local f = support.open()
  for _, wrong in ipairs { "loud", "", 8, -1, 1.5, true, {} } do
    raises("bad argument", f.log, f, wrong, "text")
  end
  raises("#1 to 'log'", function()
    f:log("loud", "text")
  end)
end)

test("a log format that does not fit its arguments logs nothing", function()
  local f = support.open()
  local before = logged(f)
  local _, err = fails(nil, f:log("debug", "%d", "seven"))
  equal(err, nil)
  if support.is_embedded then
    equal(logged(f), before)
  end
end)

test("a log text may be empty, long, or of many lines", function()
  local f = support.open()
  for _, text in ipairs { "", "\n", "a\nb\nc", ("long "):rep(5000), "ünïcödé" } do
    spec.returns({ 0 }, f:log("debug", "%s", text))
  end
end)

test("tostring says what it is, of an open and of a closed handle", function()
  local f = spec.ok(flux.new())
  spec.matches(tostring(f), "flux")
  spec.ok(not tostring(f):find "closed", "it is open")
  f:close()
  spec.matches(tostring(f), "closed")
end)

test("close returns nothing, and a second close is no error", function()
  local f = spec.ok(flux.new())
  spec.returns({}, f:close())
  spec.returns({}, f:close())
end)

test("each method of a closed handle says that it is closed", function()
  local f = support.open()
  local closed = spec.ok(flux.new())
  closed:close()
  for _, call in ipairs(support.handle_calls) do
    raises("closed", f[call[1]], closed, support.unpack(call, 2))
  end
end)

test("a method called on a closed handle by its name says that it is closed", function()
  local f = spec.ok(flux.new())
  f:close()
  for _, call in ipairs(support.handle_calls) do
    raises("closed", function()
      return f[call[1]](f, support.unpack(call, 2))
    end)
  end
end)

test("each field of a closed handle says that it is closed", function()
  local f = spec.ok(flux.new())
  f:close()
  for _, name in ipairs { "rank", "size", "arity" } do
    raises("closed", function()
      return f[name]
    end)
  end
end)

test("what was put and not committed is gone with the handle", function()
  local f, key = support.kvs()
  local other = spec.ok(flux.new())
  spec.ok(other:kvs_put(key, 1))
  other:close()
  fails("No such file or directory", f:kvs_get(key))
end)

test("one handle's close leaves the others open", function()
  local f = support.open()
  spec.ok(flux.new()):close()
  spec.same(spec.ok(f:rpc("broker.ping", { seq = 1 })).seq, 1)
end)

test("a handle that nothing refers to is collected", function()
  local weak = setmetatable({ spec.ok(flux.new()) }, { __mode = "v" })
  collectgarbage()
  collectgarbage()
  equal(weak[1], nil)
end)

test("a handle lives while a directory or a message of it is used", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  local dir = spec.ok(spec.ok(flux.new()):kvsdir(key))
  collectgarbage()
  collectgarbage()
  equal(dir.a, 1)
end)

-- Chunks with syntax that only Lua 5.4 and later have.
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

test("<close> of a handle that was closed is no error", function()
  local block = load_close "local f <close> = ...; f:close(); return true"
  equal(block(spec.ok(flux.new())), true)
end)
