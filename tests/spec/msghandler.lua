-- Message handlers (A3, A4).

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local REQUEST, RESPONSE, EVENT = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }, { flux.MSGTYPE_EVENT }

-- A handler of the topics that match.
local function handle(f, pattern, msgtypes, handler)
  return spec.ok(f:msghandler { pattern = pattern, msgtypes = msgtypes, handler = handler })
end

-- Stop the reactor at a response to the method, which is noted in the table given back.
local function answer_of(f, topic)
  local answer = {}
  handle(f, topic, RESPONSE, function(_, msg, mh)
    answer.errnum, answer.data, answer.text = msg.errnum, msg.data, msg.payload
    mh:remove()
    f:reactor_stop()
  end)
  return answer
end

-- Call a method in the reactor of the handle that offers it too.
local function call(f, topic, payload)
  local answer = answer_of(f, topic)
  spec.ok(f:send(topic, payload))
  support.run(f)
  return answer
end

-- A handle that is subscribed to a topic of its own.
local function subscribed()
  local f = support.open()
  local topic = support.unique "event"
  spec.ok(f:subscribe(topic))
  return f, topic
end

-- Run the reactor until all events that were sent before have been handled.
local function drain(f)
  local fence = support.unique "fence"
  f:subscribe(fence)
  handle(f, fence, EVENT, function(_, _, mh)
    mh:remove()
    f:reactor_stop()
  end)
  f:sendevent(fence)
  support.run(f)
  f:unsubscribe(fence)
end

test("a response is handled with the handle, the message and the handler", function()
  local f = support.open()
  local seen
  local mh
  mh = handle(f, "broker.ping", RESPONSE, function(...)
    seen = { n = select("#", ...), ... }
    f:reactor_stop()
  end)
  equal(type(mh), "userdata")
  local matchtag = f:send("broker.ping", { seq = "1", pad = "xxx" })
  support.run(f)
  equal(seen.n, 3)
  equal(seen[1], f)
  equal(seen[3], mh)
  local msg = seen[2]
  equal(msg.type, "response")
  equal(msg.tag, "broker.ping")
  equal(msg.errnum, 0)
  equal(msg.matchtag, matchtag)
  equal(msg.data.seq, "1")
  equal(msg.data.pad, "xxx")
end)

test("a handler that is removed in itself leaves the reactor nothing to wait for", function()
  local f = support.open()
  handle(f, "*.ping", RESPONSE, function(_, _, mh)
    mh:remove()
  end)
  f:send("broker.ping", {})
  equal(f:reactor(), 0)
end)

