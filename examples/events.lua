-- Publish events and receive them: a countdown that all ranks could hear.
--
--   flux-lua --embedded examples/events.lua
local flux = require "flux"

-- flux.assert is Lua's assert, and its error has all that a call returned.
local f = flux.assert(flux.new())

-- A subscription is a prefix: it takes every topic that begins with it.
flux.assert(f:subscribe("countdown."))

for seconds = 3, 1, -1 do
  flux.assert(f:sendevent({ seconds = seconds }, "countdown.%d", seconds))
end
flux.assert(f:sendevent("countdown.liftoff")) -- an event needs no payload

repeat
  local event, topic = f:recv_event()
  print(topic, event.seconds or "")
until topic == "countdown.liftoff"

flux.assert(f:unsubscribe("countdown."))
