-- Timers.
local flux = require "flux"
local f = assert(flux.new(uri))
local fired, ticks = 0, 0
local w = assert(f:timer {
  timeout = 0,
  name = "mine",
  handler = function(handle, timer)
    assert(handle == f and timer.name == "mine")
    timer.seen = { fired }
    fired = fired + 1
  end,
})
assert(f:timer {
  timeout = 0.01,
  oneshot = false,
  handler = function(_, timer)
    ticks = ticks + 1
    if ticks == 3 then
      timer:remove()
    end
  end,
})
local never = assert(f:timer { timeout = 60000, handler = error })
assert(tostring(never) == "flux timer")
assert(never:remove() == true)
assert(never:remove() == true)
local closed = assert(f:timer { timeout = 60000, handler = error })
getmetatable(closed).__close(closed)
assert(f:reactor() == 0)
assert(fired == 1 and ticks == 3 and w.seen[1] == 0)
assert(tostring(w) == "flux timer (removed)")
return true
