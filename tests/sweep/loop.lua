-- Both ends of a loopback.
local flux = require "flux"
local f = assert(flux.new(uri))
for n = 1, 3 do
  assert(f:send("sweep.loop", { n = n }))
end
local kept = {}
for n = 1, 3 do
  kept[n] = assert(f:recvmsg())
  assert(kept[n].data.n == n)
end
assert(kept[1]:respond { n = 10 } == 0)
assert(kept[2]:respond_error(2, "no such thing") == 0)
assert(kept[3]:respond() == 0)
local first, topic = f:recv()
assert(first.n == 10 and topic == "sweep.loop")
local failed = f:recv()
assert(failed.errnum == 2 and failed.errstr == "no such thing")
assert(next((f:recv())) == nil)
return true
