-- Lifetimes of reactor objects, handles, and values that handlers close over.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, raises = spec.test, spec.equal, spec.raises

local function collect()
  for _ = 1, 3 do
    collectgarbage()
  end
end

-- Returns one object of each kind. None of them fires, so `handler` is never called.
local function watchers(f, handler)
  local _, fd = support.fifo()
  return {
    timer = f:timer { timeout = 1e9, handler = handler },
    repeating = f:timer { timeout = 1e9, oneshot = false, handler = handler },
    msghandler = f:msghandler { pattern = "spec.nosuch", handler = handler },
    statwatcher = f:statwatcher { path = "/nonexistent", handler = handler },
    fdwatcher = f:fdwatcher { fd = fd, events = "r", handler = handler },
    iowatcher = f:iowatcher { fd = fd, handler = handler },
    stream = f:iowatcher { key = support.unique "stream", handler = handler },
    sighandler = f:sighandler { sigmask = { 12 }, handler = handler },
    kvswatcher = f:kvswatcher { key = support.unique "key", handler = handler },
  }
end

-- Returns a table whose values the collector may free.
local function weak(values)
  return setmetatable(values or {}, { __mode = "v" })
end

-- Returns the names of the values that were not collected.
local function names_left(values)
  local names = {}
  for name in pairs(values) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  return table.concat(names, " ")
end

test("a handle is collected together with handlers that close over it", function()
  local alive = weak()
  local function open()
    local f = spec.ok(flux.new())
    local handler = function()
      f:reactor_stop()
    end
    for name, w in pairs(watchers(f, handler)) do
      alive[name] = w
    end
    alive.handle, alive.handler = f, handler
    f:reactor "nowait"
  end
  open()
  collect()
  equal(names_left(alive), "")
end)

test("a handle is collected although its own watcher's table refers to it", function()
  local alive = weak()
  local function open()
    local f = spec.ok(flux.new())
    local w = f:timer { timeout = 1e9, handler = print, handle = f }
    w.self = w
    alive.handle, alive.timer = f, w
  end
  open()
  collect()
  equal(names_left(alive), "")
end)

test("a watcher keeps its handle alive", function()
  local alive = weak()
  local w = (function()
    local f = spec.ok(flux.new())
    alive.handle = f
    return f:timer { timeout = 1, handler = print }
  end)()
  collect()
  equal(type(alive.handle), "userdata")
  alive.handle:close()
  w:remove()
end)

test("an unreferenced watcher still fires", function()
  local f = support.open()
  local count = 0
  local function handler(w)
    count = count + 1
    return w
  end
  f:timer { timeout = 1, handler = handler }
  f:msghandler {
    pattern = "broker.ping",
    handler = function(_, _, mh)
      handler()
      mh:remove()
    end,
  }
  local reader, fd, writer = support.fifo()
  f:fdwatcher {
    fd = fd,
    events = "r",
    handler = function(w)
      reader:read "*l"
      handler()
      w:remove()
    end,
  }
  f:sighandler {
    sigmask = { 10 },
    handler = function(_, w)
      handler()
      w:remove()
    end,
  }
  f:kvswatcher {
    key = support.unique "key",
    handler = function(w)
      handler()
      w:remove()
    end,
  }
  collect()
  writer:write "x\n"
  support.kill "USR1"
  f:send("broker.ping", {})
  collect()
  equal(f:reactor(), 0)
  equal(count, 5)
end)

test("a removed watcher is collected while its handle is open", function()
  local f = support.open()
  local alive = weak()
  local function make()
    local handler = function() end
    alive.handler = handler
    for name, w in pairs(watchers(f, function()
      return handler
    end)) do
      alive[name] = w
      w:remove()
    end
  end
  make()
  collect()
  equal(names_left(alive), "")
  equal(f:reactor(), 0)
end)

test("a timer that fired is collected while its handle is open", function()
  local f = support.open()
  local alive = weak()
  for n = 1, 10 do
    alive[n] = f:timer { timeout = 0, handler = function() end }
  end
  equal(f:reactor(), 0)
  collect()
  equal(names_left(alive), "")
end)

test("a watcher at end of file is collected while its handle is open", function()
  local f, key = support.kvs()
  local alive = weak()
  local _, fd, writer = support.fifo()
  alive.iowatcher = f:iowatcher { fd = fd, handler = function() end }
  writer:close()
  f:kz_open(key, "w"):close()
  alive.stream = f:iowatcher { key = key, handler = function() end }
  equal(f:reactor(), 0)
  collect()
  equal(names_left(alive), "")
end)

