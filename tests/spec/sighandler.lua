-- Signal handlers. The signal numbers are those of Linux.

local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises
local soon = support.soon

local SIGINT, SIGUSR1, SIGUSR2, SIGTERM = 2, 10, 12, 15

local function watch(f, sigmask, handler)
  return spec.ok(f:sighandler { sigmask = sigmask, handler = handler })
end

test("the handler gets the handle, the signal handler and the signal number", function()
  local f = support.open()
  local seen, w
  w = watch(f, { SIGUSR1 }, function(...)
    seen = { n = select("#", ...), ... }
    f:reactor_stop()
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  support.run(f)
  spec.same(seen, { n = 3, f, w, SIGUSR1 })
  w:remove()
end)

test("one signal handler can handle several signals", function()
  local f = support.open()
  local seen = {}
  local w = watch(f, { SIGUSR1, SIGUSR2, SIGTERM, SIGINT }, function(_, _, signum)
    seen[#seen + 1] = signum
    if #seen == 4 then
      f:reactor_stop()
    end
  end)
  soon(f, function()
    for _, name in ipairs { "USR1", "TERM", "USR2", "INT" } do
      support.kill(name)
    end
  end)
  support.run(f)
  table.sort(seen)
  spec.same(seen, { SIGINT, SIGUSR1, SIGUSR2, SIGTERM })
  w:remove()
end)

test("naming a signal twice calls the handler once", function()
  local f = support.open()
  local count = 0
  local w = watch(f, { SIGUSR1, SIGUSR1 }, function()
    count = count + 1
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  support.run_until(f, function()
    return count > 0
  end)
  equal(count, 1)
  w:remove()
end)

test("several handlers of one signal are all called", function()
  local f = support.open()
  local seen, watchers = {}, {}
  for n = 1, 3 do
    watchers[n] = watch(f, { SIGUSR1 }, function()
      seen[n] = true
    end)
  end
  soon(f, function()
    support.kill "USR1"
  end)
  support.run_until(f, function()
    return seen[1] and seen[2] and seen[3]
  end)
  watchers[2]:remove()
  seen = {}
  soon(f, function()
    support.kill "USR1"
  end)
  support.run_until(f, function()
    return seen[1] and seen[3]
  end)
  equal(seen[2], nil)
  watchers[1]:remove()
  watchers[3]:remove()
end)

test("a handler is called for every occurrence of a signal", function()
  local f = support.open()
  local count = 0
  local w = watch(f, { SIGUSR1 }, function()
    count = count + 1
    if count < 10 then
      support.kill "USR1"
    else
      f:reactor_stop()
    end
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  support.run(f)
  equal(count, 10)
  w:remove()
end)

test("a signal from another process wakes a waiting reactor", function()
  local f = support.open()
  local w = watch(f, { SIGUSR1 }, function()
    f:reactor_stop()
  end)
  local pipe = io.popen "(sleep 0.05; kill -USR1 $PPID) >/dev/null 2>&1 & echo"
  support.run(f)
  pipe:close()
  w:remove()
end)

test("two handles can handle the same signal in their own reactors", function()
  local f, g = support.open(), support.open()
  local seen = {}
  local wf = watch(f, { SIGUSR1 }, function()
    seen.f = true
  end)
  local wg = watch(g, { SIGUSR1 }, function()
    seen.g = true
  end)
  support.run_for(f, 1)
  support.run_for(g, 1)
  support.kill "USR1"
  support.run_all({ f, g }, function()
    return seen.f and seen.g
  end)
  wf:remove()
  seen = {}
  support.kill "USR1"
  support.run_all({ g }, function()
    return seen.g
  end)
  equal(seen.f, nil)
  wg:remove()
end)

test("two handles can handle different signals", function()
  local f, g = support.open(), support.open()
  local seen = {}
  local wf = watch(f, { SIGUSR1 }, function()
    seen.f = (seen.f or 0) + 1
  end)
  local wg = watch(g, { SIGUSR2 }, function()
    seen.g = (seen.g or 0) + 1
  end)
  support.kill "USR1"
  support.kill "USR2"
  support.run_all({ f, g }, function()
    return seen.f and seen.g
  end)
  spec.same(seen, { f = 1, g = 1 })
  wf:remove()
  wg:remove()
end)

test("removing the last handler of a signal restores its default action", function()
  local process = support.start_apart [[
    local f = require("flux").new()
    local w = f:sighandler { sigmask = { 10 }, handler = function() f:reactor_stop() end }
    f:timer { timeout = 1, handler = function() os.execute "kill -USR1 $PPID" end }
    print(f:reactor())
    io.stdout:flush()
    w:remove()
    os.execute "kill -USR1 $PPID"
    print "still alive"
  ]]
  spec.matches(process:read "*l", "^%d")
  local rest = process:read "*a"
  spec.ok(not rest:find "still alive", rest)
  process:close()
end)

test("a signal that arrives while no reactor runs is handled in the next run", function()
  local f = support.open()
  local count = 0
  local w = watch(f, { SIGUSR1 }, function()
    count = count + 1
  end)
  support.run_for(f, 1)
  support.kill "USR1"
  equal(count, 0)
  support.run_until(f, function()
    return count > 0
  end)
  equal(count, 1)
  w:remove()
end)

test("a removed handler is not called, and other handlers still are", function()
  local f = support.open()
  local count = 0
  local removed = watch(f, { SIGUSR1 }, error)
  local w = watch(f, { SIGUSR1 }, function()
    count = count + 1
  end)
  spec.returns({}, removed:remove())
  spec.returns({}, removed:remove())
  soon(f, function()
    support.kill "USR1"
  end)
  support.run_until(f, function()
    return count > 0
  end)
  equal(count, 1)
  w:remove()
  equal(f:reactor(), 0)
end)

test("a handler can remove itself and add another", function()
  local f = support.open()
  local seen = {}
  local second
  watch(f, { SIGUSR1 }, function(_, w)
    seen[#seen + 1] = "first"
    w:remove()
    second = watch(f, { SIGUSR1 }, function(_, self)
      seen[#seen + 1] = "second"
      self:remove()
    end)
    soon(f, function()
      support.kill "USR1"
    end)
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  equal(f:reactor(), 0)
  spec.same(seen, { "first", "second" })
  spec.ok(second)
end)

test("an error in the handler is raised by the reactor", function()
  local f = support.open()
  local value = {}
  local w = watch(f, { SIGUSR1 }, function()
    error(value)
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  equal(support.reactor_error(f), value)
  w:remove()
end)

test("the return value of the handler is ignored", function()
  local f = support.open()
  local w = watch(f, { SIGUSR1 }, function()
    f:reactor_stop()
    return -1
  end)
  soon(f, function()
    support.kill "USR1"
  end)
  support.run(f)
  w:remove()
end)

test("a handler sees keys that were set on its signal handler", function()
  local f = support.open()
  local seen
  local w = watch(f, { SIGUSR1 }, function(_, self)
    seen = self.test
    f:reactor_stop()
  end)
  w.test = "foo"
  equal(w.test, "foo")
  spec.same(w.sigmask, { SIGUSR1 })
  soon(f, function()
    support.kill "USR1"
  end)
  support.run(f)
  equal(seen, "foo")
  spec.matches(tostring(w), "sighandler")
  w:remove()
end)

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:sighandler())
  fails("Mandatory table argument 'sigmask' missing", f:sighandler {})
  fails("Mandatory table argument 'sigmask' missing", f:sighandler { handler = print })
  fails("Mandatory table argument 'handler' missing", f:sighandler { sigmask = { SIGUSR1 } })
  equal(f:reactor(), 0)
end)

test("a sigmask that is not a list of signal numbers is an error", function()
  local f = support.open()
  for _, wrong in ipairs { 10, "USR1", true, { "USR1" }, { {} }, { -1 }, { 0 }, { 1.5 }, { SIGUSR1, true } } do
    fails("Mandatory table argument 'sigmask' invalid", f:sighandler { sigmask = wrong, handler = print })
  end
  equal(f:reactor(), 0)
end)

test("a number that is not a signal, or that cannot be caught, is an error", function()
  local f = support.open()
  for _, signum in ipairs { 65, 100, 1000, 2 ^ 31 - 1, 9, 19 } do
    spec.refuses(f.sighandler, f, { sigmask = { signum }, handler = print })
    -- The valid signals of the list must not stay caught either.
    spec.refuses(f.sighandler, f, { sigmask = { SIGUSR1, signum }, handler = error })
  end
  equal(f:reactor(), 0)
end)

test("an empty sigmask leaves the reactor nothing to wait for", function()
  local f = support.open()
  local ok, w = pcall(f.sighandler, f, { sigmask = {}, handler = print })
  if ok and w then
    w:remove()
  end
  equal(f:reactor(), 0)
end)

test("closing the handle ends its signal handlers", function()
  local f, g = support.open(), support.open()
  watch(f, { SIGUSR1 }, error)
  local count = 0
  local w = watch(g, { SIGUSR1 }, function()
    count = count + 1
  end)
  f:close()
  soon(g, function()
    support.kill "USR1"
  end)
  support.run_until(g, function()
    return count > 0
  end)
  equal(count, 1)
  w:remove()
  raises("closed", f.sighandler, f, { sigmask = { SIGUSR1 }, handler = print })
end)
