-- Requests with a timeout that go through a broker that was killed.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"

local f = assert(flux.new())
assert(f:rpc("broker.ping", {}, 0))
fault.ready()
local first = fault.check("rpc", pcall(f.rpc, f, "broker.ping", {}, { nodeid = 0, timeout = 0.5 }))
fault.expect_failure("recv", function()
  local tag = assert(f:send("broker.ping", {}, { nodeid = 0, timeout = 0.5 }))
  local answer, err, errnum = f:recv(tag)
  if answer and answer.errnum then
    return nil, "errno " .. answer.errnum, answer.errnum
  end
  return answer, err or first, errnum
end)
-- The handle's own broker is still running.
assert(f:rpc("broker.ping", {}, f.rank))
f:close()
fault.done()
