-- Streams in the KVS (A6).
local flux = require "flux"
local f = assert(flux.new(uri))
local w = assert(f:kz_open("sweep.kz", "w"))
assert(w:write "hello\n" == 6)
assert(w:write(("y"):rep(300)) == 300)
assert(w:write "" == 0)
local r = assert(f:kz_open("sweep.kz", "r"))
assert(r:read().data == "hello\n")
assert(#r:read().data == 300)
assert(select(2, r:read()) == "Resource temporarily unavailable")
assert(select(2, w:read()) == "Invalid argument")
assert(select(2, r:write "x") == "Invalid argument")
assert(tostring(w) == "flux kz sweep.kz")
assert(not pcall(function()
  w.mine = 1
end))
w:close()
assert(r:read().eof == true)
assert(r:read().eof == true)
r:close()
assert(tostring(r) == "flux kz (closed)")
local again = assert(f:kz_open "sweep.kz")
getmetatable(again).__close(again)
assert(select(2, f:kz_open("sweep.kz", "x")):find "mode")
-- One that is dropped ends its stream.
assert(f:kz_open("sweep.dropped", "w"):write "z" == 1)
collectgarbage()
return true
