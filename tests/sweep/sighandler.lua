-- Signal handlers.
local flux = require "flux"
local host = host
local f = assert(flux.new(uri))
local seen = 0
local w = assert(f:sighandler {
  sigmask = { 10, 12 },
  handler = function(handle, w, signum)
    assert(handle == f)
    seen = seen + signum
    if seen == 22 then
      w:remove()
    end
  end,
})
host.kill(10)
host.kill(12)
assert(f:reactor() == 0)
assert(seen == 22 and tostring(w) == "flux sighandler (removed)")
return true
