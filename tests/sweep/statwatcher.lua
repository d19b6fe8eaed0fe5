-- Watchers of a file's status.
local flux = require "flux"
local host = host
local f = assert(flux.new(uri))
local size
local w = assert(f:statwatcher {
  path = host.path,
  interval = 0.001,
  handler = function(w, now, before)
    size = now.st_size - before.st_size
    assert(now.st_mode ~= before.st_mode and now.st_mtime > 0)
    w:remove()
  end,
})
local file = assert(io.open(host.path, "w"))
file:write "12345"
file:close()
assert(f:reactor() == 0)
assert(size == 5 and tostring(w) == "flux statwatcher (removed)")
return true
