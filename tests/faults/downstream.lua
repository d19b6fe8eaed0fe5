-- A service at another rank holds a request until the broker of that rank is killed.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"

local f, server = assert(flux.new()), assert(flux.new(arg[1]))
assert(server:rpc("service.add", { service = "fault-downstream" }))
fault.ready()
fault.expect_failure("rpc", function()
  return f:rpc("fault-downstream.hang", {}, server.rank)
end)
assert(f:rpc("broker.ping", {}))
f:close()
fault.check("recv", pcall(server.recv, server))
server:close()
fault.done()
