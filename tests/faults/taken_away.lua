-- A handle that offers a service closes. Flux does not answer requests that this
-- handle had already received, so a timeout ends them.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"

local f, server = assert(flux.new()), assert(flux.new())
local service = "fault-taken-away"
assert(server:rpc("service.add", { service = service }))
local pending = assert(f:send(service .. ".hang", {}, { timeout = 0.2 }))
assert(server:recvmsg(nil))

fault.ready()
server:close()
fault.expect_failure("recv", function()
  return f:recv(pending)
end)
local err = fault.check("rpc", pcall(f.rpc, f, service .. ".hang"))
assert(err == "Function not implemented", err)
fault.say("after", "rpc")
local answer = assert(f:recv(assert(f:send(service .. ".hang"))))
assert(answer.errnum == 38, answer.errnum)
fault.say("after", "recv")
f:close()
fault.say "closed"
fault.done()
