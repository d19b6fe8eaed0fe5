-- Requests and responses.
local flux = require "flux"
local f = assert(flux.new(uri))
local pong = assert(f:rpc("broker.ping", { seq = 1, pad = ("x"):rep(100), list = { 1, {}, "y" } }))
assert(pong.seq == 1 and #pong.pad == 100 and pong.list[3] == "y")
assert(select(2, f:rpc "broker.ping") == "Protocol error")
assert(f:rpc("broker.ping", { seq = 2 }, 0).seq == 2)
assert(f:rpc("broker.ping", { seq = 3 }, { nodeid = 0, timeout = 5 }).seq == 3)
assert(f:rpc("broker.ping", { seq = 3 }, flux.NODEID_UPSTREAM) or f.rank == 0)
local tags = {}
for n = 1, 4 do
  tags[n] = assert(f:send("broker.ping", { seq = n }))
end
for n = 4, 2, -1 do
  local answer, topic = f:recv(tags[n])
  assert(answer.seq == n and topic == "broker.ping")
end
local msg = assert(f:recvmsg(tags[1]))
assert(msg.data.seq == 1)
local none, text, errnum, detail = f:rpc("no.such.service", {})
assert(none == nil and text == "Function not implemented" and errnum == 38)
assert(detail == nil or type(detail) == "string")
assert(select(2, f:rpc("broker.ping", {}, 99)) ~= nil)
assert(f:send("no.such.service", {}))
local failed, topic = f:recv()
assert(failed.errnum == 38 and topic == "no.such.service")
-- Requests that are never answered.
local g = assert(flux.new(uri))
assert(g:rpc("service.add", { service = "sweep" }))
assert(select(2, f:rpc("sweep.x", {}, { timeout = 0 })) == "Connection timed out")
local tag = assert(f:send("sweep.y", {}, { timeout = 0 }))
assert(select(2, f:recv(tag)) == "Connection timed out")
local request = assert(g:recvmsg())
request:respond {}
assert(g:rpc("service.remove", { service = "sweep" }))
return true