test("watchers of a closed handle are collected", function()
  local f = spec.ok(flux.new())
  local alive = weak()
  for name, w in pairs(watchers(f, error)) do
    alive[name] = w
  end
  f:close()
  collect()
  equal(names_left(alive), "")
end)

test("closing the handle removes all of its watchers", function()
  local f = spec.ok(flux.new())
  local all = watchers(f, error)
  f:close()
  for name, w in pairs(all) do
    spec.matches(tostring(w), "removed")
    equal(w.handler, error)
    spec.ok(pcall(w.remove, w), name)
  end
  support.kill "URG"
end)

test("messages and streams keep their handle alive", function()
  local alive = weak()
  local msg, kz = (function()
    local f = spec.ok(flux.new())
    alive.handle = f
    f:send("broker.ping", { seq = 4 })
    return f:recvmsg(), f:kz_open(support.unique "key")
  end)()
  collect()
  equal(msg.data.seq, 4)
  spec.matches(select(2, kz:read()), "Resource temporarily unavailable")
end)

-- Checks that repeated rounds leave no memory and no descriptors behind.
local function leaves_nothing(rounds, round)
  local function run(count)
    for n = 1, count do
      round(n)
      if n % 5 == 0 then
        collect()
      end
    end
    collect()
  end
  run(rounds)
  local descriptors = support.count_descriptors()
  local before = collectgarbage "count"
  support.does_not_grow(function()
    run(rounds)
  end)
  local grown = collectgarbage "count" - before
  spec.ok(grown < 64, ("Lua's memory grew by %.1f KB"):format(grown))
  equal(support.count_descriptors(), descriptors)
end

test("ten thousand dropped timers that fire leave nothing behind", function()
  local f = support.open()
  local fired = 0
  local function fire()
    fired = fired + 1
  end
  leaves_nothing(25, function()
    for _ = 1, 200 do
      f:timer { timeout = 0, handler = fire }
    end
    equal(f:reactor(), 0)
  end)
  equal(fired, 10000)
end)

test("message handlers that are added and removed leave nothing behind", function()
  local f = support.open()
  leaves_nothing(20, function()
    for _ = 1, 50 do
      f:msghandler {
        pattern = "broker.ping",
        handler = function(_, _, mh)
          mh:remove()
        end,
      }
      f:send("broker.ping", {})
      f:reactor()
    end
  end)
end)

test("watchers of every kind that are dropped with their handle leave nothing behind", function()
  local _, fd = support.fifo()
  leaves_nothing(15, function()
    local f = spec.ok(flux.new())
    local function handler()
      f:reactor_stop()
    end
    f:timer { timeout = 1e9, handler = handler }
    f:msghandler { pattern = "*", handler = handler }
    f:statwatcher { path = "/nonexistent", handler = handler }
    f:fdwatcher { fd = fd, events = "r", handler = handler }
    f:iowatcher { fd = fd, handler = handler }
    f:iowatcher { key = "spec-nosuch", handler = handler }
    f:sighandler { sigmask = { 12 }, handler = handler }
    f:kvswatcher { key = "spec-nosuch", handler = function() end }
    f:reactor "nowait"
    collectgarbage()
  end)
end)

test("watchers that are removed leave nothing behind", function()
  local f = support.open()
  local _, fd = support.fifo()
  leaves_nothing(15, function()
    for _, w in ipairs {
      f:statwatcher { path = "/nonexistent", handler = error },
      f:fdwatcher { fd = fd, events = "r", handler = error },
      f:iowatcher { fd = fd, handler = error },
      f:iowatcher { key = "spec-nosuch", handler = error },
      f:sighandler { sigmask = { 12 }, handler = error },
      f:kvswatcher { key = "spec-nosuch", handler = error },
    } do
      w:remove()
    end
    equal(f:reactor(), 0)
  end)
end)

test("handlers that raise errors leave nothing behind", function()
  local f = support.open()
  leaves_nothing(20, function()
    for n = 1, 20 do
      f:timer {
        timeout = 0,
        handler = function()
          error(n % 2 == 0 and {} or "text")
        end,
      }
      equal(pcall(f.reactor, f), false)
    end
  end)
end)

test("constructors that fail leave nothing behind", function()
  local f = support.open()
  leaves_nothing(10, function()
    for _ = 1, 20 do
      pcall(f.timer, f, { timeout = "x", handler = print })
      f:timer { timeout = 1 }
      f:msghandler { pattern = "*", handler = print, msgtypes = {} }
      f:kvswatcher { key = ".", handler = print }
      f:iowatcher { fd = 987, handler = print }
      pcall(f.sighandler, f, { sigmask = { 9 }, handler = print })
    end
    equal(f:reactor(), 0)
  end)
end)

