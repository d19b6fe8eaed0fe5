-- Runs calls while few or no file descriptors are free. A call must fail with a clear
-- error or work, and must work again once descriptors are free.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"

local taken = {}

local function exhaust()
  while true do
    local file = io.open "/dev/null"
    if not file then
      return
    end
    taken[#taken + 1] = file
  end
end

-- Closes `count` of the files, or all of them.
local function release(count)
  for _ = 1, count or #taken do
    table.remove(taken):close()
  end
end

local function nothing() end

local calls = {
  { "new", function()
    return flux.new()
  end },
  { "rpc", function(f)
    return f:rpc("broker.ping", {})
  end },
  { "rpc with a timeout", function(f)
    return f:rpc("broker.ping", {}, { timeout = 5 })
  end },
  { "send and recv", function(f)
    local tag, err, errnum = f:send("broker.ping", {})
    if not tag then
      return nil, err, errnum
    end
    return f:recv(tag)
  end },
  { "recv with a deadline", function(f)
    local tag, err, errnum = f:send("broker.ping", {}, { timeout = 5 })
    if not tag then
      return nil, err, errnum
    end
    return f:recv(tag)
  end },
  { "subscribe", function(f)
    return f:subscribe "fault"
  end },
  { "sendevent", function(f)
    return f:sendevent "fault"
  end },
  { "getattr", function(f)
    return f:getattr "size"
  end },
  { "kvs_get", function(f)
    return f:kvs_get "fault-descriptors"
  end },
  { "kvs_commit", function(f)
    assert(f:kvs_put("fault-descriptors-2", 1))
    return f:kvs_commit()
  end },
  { "kvsdir", function(f)
    return f:kvsdir()
  end },
  { "barrier", function(f)
    return f:barrier("fault", 1)
  end },
  { "msghandler", function(f)
    return f:msghandler { pattern = "none", handler = nothing }
  end },
  { "timer", function(f)
    return f:timer { timeout = 1, handler = nothing }
  end },
  { "fdwatcher", function(f)
    return f:fdwatcher { fd = 0, handler = nothing }
  end },
  { "iowatcher", function(f)
    return f:iowatcher { fd = 0, handler = nothing }
  end },
  { "statwatcher", function(f)
    return f:statwatcher { path = "/dev/null", interval = 1, handler = nothing }
  end },
  { "sighandler", function(f)
    return f:sighandler { sigmask = { 10 }, handler = nothing }
  end },
  { "sighandler of a signal that is held", function(f)
    return f:sighandler { sigmask = { 2 }, handler = nothing }
  end },
  { "kvswatcher", function(f)
    return f:kvswatcher { key = "fault-descriptors", handler = nothing }
  end },
  { "reactor", function(f)
    return f:reactor "nowait"
  end },
  { "reactor with a timer", function(f)
    local timer, err, errnum = f:timer {
      timeout = 1,
      handler = function()
        f:reactor_stop()
      end,
    }
    if not timer then
      return nil, err, errnum
    end
    return f:reactor()
  end },
}

-- Makes the call, which must either work or fail with a text.
local function try(call, f)
  local results = { pcall(call[2], f) }
  if not results[1] or results[2] == nil then
    local err = fault.check(call[1], fault.unpack(results, 1, 4))
    return "failed: " .. err
  end
  return "worked"
end

-- An embedded broker lives as long as one of its handles, so keep one open.
local keeper = assert(flux.new())
assert(keeper:kvs_put("fault-descriptors", 1) and keeper:kvs_commit())
for free = 0, 4 do
  for _, call in ipairs(calls) do
    -- Use a new handle, which has nothing cached.
    local f = assert(flux.new())
    exhaust()
    release(free)
    fault.say("call", call[1] .. ",", free, "free:", try(call, f))
    release()
    local after = try(call, f)
    assert(after == "worked", call[1] .. " afterwards " .. after)
    f:close()
    collectgarbage()
  end
end
keeper:close()
fault.say "closed"
fault.done()
