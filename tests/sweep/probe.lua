-- Checks that a state still works after a failure: an RPC, the KVS, a timer, and JSON.

-- After an error in require, Lua 5.1 keeps a marker in package.loaded. Remove it.
for _, name in ipairs { "flux", "kvs" } do
  if type(package.loaded[name]) ~= "table" then
    package.loaded[name] = nil
  end
end
collectgarbage()
collectgarbage()
local flux, kvs = require "flux", require "kvs"
local f = assert(flux.new "embed://")
assert(f:rpc("broker.ping", { seq = 7 }).seq == 7)
assert(f:kvs_put("probe.key", { 1, "two" }))
assert(f:kvs_commit())
assert(f:kvs_get("probe.key")[2] == "two")
local count = 0
for _ in kvs.keys(assert(f:kvsdir "probe")) do
  count = count + 1
end
assert(count == 1)
assert(f:timer {
  timeout = 0,
  handler = function()
    count = count + 1
    f:send("broker.ping", { seq = 8 })
  end,
})
assert(f:msghandler {
  pattern = "broker.ping",
  handler = function(_, msg, mh)
    count = count + msg.data.seq
    mh:remove()
  end,
})
assert(f:reactor() == 0)
assert(count == 10)
local text = flux.json.encode { list = { 1, 2.5, "x" }, none = flux.NULL }
local back = flux.json.decode(text)
assert(back.list[2] == 2.5 and back.list[3] == "x" and back.none == nil)
assert(not pcall(f.rpc, f, {}))
assert(select(2, f:rpc("no.such.service")) == "Function not implemented")
f:close()
return true
