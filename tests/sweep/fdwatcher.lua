-- Watchers of file descriptors.
local flux = require "flux"
local host = host
local f = assert(flux.new(uri))
local readable, writable = 0, 0
host.write "text"
assert(f:fdwatcher {
  fd = host.reader,
  events = "r",
  handler = function(w, events)
    readable = readable + events
    w:remove()
  end,
})
assert(f:fdwatcher {
  fd = host.writer,
  events = 2,
  handler = function(w, events)
    writable = writable + events
    w:remove()
  end,
})
local idle = assert(f:fdwatcher { fd = host.reader, handler = error })
assert(idle:remove() == true)
assert(f:reactor() == 0)
assert(readable == 1 and writable == 2)
return true
