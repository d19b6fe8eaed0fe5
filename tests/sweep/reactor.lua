-- Running and stopping the reactor, and errors in handlers.
local flux = require "flux"
local f = assert(flux.new(uri))
local function soon(handler)
  assert(f:timer { timeout = 0, handler = handler })
end
soon(function()
  f:reactor_stop()
end)
assert(f:timer { timeout = 60000, handler = error })
assert(f:reactor() == 1)
soon(function()
  f:reactor_stop_error "a reason of ours"
end)
local none, why = f:reactor()
assert(none == nil and why == "a reason of ours")
soon(function()
  f:reactor_stop_error()
end)
none, why = f:reactor()
assert(none == nil and type(why) == "string")
soon(function()
  return -1
end)
assert(f:reactor() == nil)
-- The reactor raises the error of a handler.
local thrown = {}
soon(function()
  error(thrown)
end)
local ok, raised = pcall(f.reactor, f)
assert(not ok and (raised == thrown or raised == "not enough memory"), raised)
if raised ~= thrown then
  error(raised, 0)
end
soon(function()
  error "with a traceback"
end)
ok, raised = pcall(f.reactor, f)
assert(not ok)
if raised == "not enough memory" then
  error(raised, 0)
end
assert(raised:find "with a traceback", raised)
-- A nested reactor, and a reactor in a coroutine.
local inner = 0
soon(function()
  soon(function()
    inner = inner + 1
  end)
  assert(f:reactor "once")
end)
local resumed, active = coroutine.resume(coroutine.create(function()
  return f:reactor "once"
end))
if not resumed then
  error(active, 0)
end
assert(active)
assert(f:reactor "nowait")
assert(inner == 1)
assert(select(2, f:reactor "nosuch") == "flux_reactor: Invalid argument")
-- Closing the handle in a handler ends the reactor.
soon(function()
  f:close()
end)
assert(f:reactor())
return true
