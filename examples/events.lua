-- Publishes events and receives them. Other subscribers of the instance would receive them
-- too.
--
--   flux-lua --embedded examples/events.lua
local flux = require "flux"

-- flux.assert is like Lua's assert. Its error includes the detail that a call returned.
local f = flux.assert(flux.new())

-- A subscription is a prefix. It matches every topic that starts with it.
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
