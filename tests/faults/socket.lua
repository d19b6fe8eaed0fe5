-- Another part of the process shuts down or closes the handle's socket.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"
local system = require "system"

local how, case = arg[1], arg[2]
local f = assert(flux.new())
assert(f:rpc("kvs.ping", {}))

-- Each case makes a call that must fail. `harm` damages the socket now or soon.
local cases = {}

function cases.rpc(harm)
  harm()
  return f:rpc("kvs.wait-version", { rootseq = 1e6, namespace = "primary" })
end

function cases.send(harm)
  system.harm(how)
  return f:send "kvs.ping"
end

function cases.recv(harm)
  harm()
  return f:recv()
end

function cases.recv_event(harm)
  assert(f:subscribe "fault")
  harm()
  return f:recv_event()
end

function cases.kvs_watch(harm)
  local dir = assert(f:kvsdir())
  harm()
  return flux.kvs.watch(dir, "fault-never")
end

function cases.kvs_commit(harm)
  system.harm(how)
  assert(f:kvs_put("fault", 1))
  return f:kvs_commit()
end

local function in_handler()
  assert(f:timer {
    timeout = 50,
    handler = function()
      system.harm(how)
    end,
  })
  return f:reactor()
end

function cases.reactor_with_a_msghandler()
  assert(f:msghandler { pattern = "none", handler = print })
  return in_handler()
end

function cases.reactor_with_a_timer()
  assert(f:timer { timeout = 60000, handler = print })
  return in_handler()
end

function cases.reactor_with_an_iowatcher()
  assert(f:iowatcher { fd = 0, handler = print })
  return in_handler()
end

fault.ready()
fault.expect_failure(case, function()
  return cases[case](function()
    -- Closing a descriptor does not wake a call that waits for it, so close it before the call.
    system.harm(how, how == "shutdown" and 100 or 0)
  end)
end)
for _, call in ipairs { { "rpc", "kvs.ping", {} }, { "send", "kvs.ping" }, { "recv" } } do
  fault.check(call[1], pcall(f[call[1]], f, call[2], call[3]))
  fault.say("after", call[1])
end
f:close()
fault.say "closed"
-- The broker itself is still running.
local again = assert(flux.new())
assert(again:rpc("kvs.ping", {}))
again:close()
fault.done()
