-- Runs the collector step by step while every kind of object exists and some are
-- dropped. Closing the state frees the rest.
local flux, kvs = require "flux", require "kvs"
local host = host
local function all(f, keep)
  assert(f:rpc("broker.ping", { seq = 1 }))
  assert(f:send("broker.ping", { seq = 2 }))
  keep[#keep + 1] = f:timer { timeout = 60000, handler = function() return f end }
  keep[#keep + 1] = f:msghandler { pattern = "x", handler = function() return keep end }
  keep[#keep + 1] = f:statwatcher { path = "/nonexistent", handler = print }
  keep[#keep + 1] = f:fdwatcher { fd = host.reader, events = "r", handler = print }
  keep[#keep + 1] = f:iowatcher { fd = host.reader, handler = print }
  keep[#keep + 1] = f:iowatcher { key = "collect.stream", handler = print }
  keep[#keep + 1] = f:sighandler { sigmask = { 12 }, handler = print }
  keep[#keep + 1] = f:kvswatcher { key = "collect.key", handler = function() end }
  keep[#keep + 1] = f:kz_open("collect.kz", "w")
  keep[#keep + 1] = f:kvsdir()
  keep[#keep + 1] = kvs.keys(keep[#keep])
  keep[#keep + 1] = f:recvmsg()
  assert(#keep == 12)
  assert(f:send("broker.ping", { seq = 3 }))
  assert(f:kvs_put("collect.pending", 1))
  assert(f:reactor "nowait")
end
for round = 1, 2 do
  local keep = {}
  all(assert(flux.new(uri)), keep)
  collectgarbage "step"
  if round == 1 then
    keep = nil
  end
  for _ = 1, 20 do
    collectgarbage("step", 1)
  end
end
collectgarbage()
-- These are still reachable when the state is closed.
kept = {}
all(assert(flux.new(uri)), kept)
return true
