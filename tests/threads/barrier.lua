-- Run by each thread of tests/threads.rs to check that a barrier's rounds stay apart:
-- a thread counts itself, enters the barrier, and then finds all others counted.

local me, count, uri, rounds, tools = ...
local flux = require "flux"

local f = assert(flux.new(("%s?rank=%d"):format(uri, me % 4)))
for round = 1, rounds do
  tools.note("round " .. round)
  tools.arrive(1)
  local ok, why, _, detail = f:barrier("rounds", count)
  if ok ~= 0 then
    error(("thread %d, round %d: %s (%s)"):format(me, round, why, tostring(detail)))
  end
  local arrived = tools.arrive(0)
  if arrived < round * count or arrived > (round + 1) * count then
    error(("thread %d left round %d after %d arrivals"):format(me, round, arrived))
  end
end
tools.note "the end"
return flux.json.encode { rounds = rounds }
