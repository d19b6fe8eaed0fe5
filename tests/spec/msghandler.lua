-- Message handlers: which handler receives a message, and how handlers are added
-- and removed.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises
local on_message, subscribed, drain = support.on_message, support.subscribed, support.drain
local REQUEST, RESPONSE, EVENT = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }, { flux.MSGTYPE_EVENT }

test("a handler gets the handle, the message and the message handler", function()
  local f = support.open()
  local seen
  local mh
  mh = on_message(f, "broker.ping", RESPONSE, function(...)
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

test("a message handler that removes itself leaves the reactor nothing to wait for", function()
  local f = support.open()
  on_message(f, "*.ping", RESPONSE, function(_, _, mh)
    mh:remove()
  end)
  f:send("broker.ping", {})
  equal(f:reactor(), 0)
end)

-- Each row has a pattern, and topics that match (true) or do not match (false).
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

test("a pattern supports *, ? and [...] as in the shell", function()
  local f = support.open "loop://"
  for _, glob in ipairs(GLOBS) do
    local pattern, seen = glob[1], {}
    local mh = on_message(f, pattern, nil, function(_, msg)
      seen[msg.tag] = true
    end)
    local any = on_message(f, "the.end", nil, function()
      f:reactor_stop()
    end)
    for topic in pairs(glob) do
      if topic ~= 1 then
        f:send(topic, {})
      end
    end
    f:send("the.end", {})
    -- `*` matches the.end too, but the handler for the single topic takes precedence.
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

test("a malformed glob does not match a message by mistake", function()
  local f = support.open()
  for _, odd in ipairs { "[", "a[", "", "\\", ("*"):rep(1000) .. "x", "\255*", "[!" } do
    local ok, mh = pcall(f.msghandler, f, {
      pattern = odd,
      handler = function()
        error "a malformed glob matched"
      end,
    })
    f:send("broker.ping", {})
    local answered = on_message(f, "broker.ping", nil, function()
      f:reactor_stop()
    end)
    support.run(f)
    answered:remove()
    if ok and mh then
      mh:remove()
    end
  end
end)

test("a handler without msgtypes receives all message types", function()
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

test("a handler receives only the message types that it names", function()
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
  on_message(f, service .. ".*", REQUEST, note "a")
  on_message(f, service .. ".*", { flux.MSGTYPE_RESPONSE, flux.MSGTYPE_EVENT }, note "b")
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

test("MSGTYPE_ANY stands for all message types", function()
  local f, topic = subscribed()
  local count = 0
  on_message(f, topic, { flux.MSGTYPE_ANY }, function()
    count = count + 1
  end)
  f:sendevent(topic)
  drain(f)
  equal(count, 1)
end)

test("a request goes to the newest handler that matches", function()
  local f, service = support.service()
  local seen = {}
  local handlers = {}
  for n = 1, 3 do
    handlers[n] = on_message(f, service .. ".*", REQUEST, function(_, msg)
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

test("a response goes to the newest handler that matches", function()
  local f = support.open()
  local seen = {}
  for n = 1, 3 do
    on_message(f, "broker.*", RESPONSE, function()
      seen[#seen + 1] = n
      f:reactor_stop()
    end)
  end
  f:send("broker.ping", {})
  support.run(f)
  spec.same(seen, { 3 })
end)

test("a newer handler that does not match leaves the message to an older one", function()
  local f = support.open()
  local seen = {}
  on_message(f, "broker.ping", nil, function()
    seen[#seen + 1] = "older"
    f:reactor_stop()
  end)
  on_message(f, "broker.pin", nil, error)
  on_message(f, "broker.*", EVENT, error)
  f:send("broker.ping", {})
  support.run(f)
  spec.same(seen, { "older" })
end)

test("an event goes to every handler that matches", function()
  local f, topic = subscribed()
  local seen = {}
  for _, pattern in ipairs { topic, topic .. "*", "*", "nosuch" } do
    on_message(f, pattern, EVENT, function(_, msg)
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

test("events are handled in order, and each handler gets its own payload table", function()
  local f, topic = subscribed()
  local seen = {}
  on_message(f, topic, EVENT, function(_, msg)
    seen[#seen + 1] = msg.data.n
    msg.data.n = "spoilt"
  end)
  on_message(f, topic, EVENT, function(_, msg)
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

test("events without payload or with a payload that is not JSON are handled", function()
  local f, topic = subscribed()
  local seen = {}
  on_message(f, topic, EVENT, function(_, msg)
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

test("a handler added in a handler gets the next message", function()
  local f = support.open()
  local seen = {}
  on_message(f, "broker.ping", RESPONSE, function(_, msg)
    seen[#seen + 1] = "first " .. msg.data.seq
    on_message(f, "broker.ping", RESPONSE, function(_, next)
      seen[#seen + 1] = "second " .. next.data.seq
      f:reactor_stop()
    end)
    f:send("broker.ping", { seq = 2 })
  end)
  f:send("broker.ping", { seq = 1 })
  support.run(f)
  spec.same(seen, { "first 1", "second 2" })
end)

test("a handler added during an event does not get that event", function()
  local f, topic = subscribed()
  local seen = {}
  on_message(f, topic, EVENT, function(_, msg, mh)
    mh:remove()
    on_message(f, topic, EVENT, function(_, next)
      seen[#seen + 1] = next.data.n
    end)
  end)
  f:sendevent({ n = 1 }, topic)
  f:sendevent({ n = 2 }, topic)
  drain(f)
  spec.same(seen, { 2 })
end)

test("either of two handlers of an event may remove the other", function()
  local f, topic = subscribed()
  local handlers, count = {}, 0
  for n = 1, 2 do
    handlers[n] = on_message(f, topic, EVENT, function()
      count = count + 1
      handlers[3 - n]:remove()
    end)
  end
  f:sendevent(topic)
  f:sendevent(topic)
  drain(f)
  equal(count, 2)
end)

test("a handler that removes itself is not called again", function()
  local f, topic = subscribed()
  local count = 0
  local mh = on_message(f, topic, EVENT, function(_, _, mh)
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

test("a handler removed before the reactor runs is not called", function()
  local f, topic = subscribed()
  on_message(f, topic, EVENT, error):remove()
  f:sendevent(topic)
  drain(f)
end)

test("a handler can replace itself a hundred times", function()
  local f = support.open()
  local count = 0
  local function answered(_, _, mh)
    count = count + 1
    mh:remove()
    if count < 100 then
      on_message(f, "broker.ping", RESPONSE, answered)
      f:send("broker.ping", {})
    end
  end
  on_message(f, "broker.ping", RESPONSE, answered)
  f:send("broker.ping", {})
  equal(f:reactor(), 0)
  equal(count, 100)
end)

test("a message handler that returns a negative number stops the reactor with an error", function()
  local f = support.open()
  local mh = on_message(f, "broker.ping", RESPONSE, function()
    return -1
  end)
  f:send("broker.ping", {})
  fails(nil, f:reactor())
  mh:remove()
  equal(f:reactor(), 0)
end)

test("an error in a message handler is raised by the reactor", function()
  local f = support.open()
  local value = {}
  local mh = on_message(f, "broker.ping", RESPONSE, function()
    error(value)
  end)
  f:send("broker.ping", {})
  equal(support.reactor_error(f), value)
  mh.handler = function()
    error "no luck"
  end
  f:send("broker.ping", {})
  raises("no luck.*stack traceback", f.reactor, f)
  mh:remove()
  equal(f:reactor(), 0)
end)

test("a response that no handler matches is dropped", function()
  local f, topic = subscribed()
  on_message(f, topic, EVENT, function() end)
  f:send("broker.ping", {})
  drain(f)
  equal(f:rpc("broker.ping", { seq = 5 }).seq, 5)
end)

test("rpc in a handler leaves other messages to their handlers", function()
  local f, topic = subscribed()
  local seen = {}
  on_message(f, topic, EVENT, function(_, msg)
    seen[#seen + 1] = msg.data.n
    equal(f:rpc("broker.ping", { seq = msg.data.n }).seq, msg.data.n)
  end)
  for n = 1, 5 do
    f:sendevent({ n = n }, topic)
  end
  drain(f)
  spec.same(seen, { 1, 2, 3, 4, 5 })
end)

test("recv in a handler receives its own response", function()
  local f, topic = subscribed()
  local seen
  on_message(f, topic, EVENT, function()
    seen = f:recv(f:send("broker.ping", { seq = 7 })).seq
  end)
  f:sendevent(topic)
  drain(f)
  equal(seen, 7)
end)

test("a message that arrived before its handler was added is handled", function()
  local f, topic = subscribed()
  f:sendevent({ n = 1 }, topic)
  f:rpc("broker.ping", {}, 0)
  local seen
  on_message(f, topic, EVENT, function(_, msg)
    seen = msg.data.n
  end)
  drain(f)
  equal(seen, 1)
end)

test("a message can be read after its handle is closed", function()
  local f, topic = subscribed()
  local kept
  on_message(f, topic, EVENT, function(_, msg)
    kept = msg
  end)
  f:sendevent({ n = 1 }, topic)
  drain(f)
  f:close()
  collectgarbage()
  equal(kept.data.n, 1)
  equal(kept.tag, topic)
end)
