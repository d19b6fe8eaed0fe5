-- The reactor: running it, stopping it, and errors in its handlers.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises
local reactor_error = support.reactor_error

-- Runs `action` once from the reactor.
local function soon(f, action, milliseconds)
  return spec.ok(f:timer { timeout = milliseconds or 0, handler = action })
end

-- Runs `action` again and again from the reactor.
local function repeatedly(f, action)
  return spec.ok(f:timer { timeout = 1, oneshot = false, handler = action })
end

-- Checks that the reactor still works after an error or a stop.
local function reactor_works(f)
  local ran = false
  soon(f, function()
    ran = true
  end)
  equal(f:reactor(), 0)
  equal(ran, true)
end

test("a reactor with nothing to wait for returns at once", function()
  local f = support.open()
  equal(f:reactor(), 0)
  equal(f:reactor "once", 0)
  equal(f:reactor "nowait", 0)
  equal(f:reactor(nil), 0)
end)

test("the reactor returns when the last object that it waits for is removed", function()
  local f = support.open()
  local count = 0
  local timer
  timer = repeatedly(f, function()
    count = count + 1
    if count == 3 then
      timer:remove()
    end
  end)
  equal(f:reactor(), 0)
  equal(count, 3)
end)

test("reactor_stop makes the reactor return the number of objects still waited for", function()
  local f = support.open()
  local count = 0
  local timer = repeatedly(f, function()
    count = count + 1
    if count % 2 == 0 then
      spec.returns({}, f:reactor_stop())
    end
  end)
  for run = 1, 3 do
    equal(f:reactor(), 1)
    equal(count, 2 * run)
  end
  timer:remove()
  equal(f:reactor(), 0)
end)

