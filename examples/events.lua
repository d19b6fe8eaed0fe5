-- Publish events and receive them: a countdown that all ranks could hear.
--
--   flux-lua --embedded examples/events.lua
local flux = require "flux"

local f, err = flux.new()
if not f then error(err, 0) end

-- A subscription is a prefix: it takes every topic that begins with it.
assert(f:subscribe("countdown."))

for seconds = 3, 1, -1 do
  assert(f:sendevent({ seconds = seconds }, "countdown.%d", seconds))
end
assert(f:sendevent("countdown.liftoff")) -- an event needs no payload

repeat
  local event, topic = f:recv_event()
  print(topic, event.seconds or "")
until topic == "countdown.liftoff"

assert(f:unsubscribe("countdown."))
