-- Run by each thread of tests/threads.rs to check that a barrier's rounds stay apart:
-- a thread counts itself, enters the barrier, and then finds all others counted.

local me, count, uri, rounds, tools = ...
local flux = require "flux"

local f = assert(flux.new(("%s?rank=%d"):format(uri, me % 4)))
for round = 1, rounds do
  tools.note("round " .. round)
  tools.come(1)
  local ok, why, _, detail = f:barrier("rounds", count)
  if ok ~= 0 then
    error(("thread %d, round %d: %s (%s)"):format(me, round, why, tostring(detail)))
  end
  local came = tools.come(0)
  if came < round * count or came > (round + 1) * count then
    error(("thread %d left round %d after %d entries"):format(me, round, came))
  end
end
tools.note "the end"
return flux.json.encode { rounds = rounds }