test("reactor 'once' returns after the first event", function()
  local f = support.open()
  local seen = {}
  soon(f, function()
    seen[#seen + 1] = "near"
  end, 5)
  local far = soon(f, function()
    seen[#seen + 1] = "far"
  end, 1e9)
  spec.type(spec.ok(f:reactor "once"), "number")
  spec.same(seen, { "near" })
  far:remove()
end)

test("reactor 'nowait' handles pending events and does not wait", function()
  local f = support.open()
  local far = soon(f, function()
    error "the reactor waited for a timer"
  end, 1e9)
  local count = 0
  for _ = 1, 3 do
    soon(f, function()
      count = count + 1
    end)
  end
  for _ = 1, 1000 do
    spec.type(spec.ok(f:reactor "nowait"), "number")
    if count == 3 then
      break
    end
  end
  equal(count, 3)
  far:remove()
end)

test("an unknown reactor mode is an error", function()
  local f = support.open()
  for _, mode in ipairs { "forever", "", "Once", "once\0" } do
    fails("flux_reactor: Invalid argument", f:reactor(mode))
  end
  for _, mode in ipairs { {}, true, print, 42 } do
    spec.refuses(f.reactor, f, mode)
  end
end)

test("reactor_stop_error makes the reactor return its reason", function()
  local f = support.open()
  soon(f, function()
    spec.returns({}, f:reactor_stop_error "because")
  end)
  spec.returns({ n = 2, nil, "because" }, f:reactor())
  reactor_works(f)
end)

test("reactor_stop_error without a reason makes the reactor fail", function()
  local f = support.open()
  for _, no_reason in ipairs { { n = 0 }, { n = 1 } } do
    soon(f, function()
      f:reactor_stop_error(support.unpack(no_reason, 1, no_reason.n))
    end)
    fails(nil, f:reactor())
  end
  reactor_works(f)
end)

test("the reason may be any string", function()
  local f = support.open()
  for _, reason in ipairs { "", ("long "):rep(10000), "für %s\n" } do
    soon(f, function()
      f:reactor_stop_error(reason)
    end)
    spec.returns({ n = 2, nil, reason }, f:reactor())
  end
end)

test("reactor_stop_error raises an error for a reason that is not a string", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print } do
    raises("bad argument", f.reactor_stop_error, f, wrong)
  end
end)

test("the reason of one run does not appear in the next run", function()
  local f = support.open()
  soon(f, function()
    f:reactor_stop_error "old"
  end)
  fails("old", f:reactor())
  soon(f, function()
    f:reactor_stop_error()
  end)
  local _, err = f:reactor()
  spec.ok(err ~= "old", "the reason is from an earlier run")
  soon(f, function()
    return -1
  end)
  _, err = f:reactor()
  spec.ok(err ~= "old", "the reason is from an earlier run")
end)

test("a stop before the run has no effect, and its reason is dropped", function()
  local f = support.open()
  f:reactor_stop()
  reactor_works(f)
  f:reactor_stop_error "early"
  reactor_works(f)
  f:reactor_stop_error "early"
  soon(f, function()
    return -1
  end)
  local _, err = f:reactor()
  spec.ok(err ~= "early", "the reason is from before the run")
end)

test("the reason of a run that raised an error does not appear in the next run", function()
  local f = support.open()
  soon(f, function()
    f:reactor_stop_error "beside"
    error {}
  end)
  reactor_error(f)
  soon(f, function()
    return -1
  end)
  local _, err = f:reactor()
  spec.ok(err ~= "beside", "the reason is from an earlier run")
end)

test("a timer handler that returns a negative number stops the reactor with an error", function()
  local f = support.open()
  for _, number in ipairs { -1, -0.5, -math.huge } do
    local rest = repeatedly(f, function() end)
    soon(f, function()
      return number
    end)
    fails(nil, f:reactor())
    rest:remove()
  end
  reactor_works(f)
end)

test("other return values of a handler are ignored", function()
  local f = support.open()
  for _, result in ipairs { 0, 1, 0 / 0, "text", false, {}, print } do
    soon(f, function()
      return result
    end)
    equal(f:reactor(), 0)
  end
end)

test("a string raised by a handler is raised by the reactor with a traceback", function()
  local f = support.open()
  local function what_fails()
    error "no luck"
  end
  soon(f, function()
    what_fails()
  end)
  local err = reactor_error(f)
  spec.matches(err, "^[^\n]*reactor%.lua:%d+: no luck\n")
  spec.matches(err, "stack traceback:")
  spec.matches(err, "what_fails")
  reactor_works(f)
end)

test("any other value raised by a handler is raised unchanged", function()
  local f = support.open()
  for _, value in ipairs { {}, setmetatable({}, { __tostring = error }), 42, false, print, f } do
    soon(f, function()
      error(value, 0)
    end)
    spec.ok(rawequal(reactor_error(f), value), "a different value was raised")
  end
  reactor_works(f)
end)

test("a handler that raises nil stops the reactor too", function()
  local f = support.open()
  soon(f, function()
    error(nil)
  end)
  equal(pcall(f.reactor, f), false)
  reactor_works(f)
end)

test("an error is raised in the modes 'once' and 'nowait' too", function()
  local f = support.open()
  for _, mode in ipairs { "once", "nowait" } do
    local err = {}
    soon(f, function()
      error(err)
    end)
    local ok, value
    for _ = 1, 1000 do
      ok, value = pcall(f.reactor, f, mode)
      if not ok then
        break
      end
    end
    equal(ok, false)
    equal(value, err)
  end
  reactor_works(f)
end)

test("JIT-compiled code still works after reactor errors", function()
  local f = support.open()
  local value = {}
  for round = 1, 200 do
    soon(f, function()
      error(value)
    end)
    equal(reactor_error(f), value)
    local sum = 0
    for n = 1, 1000 do
      sum = sum + (n % 7 == 3 and #tostring(n) or n)
    end
    for n = 1, 100 do
      if n > 90 + round % 10 then
        sum = sum .. "x"
        sum = 0
      end
    end
    equal(sum, 0)
  end
end)

test("a callable table works as a handler", function()
  local f = support.open()
  local seen
  local handler = setmetatable({}, {
    __call = function(_, handle, timer)
      seen = { handle, timer }
    end,
  })
  local timer = soon(f, handler)
  equal(f:reactor(), 0)
  equal(seen[1], f)
  equal(seen[2], timer)
end)

test("endless recursion in a handler is an error", function()
  local f = support.open()
  local function endless()
    return 1 + endless()
  end
  soon(f, endless)
  spec.matches(reactor_error(f), "stack overflow")
  reactor_works(f)
end)

test("a handler can run the reactor again for other events", function()
  local f = support.open()
  local seen = {}
  local function note(text)
    seen[#seen + 1] = text
  end
  soon(f, function()
    note "outer begins"
    soon(f, function()
      note "inner"
    end, 1)
    equal(f:reactor(), 0)
    note "outer ends"
  end)
  equal(f:reactor(), 0)
  spec.same(seen, { "outer begins", "inner", "outer ends" })
end)

test("a stop in a nested run also ends the outer run", function()
  local f = support.open()
  local rest = repeatedly(f, function() end)
  local inner
  soon(f, function()
    soon(f, function()
      f:reactor_stop()
    end)
    inner = f:reactor()
  end)
  spec.type(spec.ok(f:reactor()), "number")
  spec.type(inner, "number")
  rest:remove()
  reactor_works(f)
end)

test("a stop with an error in a nested run makes both runs fail", function()
  local f = support.open()
  local rest = repeatedly(f, function() end)
  local inner
  soon(f, function()
    soon(f, function()
      f:reactor_stop_error "deep"
    end)
    inner = { f:reactor() }
  end)
  fails("deep", f:reactor())
  equal(inner[2], "deep")
  rest:remove()
  reactor_works(f)
end)

test("an error in a nested run also ends the outer run", function()
  local f = support.open()
  local value = {}
  soon(f, function()
    soon(f, function()
      error(value)
    end)
    f:reactor()
    error "the inner reactor raised nothing"
  end)
  equal(reactor_error(f), value)
  reactor_works(f)
end)

test("an error that is caught in a nested run is not raised again", function()
  local f = support.open()
  local value, caught = {}, nil
  soon(f, function()
    soon(f, function()
      error(value)
    end)
    caught = reactor_error(f)
  end)
  equal(pcall(f.reactor, f), true)
  equal(caught, value)
  reactor_works(f)
end)

test("twenty nested runs all return", function()
  local f = support.open()
  local depth, deepest = 0, 0
  local function deeper()
    depth = depth + 1
    deepest = math.max(depth, deepest)
    if depth < 20 then
      soon(f, deeper)
      spec.type(spec.ok(f:reactor()), "number")
    end
    depth = depth - 1
  end
  soon(f, deeper)
  equal(f:reactor(), 0)
  equal(deepest, 20)
  equal(depth, 0)
end)

test("endlessly nested runs are an error", function()
  local f = support.open()
  local function deeper()
    soon(f, deeper)
    f:reactor()
  end
  soon(f, deeper)
  spec.matches(reactor_error(f), "overflow")
  f:close()
end)

test("one handle's reactor can run inside another handle's reactor", function()
  local f, g = support.open(), support.open()
  local seen = {}
  local rest = repeatedly(f, function() end)
  soon(f, function()
    soon(g, function()
      seen[#seen + 1] = "g"
      g:reactor_stop()
    end)
    repeatedly(g, function() end)
    equal(g:reactor(), 1)
    seen[#seen + 1] = "f"
    soon(f, function()
      seen[#seen + 1] = "f goes on"
      rest:remove()
    end)
  end)
  equal(f:reactor(), 0)
  spec.same(seen, { "g", "f", "f goes on" })
end)

test("an error in another handle's reactor is raised by that reactor", function()
  local f, g = support.open(), support.open()
  local value, caught = {}, nil
  soon(f, function()
    soon(g, function()
      error(value)
    end)
    caught = reactor_error(g)
  end)
  equal(f:reactor(), 0)
  equal(caught, value)
  reactor_works(g)
end)

test("closing the handle in a handler ends its reactor and its objects", function()
  local f = spec.ok(flux.new())
  local late = 0
  repeatedly(f, function()
    late = late + 1
  end)
  soon(f, function()
    f:close()
    late = 0
  end, 5)
  local ok, active = pcall(f.reactor, f)
  equal(ok, true)
  spec.type(active, "number")
  equal(late, 0)
  raises("closed", f.reactor, f)
  raises("closed", f.reactor_stop, f)
  raises("closed", f.timer, f, { timeout = 1, handler = print })
end)

test("closing the handle in a nested run also ends the outer run", function()
  local f = spec.ok(flux.new())
  local rest = 0
  repeatedly(f, function()
    rest = rest + 1
  end)
  soon(f, function()
    soon(f, function()
      f:close()
    end)
    f:reactor()
  end)
  equal(pcall(f.reactor, f), true)
  spec.matches(tostring(f), "closed")
end)

test("an error raised after closing the handle is still raised by the reactor", function()
  local f = spec.ok(flux.new())
  local value = {}
  soon(f, function()
    f:close()
    error(value)
  end)
  equal(reactor_error(f), value)
end)

test("a handler may close another handle", function()
  local f, g = support.open(), support.open()
  local timer = repeatedly(g, function()
    error "called although its handle is closed"
  end)
  soon(f, function()
    g:close()
  end)
  equal(f:reactor(), 0)
  timer:remove()
end)

test("a handler may call rpc, send, recv, sendevent and the collector", function()
  local f = support.open()
  local answers = {}
  soon(f, function()
    answers[1] = f:rpc("broker.ping", { seq = 1 }).seq
    f:send("broker.ping", { seq = 2 })
    answers[2] = f:recv().seq
    f:sendevent "spec.reactor"
    collectgarbage()
    answers[3] = support.open():rpc("broker.ping", { seq = 3 }).seq
  end)
  equal(f:reactor(), 0)
  spec.same(answers, { 1, 2, 3 })
end)

test("the reactor can run in a coroutine", function()
  local f = support.open()
  local ran = false
  local co = coroutine.create(function()
    soon(f, function()
      ran = true
    end)
    return f:reactor()
  end)
  local ok, active = coroutine.resume(co)
  equal(ok, true)
  equal(active, 0)
  equal(ran, true)
end)

test("a handler cannot yield from the coroutine that runs the reactor", function()
  local f = support.open()
  soon(f, function()
    coroutine.yield()
  end)
  local co = coroutine.create(function()
    f:reactor()
  end)
  local ok, err = coroutine.resume(co)
  equal(ok, false)
  spec.matches(err, "yield")
  reactor_works(f)
end)

test("a handler may run coroutines", function()
  local f = support.open()
  local seen = {}
  soon(f, function()
    for n in
      coroutine.wrap(function()
        for n = 1, 3 do
          coroutine.yield(n)
        end
      end)
    do
      seen[n] = true
    end
  end)
  equal(f:reactor(), 0)
  equal(#seen, 3)
end)

test("a loopback's reactor handles messages and timers", function()
  local f = support.open "loop://"
  local seen = {}
  f:msghandler {
    pattern = "spec.*",
    handler = function(_, msg)
      seen[#seen + 1] = msg.tag
      soon(f, function()
        f:reactor_stop()
      end)
    end,
  }
  f:send("spec.loop", {})
  support.run(f)
  spec.same(seen, { "spec.loop" })
end)

test("the reactor of a closed handle cannot be run or stopped", function()
  local f = support.open()
  f:close()
  for _, name in ipairs { "reactor", "reactor_stop", "reactor_stop_error" } do
    raises("closed", f[name], f)
  end
end)
