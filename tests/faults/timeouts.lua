-- Requests to a service that never answers, in every way that takes a timeout.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"
local system = require "system"

local f, server = assert(flux.new()), assert(flux.new())
local service = "fault-silent"
assert(server:rpc("service.add", { service = service }))
local topic = service .. ".hang"

local function timed(what, timeout, call)
  fault.say "calls"
  local begun = system.now()
  local err = fault.check(what, pcall(call))
  fault.say("took", (system.now() - begun) / 1e6, timeout)
  assert(err == "Connection timed out", err)
end

for _, timeout in ipairs { 0, 0.001, 0.01, 0.1, 0.5 } do
  local options = { timeout = timeout }
  timed("rpc", timeout, function()
    return f:rpc(topic, {}, options)
  end)
  timed("recv of a tag", timeout, function()
    return f:recv(assert(f:send(topic, {}, options)))
  end)
  timed("recv of any", timeout, function()
    assert(f:send(topic, {}, options))
    return f:recv()
  end)
  timed("recvmsg", timeout, function()
    return f:recvmsg(assert(f:send(topic, {}, options)))
  end)
end

-- Other messages that arrive meanwhile must not extend the timeout.
timed("rpc among events", 0.5, function()
  assert(f:subscribe "fault")
  for _ = 1, 1000 do
    assert(server:sendevent "fault")
  end
  return f:rpc(topic, {}, { timeout = 0.5 })
end)

-- The requests that timed out leave nothing behind: the handle still works.
assert(f:rpc("kvs.ping", {}) or f:rpc("broker.ping", {}))
f:close()
server:close()
fault.say "closed"
fault.done()
