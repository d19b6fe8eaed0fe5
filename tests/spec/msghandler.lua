-- Message handlers (A3, A4): which of them a message goes to, and how they come
-- and go.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises
local handle, subscribed, drain = support.handle, support.subscribed, support.drain
local REQUEST, RESPONSE, EVENT = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }, { flux.MSGTYPE_EVENT }

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
    support.call(f, service .. ".call", {})
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
  equal(support.raised(f), value)
  mh.handler = function()
    error "no luck"
  end
  f:send("broker.ping", {})
  raises("no luck.*stack traceback", f.reactor, f)
  mh:remove()
  equal(f:reactor(), 0)
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
