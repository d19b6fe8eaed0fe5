-- Makes one of the calls that wait, until its broker is killed. Then makes every other
-- call on the same handle.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"
local kvs = flux.kvs

local case = arg[1]
local f = assert(flux.new())
local server = assert(flux.new())
local service = ("fault-%s"):format(case)
assert(server:rpc("service.add", { service = service }))

local root = assert(f:kvsdir())

-- Returns a function that calls a method.
local function calling(object, method, ...)
  local arguments = { ... }
  return function()
    return object[method](object, fault.unpack(arguments))
  end
end

-- Each function prepares a call and returns it. The service never answers.
local waits = {}

function waits.rpc()
  return calling(f, "rpc", service .. ".hang")
end

function waits.rpc_with_a_timeout()
  return calling(f, "rpc", service .. ".hang", {}, { timeout = 60 })
end

function waits.recv_of_one_response()
  local tag = assert(f:send(service .. ".hang"))
  return calling(f, "recv", tag)
end

function waits.recv_of_a_response_with_a_timeout()
  local tag = assert(f:send(service .. ".hang", {}, { timeout = 60 }))
  return calling(f, "recv", tag)
end

function waits.recv()
  return calling(f, "recv")
end

function waits.recvmsg()
  return calling(f, "recvmsg")
end

function waits.recv_event()
  assert(f:subscribe "fault")
  return calling(f, "recv_event")
end

function waits.barrier()
  return calling(f, "barrier", service, 2)
end

-- The barrier is counted by this process in one case and by another process in the other.
function waits.barrier_of_others()
  return calling(f, "barrier", "fault-several", 3)
end
waits.barrier_of_others_too = waits.barrier_of_others

local function put(key, value)
  assert(f:kvs_put(key, value))
  assert(f:kvs_commit())
  return key
end

function waits.kvs_watch_of_what_is_not_there()
  local dir = assert(f:kvsdir())
  return function()
    return kvs.watch(dir, service)
  end
end

function waits.kvs_watch_of_a_change()
  put(service, 1)
  local dir = assert(f:kvsdir())
  return function()
    return kvs.watch(dir, service, 1)
  end
end

function waits.watch_dir()
  put(service .. ".a", 1)
  local dir = assert(f:kvsdir(service))
  return calling(dir, "watch_dir")
end

