-- Timers.

local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

test("a timer fires once by default", function()
  local f = support.open()
  local seen = {}
  local timer = spec.ok(f:timer {
    timeout = 1,
    handler = function(...)
      seen[#seen + 1] = { n = select("#", ...), ... }
    end,
  })
  equal(type(timer), "userdata")
  equal(f:reactor(), 0)
  equal(#seen, 1)
  equal(seen[1].n, 2)
  equal(seen[1][1], f)
  equal(seen[1][2], timer)
end)

test("a repeating timer fires until it is removed", function()
  local f = support.open()
  local count = 0
  f:timer {
    timeout = 1,
    oneshot = false,
    handler = function(_, timer)
      count = count + 1
      if count == 5 then
        timer:remove()
      end
    end,
  }
  equal(f:reactor(), 0)
  equal(count, 5)
end)

test("oneshot may be given explicitly", function()
  local f = support.open()
  local count = 0
  f:timer {
    timeout = 0,
    oneshot = true,
    handler = function()
      count = count + 1
    end,
  }
  equal(f:reactor(), 0)
  equal(count, 1)
end)

test("a timeout of 0 fires when the reactor runs, not at once", function()
  local f = support.open()
  local fired = false
  f:timer {
    timeout = 0,
    handler = function()
      fired = true
    end,
  }
  equal(fired, false)
  equal(f:reactor(), 0)
  equal(fired, true)
end)

test("a repeating timer with a timeout of 0 fires once", function()
  local f = support.open()
  local count = 0
  f:timer {
    timeout = 0,
    oneshot = false,
    handler = function()
      count = count + 1
    end,
  }
  support.run_for(f, 10)
  equal(count, 1)
  equal(f:reactor(), 0)
end)

-- Creates timers with these timeouts, in units of `unit` milliseconds, and returns the
-- order in which they fire.
local function order_of(f, timeouts, unit)
  local seen = {}
  for _, timeout in ipairs(timeouts) do
    f:timer {
      timeout = timeout * unit,
      handler = function()
        seen[#seen + 1] = timeout
      end,
    }
  end
  equal(f:reactor(), 0)
  return table.concat(seen, " ")
end

test("timers fire in the order of their timeouts", function()
  local f = support.open()
  -- On a busy machine the time between creating two timers may exceed the difference of
  -- their timeouts. Try again with longer timeouts then.
  local unit, seen = 1, nil
  repeat
    seen = order_of(f, { 6, 1, 10, 0, 8, 2, 4 }, unit)
    unit = unit * 2
  until seen == "0 1 2 4 6 8 10" or unit > 1000
  equal(seen, "0 1 2 4 6 8 10")
end)

test("a thousand timers all fire", function()
  local f = support.open()
  local fired, last, early = 0, 0, 0
  for n = 1, 1000 do
    local timeout = n * 7 % 25
    f:timer {
      timeout = timeout,
      handler = function()
        fired = fired + 1
        early = early + (timeout < last and 1 or 0)
        last = math.max(last, timeout)
      end,
    }
  end
  equal(f:reactor(), 0)
  equal(fired, 1000)
  equal(last, 24)
  -- Timers that expire in one iteration may fire in any order, so a few are early.
  spec.ok(early < 1000, "the timers did not fire in the order of their timeouts")
end)

test("timeouts may be fractions of a millisecond and integral floats", function()
  local f = support.open()
  local count = 0
  for _, timeout in ipairs { 0.5, 1.0, 2.25 } do
    local timer = spec.ok(f:timer {
      timeout = timeout,
      handler = function()
        count = count + 1
      end,
    })
    equal(timer.timeout, timeout)
  end
  equal(f:reactor(), 0)
  equal(count, 3)
end)

test("a timer removed before the reactor runs does not fire", function()
  local f = support.open()
  local timer = f:timer {
    timeout = 0,
    handler = function()
      error "a removed timer fired"
    end,
  }
  spec.returns({ true }, timer:remove())
  equal(f:reactor(), 0)
end)

test("a timer removed by another handler does not fire", function()
  local f = support.open()
  local victim = f:timer {
    timeout = 5,
    handler = function()
      error "a removed timer fired"
    end,
  }
  f:timer {
    timeout = 0,
    handler = function()
      victim:remove()
    end,
  }
  equal(f:reactor(), 0)
end)

test("either of two timers that expire together may remove the other", function()
  local f = support.open()
  local timers, count = {}, 0
  for n = 1, 2 do
    timers[n] = f:timer {
      timeout = 0,
      handler = function()
        count = count + 1
        timers[3 - n]:remove()
      end,
    }
  end
  equal(f:reactor(), 0)
  equal(count, 1)
end)

test("a timer can be removed again, in its handler and after it fired", function()
  local f = support.open()
  local timer = f:timer {
    timeout = 0,
    handler = function(_, timer)
      spec.returns({ true }, timer:remove())
      spec.returns({ true }, timer:remove())
    end,
  }
  equal(f:reactor(), 0)
  spec.returns({ true }, timer:remove())
end)

test("a removed timer keeps its fields", function()
  local f = support.open()
  local timer = f:timer { timeout = 5, handler = print, note = "kept" }
  timer:remove()
  equal(timer.note, "kept")
  equal(timer.timeout, 5)
  timer.note = "changed"
  equal(timer.note, "changed")
end)

test("removing timers leaves the order and fields of the others unchanged", function()
  local f = support.open()
  local seen, kept, removed = {}, {}, {}
  local function expired(_, timer)
    seen[#seen + 1] = timer.n
  end
  for n = 1, 500 do
    local timer = f:timer { timeout = (500 - n) % 7 / 100, handler = expired, n = n }
    local list = n % 100 == 0 and kept or removed
    list[#list + 1] = timer
  end
  for _, timer in ipairs(removed) do
    timer:remove()
  end
  -- These reuse the slots of the removed timers.
  for n = 501, 600 do
    kept[#kept + 1] = f:timer { timeout = 60, handler = expired, n = n }
    if n > 501 then
      kept[#kept]:remove()
    end
  end
  for n, timer in ipairs(removed) do
    equal(timer.n, n + math.floor((n - 1) / 99))
    spec.matches(tostring(timer), "removed")
  end
  for n, timer in ipairs(kept) do
    equal(timer.n, n <= 5 and n * 100 or n + 495)
  end
  equal(f:reactor(), 0)
  equal(#seen, 6)
  equal(seen[6], 501)
  table.sort(seen)
  spec.same(seen, { 100, 200, 300, 400, 500, 501 })
end)

test("a timer's handler can create the next timer", function()
  local f = support.open()
  local count = 0
  local function again()
    count = count + 1
    if count < 20 then
      spec.ok(f:timer { timeout = 0, handler = again })
    end
  end
  f:timer { timeout = 0, handler = again }
  equal(f:reactor(), 0)
  equal(count, 20)
end)

test("keys of the table can be read and set on the timer", function()
  local f = support.open()
  local handler = function() end
  local timer = f:timer { timeout = 250, handler = handler, oneshot = false, note = "mine", [7] = 1 }
  equal(timer.timeout, 250)
  equal(timer.handler, handler)
  equal(timer.oneshot, false)
  equal(timer.note, "mine")
  equal(timer[7], 1)
  equal(timer.nosuch, nil)
  timer.note = { "other" }
  spec.same(timer.note, { "other" })
  timer.note = nil
  equal(timer.note, nil)
  timer:remove()
end)

test("a timer shares the table that it was created from", function()
  local f = support.open()
  local fields = { timeout = 0 }
  fields.handler = function(_, timer)
    fields.seen = timer.note
  end
  local timer = f:timer(fields)
  fields.note = "set later"
  equal(timer.note, "set later")
  timer.other = 1
  equal(fields.other, 1)
  equal(f:reactor(), 0)
  equal(fields.seen, "set later")
end)

test("setting handler replaces the handler", function()
  local f = support.open()
  local seen = {}
  local timer = f:timer {
    timeout = 0,
    handler = function()
      seen[#seen + 1] = "old"
    end,
  }
  timer.handler = function()
    seen[#seen + 1] = "new"
  end
  equal(f:reactor(), 0)
  spec.same(seen, { "new" })
end)

test("a timer whose handler was set to nil is an error when it fires", function()
  local f = support.open()
  local timer = f:timer { timeout = 0, handler = print }
  timer.handler = nil
  raises("", f.reactor, f)
  equal(f:reactor(), 0)
end)

test("every timer has a unique id", function()
  local f = support.open()
  local seen = {}
  for _ = 1, 10 do
    local timer = f:timer { timeout = 0, handler = function() end }
    spec.type(timer.id, "number")
    equal(seen[timer.id], nil)
    seen[timer.id] = true
  end
  equal(f:reactor(), 0)
end)

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:timer())
  fails("Expected table as 2nd argument", f:timer(5))
  fails("Mandatory table argument 'timeout' missing", f:timer {})
  fails("Mandatory table argument 'timeout' missing", f:timer { handler = print })
  fails("Mandatory table argument 'handler' missing", f:timer { timeout = 1 })
  equal(f:reactor(), 0)
end)

test("a field of the wrong type is named in the error", function()
  local f = support.open()
  for _, wrong in ipairs { "soon", {}, true, -1, 0 / 0, math.huge, print } do
    spec.matches(spec.refuses(f.timer, f, { timeout = wrong, handler = print }), "timeout")
  end
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.timer, f, { timeout = 1, handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("a timer with a huge timeout does not fire", function()
  local f = support.open()
  for _, timeout in ipairs { 1e12, 1e18, 1e300 } do
    local ok, timer = pcall(f.timer, f, {
      timeout = timeout,
      oneshot = false,
      handler = function()
        error "the timer fired"
      end,
    })
    spec.type(spec.ok(f:reactor "nowait"), "number")
    if ok and timer then
      timer:remove()
    end
  end
end)

test("an error from the table's __index is raised, and no timer is created", function()
  local f = support.open()
  local fields = setmetatable({ handler = print }, {
    __index = function()
      error "no such field"
    end,
  })
  raises("no such field", f.timer, f, fields)
  equal(f:reactor(), 0)
end)

test("tostring shows the kind of object and whether it was removed", function()
  local f = support.open()
  local timer = f:timer { timeout = 1, handler = print }
  spec.matches(tostring(timer), "timer")
  timer:remove()
  spec.matches(tostring(timer), "removed")
end)

test("remove raises an error if self is not a timer", function()
  local f = support.open()
  local timer = f:timer { timeout = 1, handler = print }
  for _, wrong in ipairs { f, {}, 42, "text", io.stdout } do
    raises("bad argument", timer.remove, wrong)
  end
  raises("bad argument", timer.remove)
  timer:remove()
end)
