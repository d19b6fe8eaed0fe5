-- Run by embed.c: stores a greeting in the KVS and reads it back.
local flux = require "flux"
local kvs = require "kvs"

local name = ... or "nobody"
local f = assert(flux.new())
assert(f:kvs_put("greeting.text", "Hello " .. name))
assert(f:kvs_commit())

local dir = assert(f:kvsdir("greeting"))
for key in kvs.keys(dir) do
  print(key, shout(dir[key]), "rank " .. f.rank .. " of " .. f.size)
end
