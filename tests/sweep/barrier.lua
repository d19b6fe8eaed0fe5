-- Barriers.
local flux = require "flux"
local f = assert(flux.new(uri))
assert(f:barrier("sweep", 1) == 0)
assert(f:barrier("sweep", 1) == 0)
assert(not pcall(f.barrier, f, "sweep", 0))
return true