function waits.reactor_with_a_msghandler()
  assert(f:msghandler { pattern = "none", handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_a_timer()
  assert(f:timer { timeout = 60000, handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_a_repeating_timer()
  assert(f:timer { timeout = 5, oneshot = false, handler = function() end })
  return calling(f, "reactor")
end

function waits.reactor_with_an_fdwatcher()
  assert(f:fdwatcher { fd = 0, events = "r", handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_an_iowatcher()
  assert(f:iowatcher { fd = 0, handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_an_iowatcher_of_a_key()
  assert(f:iowatcher { key = service, handler = function() end })
  return calling(f, "reactor")
end

function waits.reactor_with_a_statwatcher()
  assert(f:statwatcher { path = "/nonexistent", interval = 60, handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_a_sighandler()
  assert(f:sighandler { sigmask = { 10 }, handler = print })
  return calling(f, "reactor")
end

function waits.reactor_with_a_kvswatcher()
  put(service, 1)
  assert(f:kvswatcher { key = service, handler = function() end })
  return calling(f, "reactor")
end

function waits.reactor_once()
  assert(f:msghandler { pattern = "none", handler = print })
  return calling(f, "reactor", "once")
end

function waits.reactor_nowait_again_and_again()
  assert(f:timer { timeout = 60000, handler = print })
  return function()
    local active, err
    repeat
      active, err = f:reactor "nowait"
    until not active
    return active, err
  end
end

function waits.reactor_in_a_handler()
  local results
  assert(f:timer {
    timeout = 0,
    handler = function()
      assert(f:timer { timeout = 60000, handler = print })
      results = { f:reactor() }
      f:reactor_stop()
    end,
  })
  return function()
    f:reactor()
    return fault.unpack(results)
  end
end

function waits.rpc_in_a_handler()
  local results
  assert(f:timer {
    timeout = 0,
    handler = function()
      results = { f:rpc(service .. ".hang") }
      f:reactor_stop()
    end,
  })
  return function()
    f:reactor()
    return fault.unpack(results)
  end
end

function waits.rpc_in_a_coroutine()
  return coroutine.wrap(function()
    return f:rpc(service .. ".hang")
  end)
end

-- Calls that a running broker answers at once. The test stops the broker first.
local calls = {}

function calls.call_of_a_new_handle()
  return function()
    local new, err, errnum = flux.new()
    if new then
      return new:getattr "size"
    end
    return nil, err, errnum
  end
end

function calls.getattr()
  return calling(f, "getattr", "broker.boot-method")
end

function calls.subscribe()
  return calling(f, "subscribe", "fault")
end

function calls.unsubscribe()
  assert(f:subscribe "fault")
  return calling(f, "unsubscribe", "fault")
end

function calls.barrier_entry()
  return calling(f, "barrier", service, 1)
end

function calls.kvs_get()
  put(service, 1)
  return calling(f, "kvs_get", service)
end

function calls.kvs_commit()
  return function()
    assert(f:kvs_put(service, 1))
    return f:kvs_commit()
  end
end

function calls.kvs_type()
  put(service, 1)
  return calling(f, "kvs_type", service)
end

function calls.kvsdir()
  return calling(f, "kvsdir")
end

function calls.dir_index()
  put(service .. ".a", 1)
  local dir = assert(f:kvsdir(service))
  return function()
    -- Indexing returns one value only, so add a text for fault.check.
    return dir.a, "no more"
  end
end

function calls.dir_commit()
  put(service .. ".a", 1)
  local dir = assert(f:kvsdir(service))
  return function()
    dir.a = 2
    return kvs.commit(dir)
  end
end

function calls.kvswatcher()
  return calling(f, "kvswatcher", { key = service, handler = print })
end

function calls.kz_open()
  return calling(f, "kz_open", service, "w")
end

function calls.kz_write()
  local kz = assert(f:kz_open(service, "w"))
  return calling(kz, "write", "text")
end

function calls.kz_read()
  assert(f:kz_open(service, "w")):write "text"
  local kz = assert(f:kz_open(service, "r"))
  return calling(kz, "read")
end

function calls.kz_close()
  local kz = assert(f:kz_open(service, "w"))
  return calling(kz, "close")
end

-- Makes the remaining calls. All of them must fail.
local function afterwards()
  local function fails(what, call)
    fault.check(what, pcall(call))
    fault.say("after", what)
  end
  for _, call in ipairs {
    { "rpc", "broker.ping", {} },
    { "rpc", "broker.ping", {}, { timeout = 60 } },
    { "send", "broker.ping", {} },
    { "recv" },
    { "recvmsg" },
    { "sendevent", "fault" },
    { "recv_event" },
    { "subscribe", "fault" },
    { "unsubscribe", "fault" },
    { "getattr", "broker.boot-method" },
    { "barrier", "fault", 1 },
    { "barrier", "fault", 2 },
    { "kvs_get", "fault" },
    { "kvs_type", "fault" },
    { "kvsdir" },
    { "kz_open", "fault", "w" },
    { "kvswatcher", { key = "fault", handler = print } },
    { "log", "info", "text" },
  } do
    local method = call[1]
    fails(method, function()
      return f[method](f, fault.unpack(call, 2))
    end)
  end
  fails("kvs_commit", function()
    f:kvs_put("fault", 1)
    return f:kvs_commit()
  end)
  fails("dir:commit", function()
    root.fault = 1
    return root:commit()
  end)
  fails("dir:watch_dir", function()
    return root:watch_dir()
  end)
  for _, mode in ipairs { "nowait", "once", "forever" } do
    fails("reactor " .. mode, function()
      f:timer { timeout = 60000, handler = print }
      return f:reactor(mode ~= "forever" and mode or nil)
    end)
  end
  fails("new", flux.new)
end

local call = assert(waits[case] or calls[case], case)()
fault.ready()
fault.expect_failure(case, call)
afterwards()
f:close()
fault.say "closed"
server = nil
collectgarbage()
collectgarbage()
fault.done()
