-- Shared by the chapters: the script's handle, requests to the peer, and checks of
-- results, memory and time.

local flux = require "flux"

-- PATIENCE: a message that has not arrived after this many seconds is lost.
local support = { MIB = 1024 * 1024, PATIENCE = 300 }

support.back_end, support.part, support.service = arg[1], arg[2]:match ": (.*)", arg[3]
support.is_embedded = support.back_end == "embedded"
support.f = assert(flux.new())
-- A name that no other victim uses.
support.victim = ("victim-%s"):format(tostring({}):match "0x(%x+)")

local failed = 0

-- Fails the test with the values, unless `holds` is true.
function support.check(holds, what, ...)
  if holds then
    return
  end
  local values = {}
  for i = 1, select("#", ...) do
    values[i] = ("%q"):format(tostring((select(i, ...)))):sub(1, 200)
  end
  error(what .. ": " .. table.concat(values, ", "), 3)
end

function support.equal(got, wanted, what)
  support.check(got == wanted, (what or "value") .. " is not " .. tostring(wanted), got)
end

-- Checks the error text and errno of a failed call. Returns the detail.
function support.refused(text, errnum, value, err, code, detail)
  support.check(value == nil and err == text, "not nil, " .. text, value, err, code, detail)
  support.equal(code, errnum, "errno")
  return detail
end

function support.malformed(why)
  return function(...)
    local detail = support.refused("Protocol error", 71, ...)
    support.check(detail:find(why, 1, true), "the error does not say " .. why, detail)
    support.check(#detail < 200, "the error is too long", #detail)
  end
end

function support.ask(route, name, number)
  return support.f:rpc(("%s.%s.%s.%s.%s"):format(support.service, route, name, number or 0, support.victim), {})
end

local SKIP = {}

-- Ends a test that needs something the peer cannot send on this back end.
function support.skip()
  error(SKIP)
end

-- Asks the peer to send a message of its own. Skips the test if it cannot.
function support.sent(route, name, number)
  local _, err, code = support.ask(route, name, number)
  if code == 95 and support.is_embedded then
    support.skip()
  end
  support.check(_ ~= nil, "the peer did not send " .. name, err)
end

function support.number_in(path, pattern)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return tonumber(text:match(pattern))
end

-- Checks that `work` makes the process grow by at most `bytes` and takes at most
-- `seconds` of processor time.
function support.bounded(bytes, seconds, work)
  collectgarbage()
  collectgarbage()
  local reset = assert(io.open("/proc/self/clear_refs", "w"))
  reset:write "5"
  reset:close()
  local before = support.number_in("/proc/self/status", "VmRSS:%s*(%d+)") * 1024
  local started = os.clock()
  work()
  local took = os.clock() - started
  local grown = support.number_in("/proc/self/status", "VmHWM:%s*(%d+)") * 1024 - before
  support.check(took <= seconds, ("it took more than %g s"):format(seconds), took)
  support.check(grown <= bytes, ("it took more than %.0f MiB"):format(bytes / support.MIB), grown / support.MIB)
  return ("%.0f MiB, %.1f s"):format(grown / support.MIB, took)
end

function support.test(name, body)
  local ok, said = pcall(body)
  -- The handle must still work.
  if ok then
    local pong, err = support.f:rpc("broker.ping", { seq = 7 }, { timeout = support.PATIENCE })
    ok, said = pong and pong.seq == 7, pong and said or err
  end
  if ok then
    print(("ok %s, %s%s"):format(support.back_end, name, said and " (" .. said .. ")" or ""))
  elseif said == SKIP then
    print(("skip %s, %s: this back end cannot send it"):format(support.back_end, name))
  else
    failed = failed + 1
    print(("not ok %s, %s: %s"):format(support.back_end, name, tostring(said)))
  end
end

-- Call after the last test.
function support.finish()
  support.f:close()
  io.stdout:flush()
  if failed > 0 then
    error(("%d failed"):format(failed), 0)
  end
end

return support
