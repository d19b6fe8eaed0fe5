-- Commits keys one after another while a fault comes and goes, until the file `stop`
-- exists. Then checks that every commit that was reported done can still be read.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"
local system = require "system"

local stop, size = arg[1], tonumber(arg[2])
local f = assert(flux.new())

-- Every key gets a different value. The content store would keep equal values once.
local function value(n)
  return ("%08d"):format(n):rep(size / 8)
end

local done, failed, slowest = {}, 0, 0
local tried = 0
local last_error

local function should_stop()
  local file = io.open(stop)
  return file and file:close()
end

fault.ready()
repeat
  tried = tried + 1
  assert(f:kvs_put(("fault.k%d"):format(tried), value(tried)))
  local begun = system.now()
  local ok, err, errnum = f:kvs_commit()
  slowest = math.max(slowest, system.now() - begun)
  if ok then
    done[#done + 1] = tried
    if #done == 1 then
      fault.say "first done"
    end
  else
    last_error = fault.check("kvs_commit", true, ok, err, errnum)
    failed = failed + 1
    if failed == 1 then
      fault.say "first failed"
    end
    -- Failed commits return at once. Pause a little, or the loop would see little else.
    f:rpc("kvs.ping", {}, { timeout = 0.01 })
  end
until should_stop()
fault.say "stopped"
fault.say("slowest", slowest / 1e6)
fault.say("done", #done)
fault.say("failed", failed, last_error or "-")
fault.ready()

local lost = 0
for _, n in ipairs(done) do
  local stored, err = f:kvs_get(("fault.k%d"):format(n))
  if stored ~= value(n) then
    lost = lost + 1
    fault.say("lost", n, tostring(err))
  end
end
fault.say("checked", #done)
f:close()
fault.done()
