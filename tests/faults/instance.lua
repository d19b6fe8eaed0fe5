-- The initial program of a test instance. Prints the process id and URI of each
-- broker, and runs until its input ends.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"
local f = assert(flux.new())
for rank = 0, f.size - 1 do
  local pid = assert(f:rpc("attr.get", { name = "broker.pid" }, rank)).value
  local uri = assert(f:rpc("attr.get", { name = "local-uri" }, rank)).value
  fault.say(pid, uri)
end
f:close()
fault.say "ready"
io.read "*l"