test("a request is handled and answered", function()
  local f, service = support.service()
  local types = {}
  handle(f, service .. ".double", REQUEST, function(_, msg)
    types[#types + 1] = msg.type
    spec.returns({ 0 }, msg:respond { n = 2 * msg.data.n })
  end)
  for n = 1, 3 do
    local answer = call(f, service .. ".double", { n = n })
    spec.same(answer, { errnum = 0, data = { n = 2 * n }, text = ('{"n":%d}'):format(2 * n) })
  end
  spec.same(types, { "request", "request", "request" })
end)

test("a request without a payload has no data", function()
  local f, service = support.service()
  local seen = {}
  handle(f, service .. ".empty", REQUEST, function(_, msg)
    seen.data, seen.payload = msg.data, msg.payload
    msg:respond()
  end)
  equal(call(f, service .. ".empty").errnum, 0)
  spec.same(seen, {})
end)

test("a request is answered with an error, with a text and without", function()
  local f, service = support.service()
  handle(f, service .. ".*", REQUEST, function(_, msg)
    spec.returns({ 0 }, msg:respond_error(msg.data.errnum, msg.data.text))
  end)
  spec.same(call(f, service .. ".a", { errnum = 2, text = "there is none" }), { errnum = 2, text = "there is none" })
  spec.same(call(f, service .. ".b", { errnum = 22 }), { errnum = 22 })
end)

test("a request is answered long after its handler, from a timer", function()
  local f, service = support.service()
  local kept = {}
  handle(f, service .. ".slow", REQUEST, function(_, msg)
    kept[#kept + 1] = msg
    f:timer {
      timeout = 10 * (3 - msg.data.n),
      handler = function()
        msg:respond { n = msg.data.n }
      end,
    }
  end)
  local order = {}
  handle(f, service .. ".slow", RESPONSE, function(_, msg)
    order[#order + 1] = msg.data.n
    if #order == 3 then
      f:reactor_stop()
    end
  end)
  for n = 1, 3 do
    f:send(service .. ".slow", { n = n })
  end
  collectgarbage()
  support.run(f)
  equal(#kept, 3)
  table.sort(order)
  spec.same(order, { 1, 2, 3 })
end)

test("a request is answered after its reactor has ended", function()
  local f, service = support.service()
  local kept
  handle(f, service .. ".late", REQUEST, function(_, msg)
    kept = msg
    f:reactor_stop()
  end)
  f:send(service .. ".late", {})
  support.run(f)
  spec.returns({ 0 }, kept:respond { late = true })
  equal(f:recv().late, true)
end)

test("a request may be answered many times", function()
  local f, service = support.service()
  handle(f, service .. ".many", REQUEST, function(_, msg)
    for n = 1, 3 do
      spec.returns({ 0 }, msg:respond { n = n })
    end
  end)
  local seen = {}
  handle(f, service .. ".many", RESPONSE, function(_, msg)
    seen[#seen + 1] = msg.data.n
    if #seen == 3 then
      f:reactor_stop()
    end
  end)
  f:send(service .. ".many", {})
  support.run(f)
  spec.same(seen, { 1, 2, 3 })
end)

test("a response or an event is not responded to", function()
  local f, topic = subscribed()
  local refused = 0
  handle(f, "*", nil, function(_, msg)
    fails("Invalid argument", msg:respond {})
    fails("Invalid argument", msg:respond_error(2))
    refused = refused + 1
    if refused == 2 then
      f:reactor_stop()
    end
  end)
  f:send("broker.ping", {})
  f:sendevent(topic)
  support.run(f)
end)

-- A pattern, and of the topics after it those that match have a true value.
local GLOBS = {
  { "*", ["a"] = true, ["a.b.c"] = true },
  { "a.*", ["a.b"] = true, ["a."] = true, ["a.b.c"] = true, ["a"] = false, ["b.a.c"] = false },
  { "*.b", ["a.b"] = true, ["x.a.b"] = true, ["a.bc"] = false },
  { "a*c", ["ac"] = true, ["abc"] = true, ["a.b.c"] = true, ["acd"] = false },
  { "a.?", ["a.b"] = true, ["a."] = false, ["a.bc"] = false },
  { "[ab].x", ["a.x"] = true, ["b.x"] = true, ["c.x"] = false, ["[ab].x"] = false },
  { "[a-c]", ["a"] = true, ["b"] = true, ["d"] = false },
  { "[!a]", ["b"] = true, ["a"] = false },
  { "a.b", ["a.b"] = true, ["a.b.c"] = false, ["a"] = false, ["axb"] = false },
  { "a.b*[0-9]?", ["a.b1x"] = true, ["a.bcd7."] = true, ["a.b1"] = false },
}

test("a pattern has *, ? and [...] as the shell's", function()
  local f = support.open "loop://"
  for _, glob in ipairs(GLOBS) do
    local pattern, seen = glob[1], {}
    local mh = handle(f, pattern, nil, function(_, msg)
      seen[msg.tag] = true
    end)
    local any = handle(f, "the.end", nil, function()
      f:reactor_stop()
    end)
    for topic in pairs(glob) do
      if topic ~= 1 then
        f:send(topic, {})
      end
    end
    f:send("the.end", {})
    -- The pattern `*` takes the end too, but a handler of one topic comes first.
    support.run(f)
    for topic, matches in pairs(glob) do
      if topic ~= 1 then
        local pair = pattern .. " " .. topic .. " "
        equal(pair .. tostring(seen[topic] or false), pair .. tostring(matches))
      end
    end
    mh:remove()
    any:remove()
    while f:reactor "nowait" > 0 do
    end
  end
end)

test("a pattern that is no whole glob matches no message by mistake", function()
  local f = support.open()
  for _, odd in ipairs { "[", "a[", "", "\\", ("*"):rep(1000) .. "x", "\255*", "[!" } do
    local ok, mh = pcall(f.msghandler, f, {
      pattern = odd,
      handler = function()
        error "it matches"
      end,
    })
    f:send("broker.ping", {})
    local answered = handle(f, "broker.ping", nil, function()
      f:reactor_stop()
    end)
    support.run(f)
    answered:remove()
    if ok and mh then
      mh:remove()
    end
  end
end)

test("without msgtypes a handler takes all types", function()
  local f, service = support.service()
  local seen = {}
  f:subscribe(service)
  f:msghandler {
    pattern = service .. "*",
    handler = function(_, msg)
      seen[msg.type] = msg.tag
      if msg.type == "request" then
        msg:respond {}
      end
      if seen.request and seen.response and seen.event then
        f:reactor_stop()
      end
    end,
  }
  f:send(service .. ".call", {})
  f:sendevent(service .. ".said")
  support.run(f)
  spec.same(seen, { request = service .. ".call", response = service .. ".call", event = service .. ".said" })
end)

test("a handler takes the types it names, one or several", function()
  local f, service = support.service()
  f:subscribe(service)
  local seen = {}
  local function note(name)
    return function(_, msg)
      seen[#seen + 1] = name .. " " .. msg.type
      if msg.type == "request" then
        msg:respond {}
      end
    end
  end
  handle(f, service .. ".*", REQUEST, note "a")
  handle(f, service .. ".*", { flux.MSGTYPE_RESPONSE, flux.MSGTYPE_EVENT }, note "b")
  f:sendevent(service .. ".event")
  drain(f)
  f:send(service .. ".call", {})
  f:timer {
    timeout = 1,
    oneshot = false,
    handler = function(_, timer)
      if #seen == 3 then
        timer:remove()
        f:reactor_stop()
      end
    end,
  }
  support.run(f)
  spec.same(seen, { "b event", "a request", "b response" })
end)

test("MSGTYPE_ANY names all types", function()
  local f, topic = subscribed()
  local count = 0
  handle(f, topic, { flux.MSGTYPE_ANY }, function()
    count = count + 1
  end)
  f:sendevent(topic)
  drain(f)
  equal(count, 1)
end)

test("types that are none are an error", function()
  local f = support.open()
  for _, msgtypes in ipairs { {}, { 0 }, { 16 }, { "event" }, { {} }, { 4, -1 }, { 1.5 }, 4, "event", true } do
    fails("Invalid typemask in msghandler", f:msghandler { pattern = "*", msgtypes = msgtypes, handler = print })
  end
  equal(f:reactor(), 0)
end)

test("the newest handler that matches takes a request", function()
  local f, service = support.service()
  local seen = {}
  local handlers = {}
  for n = 1, 3 do
    handlers[n] = handle(f, service .. ".*", REQUEST, function(_, msg)
      seen[#seen + 1] = n
      msg:respond {}
    end)
  end
  for n = 3, 1, -1 do
    call(f, service .. ".call", {})
    handlers[n]:remove()
  end
  spec.same(seen, { 3, 2, 1 })
end)

test("the newest handler that matches takes a response", function()
  local f = support.open()
  local seen = {}
  for n = 1, 3 do
    handle(f, "broker.*", RESPONSE, function()
      seen[#seen + 1] = n
      f:reactor_stop()
    end)
  end
  f:send("broker.ping", {})
  support.run(f)
  spec.same(seen, { 3 })
end)

test("a newer handler that does not match leaves a message to an older", function()
  local f = support.open()
  local seen = {}
  handle(f, "broker.ping", nil, function()
    seen[#seen + 1] = "older"
    f:reactor_stop()
  end)
  handle(f, "broker.pin", nil, error)
  handle(f, "broker.*", EVENT, error)
  f:send("broker.ping", {})
  support.run(f)
  spec.same(seen, { "older" })
end)

test("an event goes to all handlers that match", function()
  local f, topic = subscribed()
  local seen = {}
  for _, pattern in ipairs { topic, topic .. "*", "*", "nosuch" } do
    handle(f, pattern, EVENT, function(_, msg)
      if msg.tag == topic then
        seen[#seen + 1] = pattern
      end
    end)
  end
  f:sendevent({ n = 1 }, topic)
  drain(f)
  equal(#seen, 3)
  table.sort(seen)
  local want = { topic, topic .. "*", "*" }
  table.sort(want)
  spec.same(seen, want)
end)

test("events are handled in their order, and each handler gets its payload", function()
  local f, topic = subscribed()
  local seen = {}
  handle(f, topic, EVENT, function(_, msg)
    seen[#seen + 1] = msg.data.n
    msg.data.n = "spoilt"
  end)
  handle(f, topic, EVENT, function(_, msg)
    spec.type(msg.data.n, "number")
  end)
  for n = 1, 20 do
    f:sendevent({ n = n }, topic)
  end
  drain(f)
  equal(#seen, 20)
  for n = 1, 20 do
    equal(seen[n], n)
  end
end)

test("an event without a payload, or with one that is no JSON, is handled", function()
  local f, topic = subscribed()
  local seen = {}
  handle(f, topic, EVENT, function(_, msg)
    seen[#seen + 1] = { payload = msg.payload, data = msg.data, err = select(2, msg.data) }
    if msg.payload then
      fails(nil, (function()
        return msg.data, "not JSON"
      end)())
    end
  end)
  f:sendevent(topic)
  spec.ok(f:rpc("event.publish", { topic = topic, flags = 0, payload = "aGVsbG8gd29ybGQ=" }))
  drain(f)
  spec.same(seen, { {}, { payload = "hello world" } })
end)

test("a handler registered in a handler gets the next message", function()
  local f = support.open()
  local seen = {}
  handle(f, "broker.ping", RESPONSE, function(_, msg)
    seen[#seen + 1] = "first " .. msg.data.seq
    handle(f, "broker.ping", RESPONSE, function(_, next)
      seen[#seen + 1] = "second " .. next.data.seq
      f:reactor_stop()
    end)
    f:send("broker.ping", { seq = 2 })
  end)
  f:send("broker.ping", { seq = 1 })
  support.run(f)
  spec.same(seen, { "first 1", "second 2" })
end)

test("a handler of events registered in one does not get the event at hand", function()
  local f, topic = subscribed()
  local seen = {}
  handle(f, topic, EVENT, function(_, msg, mh)
    mh:remove()
    handle(f, topic, EVENT, function(_, next)
      seen[#seen + 1] = next.data.n
    end)
  end)
  f:sendevent({ n = 1 }, topic)
  f:sendevent({ n = 2 }, topic)
  drain(f)
  spec.same(seen, { 2 })
end)

test("of the handlers of an event, either may remove the other", function()
  local f, topic = subscribed()
  local handlers, count = {}, 0
  for n = 1, 2 do
    handlers[n] = handle(f, topic, EVENT, function()
      count = count + 1
      handlers[3 - n]:remove()
    end)
  end
  f:sendevent(topic)
  f:sendevent(topic)
  drain(f)
  equal(count, 2)
end)

test("a handler removes itself and is never called again", function()
  local f, topic = subscribed()
  local count = 0
  local mh = handle(f, topic, EVENT, function(_, _, mh)
    count = count + 1
    spec.returns({}, mh:remove())
    spec.returns({}, mh:remove())
  end)
  for _ = 1, 3 do
    f:sendevent(topic)
  end
  drain(f)
  equal(count, 1)
  spec.returns({}, mh:remove())
end)

test("a handler that is removed before the reactor runs is not called", function()
  local f, topic = subscribed()
  handle(f, topic, EVENT, error):remove()
  f:sendevent(topic)
  drain(f)
end)

test("a handler replaces itself a hundred times", function()
  local f = support.open()
  local count = 0
  local function answered(_, _, mh)
    count = count + 1
    mh:remove()
    if count < 100 then
      handle(f, "broker.ping", RESPONSE, answered)
      f:send("broker.ping", {})
    end
  end
  handle(f, "broker.ping", RESPONSE, answered)
  f:send("broker.ping", {})
  equal(f:reactor(), 0)
  equal(count, 100)
end)

test("a negative number stops the reactor with an error", function()
  local f = support.open()
  local mh = handle(f, "broker.ping", RESPONSE, function()
    return -1
  end)
  f:send("broker.ping", {})
  fails(nil, f:reactor())
  mh:remove()
  equal(f:reactor(), 0)
end)

test("a handler that raises stops the reactor, which raises the same", function()
  local f = support.open()
  local value = {}
  local mh = handle(f, "broker.ping", RESPONSE, function()
    error(value)
  end)
  f:send("broker.ping", {})
  local ok, err = pcall(f.reactor, f)
  equal(ok, false)
  equal(err, value)
  mh.handler = function()
    error "no luck"
  end
  f:send("broker.ping", {})
  raises("no luck.*stack traceback", f.reactor, f)
  mh:remove()
  equal(f:reactor(), 0)
end)

test("a request that no handler takes is answered with ENOSYS while handlers run", function()
  local f, service = support.service()
  handle(f, service .. ".known", REQUEST, function(_, msg)
    msg:respond {}
  end)
  equal(call(f, service .. ".unknown", {}).errnum, 38)
  equal(call(f, service .. ".known", {}).errnum, 0)
end)

test("a response that no handler takes is dropped", function()
  local f, topic = subscribed()
  handle(f, topic, EVENT, function() end)
  f:send("broker.ping", {})
  drain(f)
  equal(f:rpc("broker.ping", { seq = 5 }).seq, 5)
end)

test("rpc in a handler leaves other messages to the handlers", function()
  local f, topic = subscribed()
  local seen = {}
  handle(f, topic, EVENT, function(_, msg)
    seen[#seen + 1] = msg.data.n
    equal(f:rpc("broker.ping", { seq = msg.data.n }).seq, msg.data.n)
  end)
  for n = 1, 5 do
    f:sendevent({ n = n }, topic)
  end
  drain(f)
  spec.same(seen, { 1, 2, 3, 4, 5 })
end)

test("recv in a handler takes what is its own", function()
  local f, topic = subscribed()
  local seen
  handle(f, topic, EVENT, function()
    seen = f:recv(f:send("broker.ping", { seq = 7 })).seq
  end)
  f:sendevent(topic)
  drain(f)
  equal(seen, 7)
end)

test("what came before the handler was made is handled", function()
  local f, topic = subscribed()
  f:sendevent({ n = 1 }, topic)
  f:rpc("broker.ping", {}, 0)
  local seen
  handle(f, topic, EVENT, function(_, msg)
    seen = msg.data.n
  end)
  drain(f)
  equal(seen, 1)
end)

test("a message outlives its handler, its reactor and its handle", function()
  local f, topic = subscribed()
  local kept
  handle(f, topic, EVENT, function(_, msg)
    kept = msg
  end)
  f:sendevent({ n = 1 }, topic)
  drain(f)
  f:close()
  collectgarbage()
  equal(kept.data.n, 1)
  equal(kept.tag, topic)
end)

test("a request kept over the closing of its handle is not answered", function()
  local f, service = support.service()
  local kept
  handle(f, service .. ".x", REQUEST, function(_, msg)
    kept = msg
    f:reactor_stop()
  end)
  f:send(service .. ".x", {})
  support.run(f)
  f:close()
  raises("closed", kept.respond, kept, {})
end)

test("two handles serve each other, each in its reactor", function()
  local server, service = support.service()
  local f = support.open()
  handle(server, service .. ".echo", REQUEST, function(_, msg)
    msg:respond(msg.data)
  end)
  local seen = {}
  handle(f, service .. ".echo", RESPONSE, function(_, msg)
    seen[#seen + 1] = msg.data.n
    if msg.data.n < 20 then
      f:send(service .. ".echo", { n = msg.data.n + 1 })
    end
  end)
  f:send(service .. ".echo", { n = 1 })
  support.run_all({ f, server }, function()
    return #seen == 20
  end)
  equal(seen[20], 20)
end)

test("a reactor in a handler of another handle serves what it waits for", function()
  local server, service = support.service()
  local f = support.open()
  handle(server, service .. ".x", REQUEST, function(_, msg)
    msg:respond { served = true }
    server:reactor_stop()
  end)
  local answer = answer_of(f, service .. ".x")
  f:timer {
    timeout = 0,
    handler = function()
      f:send(service .. ".x", {})
      support.run(server)
    end,
  }
  support.run(f)
  spec.same(answer.data, { served = true })
end)

test("another process calls a service, and one of its own is called", function()
  local f, service = support.service()
  local count = 0
  handle(f, service .. ".add", REQUEST, function(_, msg)
    count = count + 1
    msg:respond { sum = msg.data.a + msg.data.b }
  end)
  handle(f, service .. ".done", REQUEST, function(_, msg)
    msg:respond {}
    f:reactor_stop()
  end)
  local process = support.start(([[
    local f = require("flux").new()
    local sum = 0
    for n = 1, 50 do
      sum = f:rpc("%s.add", { a = sum, b = n }).sum
    end
    local _, err = f:rpc("%s.nosuch", {})
    print(sum, err)
    io.stdout:flush()
    f:rpc("%s.done", {})
  ]]):format(service, service, service))
  support.run(f)
  equal(count, 50)
  equal(process:read "*l", "1275\tFunction not implemented")
  process:close()
end)

test("a service in another process is called in the reactor", function()
  local service = support.unique "remote"
  local process = support.start(([[
    local f = require("flux").new()
    local count = 0
    f:msghandler {
      pattern = "%s.*",
      msgtypes = { require("flux").MSGTYPE_REQUEST },
      handler = function(f, msg, mh)
        count = count + 1
        msg:respond { n = msg.data.n * 2 }
        if count == 20 then
          mh:remove()
        end
      end,
    }
    assert(f:rpc("service.add", { service = "%s" }))
    print "ready"
    io.stdout:flush()
    print(f:reactor(), count)
  ]]):format(service, service))
  equal(process:read "*l", "ready")
  local f = support.open()
  local sum, count = 0, 0
  handle(f, service .. ".*", RESPONSE, function(_, msg)
    sum, count = sum + msg.data.n, count + 1
    if count == 20 then
      f:reactor_stop()
    end
  end)
  for n = 1, 20 do
    f:send(service .. ".double", { n = n })
  end
  support.run(f)
  equal(sum, 420)
  equal(process:read "*l", "0\t20")
  process:close()
end)

test("a service at another rank is called in the reactor", function()
  local far = support.open_at(1)
  local f = support.open()
  local service = support.unique "far"
  spec.ok(far:rpc("service.add", { service = service }))
  handle(far, service .. ".where", REQUEST, function(_, msg)
    msg:respond { rank = far.rank }
  end)
  local answer = answer_of(f, service .. ".where")
  f:send(service .. ".where", {}, 1)
  local done = false
  handle(f, service .. ".where", RESPONSE, function(_, msg)
    done, answer.data = true, msg.data
  end)
  support.run_all({ f, far }, function()
    return done
  end)
  spec.same(answer.data, { rank = 1 })
end)

test("rolemask says whose messages are taken, the owner's always", function()
  local f, service = support.service()
  for _, rolemask in ipairs { 0, 1, 2, 3, 2 ^ 32 - 1 } do
    local mh = spec.ok(f:msghandler {
      pattern = service .. ".x",
      msgtypes = REQUEST,
      rolemask = rolemask,
      handler = function(_, msg)
        msg:respond { rolemask = rolemask }
      end,
    })
    equal(call(f, service .. ".x", {}).data.rolemask, rolemask)
    mh:remove()
  end
  for _, wrong in ipairs { -1, 1.5, 2 ^ 32, "owner", true, {} } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = "*", handler = print, rolemask = wrong }), "rolemask")
  end
end)

test("the table's own keys are the handler's, to read and to set", function()
  local f = support.open()
  local mh = spec.ok(f:msghandler { pattern = "spec.*", handler = print, msgtypes = REQUEST, note = "mine" })
  equal(mh.pattern, "spec.*")
  equal(mh.handler, print)
  equal(mh.msgtypes, REQUEST)
  equal(mh.note, "mine")
  equal(mh.nosuch, nil)
  mh.note = 5
  equal(mh.note, 5)
  mh:remove()
  equal(mh.note, 5)
  equal(f:reactor(), 0)
end)

test("a handler sees the keys that others set", function()
  local f = support.open()
  local seen
  local mh = handle(f, "broker.ping", RESPONSE, function(_, _, mh)
    seen = mh.test
    f:reactor_stop()
  end)
  mh.test = "foo"
  f:send("broker.ping", {})
  support.run(f)
  equal(seen, "foo")
end)

test("what is missing is named", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:msghandler())
  fails("Expected table as 2nd argument", f:msghandler "pattern")
  fails("Mandatory table argument 'pattern' missing", f:msghandler {})
  fails("Mandatory table argument 'pattern' missing", f:msghandler { handler = print })
  fails("Mandatory table argument 'handler' missing", f:msghandler { pattern = "*" })
  equal(f:reactor(), 0)
end)

test("a field of a wrong kind is an error that names it", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = wrong, handler = print }), "pattern")
  end
  spec.refuses(f.msghandler, f, { pattern = "a\0b", handler = print })
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = "*", handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("tostring says what it is, and that it was removed", function()
  local f = support.open()
  local mh = handle(f, "*", nil, print)
  spec.matches(tostring(mh), "msghandler")
  mh:remove()
  spec.matches(tostring(mh), "removed")
end)