test("a timer and a message handler outlive the coroutine that created them", function()
  local f = support.open()
  local seen = {}
  local function start()
    local co = coroutine.create(function()
      f:timer {
        timeout = 1,
        handler = function(handle, w)
          seen[1], seen[2] = handle, w
        end,
      }
      f:msghandler {
        pattern = "broker.ping",
        handler = function(_, msg, mh)
          seen.seq = msg.data.seq
          mh:remove()
        end,
      }
      coroutine.yield()
    end)
    spec.ok(coroutine.resume(co))
    return weak { co }
  end
  local dead = start()
  collect()
  equal(dead[1], nil)
  f:send("broker.ping", { seq = 3 })
  equal(f:reactor(), 0)
  equal(seen[1], f)
  equal(type(seen[2]), "userdata")
  equal(seen.seq, 3)
end)

test("a handle outlives the coroutine that opened it", function()
  local f
  coroutine.wrap(function()
    f = support.open()
    f:timer {
      timeout = 1,
      handler = function()
        f:reactor_stop()
      end,
    }
  end)()
  collect()
  equal(f:reactor(), 0)
end)

test("a handler runs on the coroutine that runs the reactor, which then continues", function()
  local f = support.open()
  local inside
  local co = coroutine.create(function()
    f:timer {
      timeout = 0,
      handler = function()
        inside = coroutine.running()
      end,
    }
    f:reactor()
    coroutine.yield "between"
    return "end"
  end)
  spec.returns({ true, "between" }, coroutine.resume(co))
  equal(inside, co)
  spec.returns({ true, "end" }, coroutine.resume(co))
end)

