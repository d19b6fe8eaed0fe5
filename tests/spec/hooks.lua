-- Debug hooks and handlers. Handlers run on the thread that called the reactor, so
-- that thread's hooks apply to them.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal = spec.test, spec.equal

-- Runs `body` with a hook, and removes the hook even if `body` raises an error.
local function with_hook(hook, mask, count, body)
  debug.sethook(hook, mask, count)
  local ok, err = pcall(body)
  debug.sethook()
  return ok, err
end

-- Returns a counter and a hook that counts the calls of `fn`.
local function call_counter(fn)
  local count = { calls = 0 }
  return count, function()
    if debug.getinfo(2, "f").func == fn then
      count.calls = count.calls + 1
    end
  end
end

-- A hook that raises an error once.
local function interrupt()
  debug.sethook()
  error "interrupted!"
end

-- Runs until a hook interrupts it.
local function busy()
  while true do
  end
end

-- LuaJIT does not call hooks in compiled code.
if rawget(_G, "jit") then
  jit.off(busy)
end

-- One object of each kind, with an event that makes its handler run.
local handlers = {
  timer = function(f, handler)
    return f:timer { timeout = 0, handler = handler }
  end,
  msghandler = function(f, handler)
    local mh = f:msghandler { pattern = "broker.ping", msgtypes = { flux.MSGTYPE_RESPONSE }, handler = handler }
    f:send("broker.ping", {})
    return mh
  end,
  fdwatcher = function(f, handler)
    local pipe, fd = support.popen "echo"
    local w = f:fdwatcher { fd = fd, handler = handler }
    spec.after(function()
      pipe:close()
    end)
    return w
  end,
  kvswatcher = function(f, handler)
    return f:kvswatcher { key = "hooks.no.such.key", handler = handler }
  end,
}

for _, kind in ipairs { "timer", "msghandler", "fdwatcher", "kvswatcher" } do
  test("a hook set before the reactor runs sees the handler of a " .. kind, function()
    local f = support.open()
    local w
    local function handler()
      w:remove()
      f:reactor_stop()
    end
    local count, hook = call_counter(handler)
    w = handlers[kind](f, handler)
    spec.ok(with_hook(hook, "c", 0, function()
      f:reactor()
    end))
    equal(count.calls, 1)
  end)
end

test("a hook set by a handler applies to later handlers and after the reactor", function()
  local f = support.open()
  local function later() end
  local count, hook = call_counter(later)
  f:timer {
    timeout = 0,
    handler = function()
      debug.sethook(hook, "c")
    end,
  }
  f:timer { timeout = 5, handler = later }
  f:reactor()
  local set = debug.gethook()
  debug.sethook()
  equal(set, hook)
  equal(count.calls, 1)
end)

test("a hook removed by a handler does not apply to later handlers", function()
  local f = support.open()
  local function later() end
  local count, hook = call_counter(later)
  f:timer {
    timeout = 0,
    handler = function()
      debug.sethook()
    end,
  }
  f:timer { timeout = 5, handler = later }
  spec.ok(with_hook(hook, "c", 0, function()
    f:reactor()
  end))
  equal(count.calls, 0)
end)

test("an instruction limit ends a handler that loops", function()
  local f = support.open()
  f:timer { timeout = 0, handler = busy }
  local ok, err = with_hook(interrupt, "", 10000, function()
    f:reactor()
  end)
  equal(ok, false)
  spec.matches(tostring(err), "interrupted!")
  equal(f:reactor "nowait", 0)
end)

test("a hook that raises when a handler is called ends the reactor, which then runs again", function()
  local f = support.open()
  local called = 0
  f:timer {
    timeout = 0,
    handler = function()
      debug.sethook(interrupt, "c")
    end,
  }
  f:timer {
    timeout = 5,
    handler = function()
      called = called + 1
    end,
  }
  local ok, err = pcall(f.reactor, f)
  debug.sethook()
  equal(ok, false)
  spec.matches(tostring(err), "interrupted!")
  f:timer {
    timeout = 0,
    handler = function()
      called = called + 10
    end,
  }
  f:reactor()
  equal(called, 10)
end)

test("a hook of the coroutine that runs the reactor sees handlers", function()
  local f = support.open()
  local function handler() end
  local count, hook = call_counter(handler)
  f:timer { timeout = 0, handler = handler }
  local co = coroutine.create(function()
    debug.sethook(hook, "c")
    f:reactor()
    debug.sethook()
  end)
  spec.ok(coroutine.resume(co))
  equal(count.calls, 1)
end)
