-- Loads both modules and creates an object of each class.
local flux, kvs = require "flux", require "kvs"
assert(flux.kvs and kvs.keys and flux.json.encode)
local f = assert(flux.new(uri))
assert(f:timer { timeout = 1000, handler = print })
local version, _, lua = flux.version()
assert(type(version) == "string" and type(lua) == "string")
if uri ~= "loop://" then
  assert(f:send "broker.ping")
  local msg = assert(f:recvmsg())
  local dir = assert(f:kvsdir())
  local kz = assert(f:kz_open("module.kz", "w"))
  return msg.tag == "broker.ping" and tostring(dir) == "." and tostring(kz) ~= nil
end
return flux.json.decode(flux.json.encode { flux.NULL, {} })[2] ~= nil