test("the collector may run in reactors in coroutines in handlers", function()
  local f = support.open()
  local seen = {}
  f:timer {
    timeout = 0,
    handler = function()
      coroutine.wrap(function()
        f:timer {
          timeout = 0,
          handler = function()
            collect()
            seen[#seen + 1] = "inner"
          end,
        }
        f:reactor()
        collect()
        seen[#seen + 1] = "outer"
      end)()
    end,
  }
  equal(f:reactor(), 0)
  spec.same(seen, { "inner", "outer" })
end)

test("a handler may drop the last reference to its handle and collect garbage", function()
  local count = 0
  local f = spec.ok(flux.new())
  f:timer {
    timeout = 0,
    handler = function()
      f = nil
      collect()
      count = count + 1
    end,
  }
  equal(f:reactor(), 0)
  equal(count, 1)
end)

test("a finalizer may create a timer, run the reactor and close the handle", function()
  local count = 0
  local proxy = newproxy
  local function finalized(action)
    if proxy then
      getmetatable(proxy(true)).__gc = action
    else
      setmetatable({}, { __gc = action })
    end
  end
  local f = support.open()
  finalized(function()
    count = count + 1
    f:timer {
      timeout = 0,
      handler = function()
        count = count + 1
      end,
    }
    f:reactor()
    f:close()
    collectgarbage()
  end)
  -- In LuaJIT the stack may refer to the object a little longer, so try again.
  for _ = 1, 100 do
    if count == 0 then
      collect()
    end
  end
  equal(count, 2)
end)

test("<close> removes a watcher", function()
  local chunk = support.load [[
    local f = ...
    do
      local t <close> = f:timer { timeout = 0, handler = error }
      local m <close> = f:msghandler { pattern = "*", handler = error }
    end
    return f:reactor()
  ]]
  if not chunk then
    spec.skip "this Lua has no <close>"
  end
  equal(chunk(support.open()), 0)
end)

test("<close> may close the handle inside its own reactor", function()
  local chunk = support.load [[
    local f = ...
    f:timer {
      timeout = 0,
      handler = function()
        local f <close> = f
      end,
    }
    f:timer { timeout = 1, oneshot = false, handler = function() end }
    return f:reactor()
  ]]
  if not chunk then
    spec.skip "this Lua has no <close>"
  end
  local f = spec.ok(flux.new())
  spec.type(chunk(f), "number")
  raises("closed", f.reactor, f)
end)

test("removed objects keep their fields, and a closed handle creates no new objects", function()
  local f = spec.ok(flux.new())
  local all = watchers(f, print)
  for name, w in pairs(all) do
    w:remove()
    w:remove()
    w.note = name
    equal(w.note, name)
    spec.matches(tostring(w), "removed")
  end
  f:close()
  f:close()
  for name, w in pairs(all) do
    w:remove()
    equal(w.note, name)
  end
  local fields = { timeout = 1, pattern = "*", path = "/", fd = 0, key = "a", sigmask = { 10 }, handler = print }
  for _, name in ipairs {
    "timer",
    "msghandler",
    "statwatcher",
    "fdwatcher",
    "iowatcher",
    "sighandler",
    "kvswatcher",
  } do
    raises("closed", f[name], f, fields)
  end
  raises("closed", f.kz_open, f, "key")
end)

test("swapping metatables does not crash", function()
  local f = support.open()
  local objects = watchers(f, print)
  objects.handle = f
  objects.kz = f:kz_open "spec-nosuch"
  f:send("broker.ping", {})
  objects.message = f:recvmsg()
  local metatables = {}
  for name, object in pairs(objects) do
    metatables[name] = getmetatable(object)
  end
  for name, object in pairs(objects) do
    for _, metatable in pairs(metatables) do
      debug.setmetatable(object, metatable)
      for _, method in ipairs { "remove", "reactor", "respond", "read", "close", "timer", "__index", "__tostring" } do
        local call = rawget(metatable, method)
        -- Functions of another class must refuse the object. Others are tested elsewhere.
        if call and metatable ~= metatables[name] then
          spec.refuses(call, object, "x")
        end
      end
    end
    for _, metatable in pairs(metatables) do
      if metatable ~= metatables[name] then
        pcall(rawget(metatable, "__gc"), object)
      end
    end
    debug.setmetatable(object, nil)
    collectgarbage()
    debug.setmetatable(object, metatables[name])
  end
  for _, w in pairs(objects) do
    if getmetatable(w) == metatables.timer then
      w:remove()
    end
  end
  equal(f:reactor(), 0)
end)

test("removing the metatable of a watcher or a handle does not crash", function()
  local f = support.open()
  local count = 0
  local w = f:timer {
    timeout = 0,
    handler = function()
      count = count + 1
    end,
  }
  local metatable = getmetatable(w)
  debug.setmetatable(w, nil)
  spec.type(f:reactor(), "number")
  debug.setmetatable(w, metatable)
  spec.ok(count <= 1)
  local g = spec.ok(flux.new())
  g:timer { timeout = 0, handler = print }
  metatable = getmetatable(g)
  debug.setmetatable(g, nil)
  collect()
  debug.setmetatable(g, metatable)
  g:close()
end)

local function noop() end

local wrong_values = { 42, "text", {}, print, io.stdout, false }

-- Lua 5.1 and LuaJIT have environments, which are tables, instead of user values.
local set_user_value = debug.setuservalue or debug.setfenv
local get_user_value = debug.getuservalue or debug.getfenv

test("replacing the user value of an object does not crash", function()
  local f = support.open()
  f:send("broker.ping", { seq = 1 })
  local objects = { f = f, w = f:timer { timeout = 0, handler = noop }, msg = f:recvmsg() }
  spec.type(objects.msg.data, "table")
  for name, object in pairs(objects) do
    local own = get_user_value(object)
    for _, value in ipairs(wrong_values) do
      if pcall(set_user_value, object, value) then
        pcall(function()
          return objects.w.handler, objects.w.id, objects.msg.data
        end)
        pcall(function()
          objects.w.field = name
        end)
        pcall(f.timer, f, { timeout = 0, handler = noop })
        pcall(f.fdwatcher, f, { fd = 0, handler = noop })
        pcall(tostring, objects.w)
        pcall(f.reactor, f, "nowait")
      end
    end
    set_user_value(object, own)
  end
  pcall(objects.w.remove, objects.w)
  equal(objects.msg.data.seq, 1)
end)

test("replacing the upvalues of a method does not crash", function()
  local f = support.open()
  f:send("broker.ping", { seq = 1 })
  local msg = f:recvmsg()
  local timer = f.timer
  local functions = { timer, getmetatable(f).__index, getmetatable(msg).__index }
  for _, method in ipairs(functions) do
    local upvalue = 1
    while debug.getupvalue(method, upvalue) do
      local _, own = debug.getupvalue(method, upvalue)
      for _, value in ipairs(wrong_values) do
        debug.setupvalue(method, upvalue, value)
        pcall(timer, f, { timeout = 0, handler = noop })
        pcall(function()
          return f.rank, f.send, msg.data, msg.respond
        end)
      end
      debug.setupvalue(method, upvalue, own)
      upvalue = upvalue + 1
    end
  end
  equal(msg.data.seq, 1)
  spec.ok(f:timer { timeout = 1e6, handler = noop }):remove()
end)
