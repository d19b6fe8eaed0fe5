-- Events: subscribe, sendevent, and recv_event.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails
local subscribed = support.subscribed

test("a subscriber receives an event's table and topic", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:sendevent({ test = "xxx" }, topic .. ".1"))
  local data, tag = f:recv_event()
  spec.same(data, { test = "xxx" })
  equal(tag, topic .. ".1")
end)

test("recv_event returns an empty table for an event without payload", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:sendevent(topic))
  local data, tag = f:recv_event()
  spec.same(data, {})
  equal(tag, topic)
end)

test("sendevent formats the topic, with and without a table", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:sendevent({ n = 1 }, "%s.%d", topic, 2))
  spec.returns({ 0 }, f:sendevent("%s.%03d-%s", topic, 7, "x"))
  equal(select(2, f:recv_event()), topic .. ".2")
  equal(select(2, f:recv_event()), topic .. ".007-x")
end)

test("sendevent with nil as table sends no payload", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:sendevent(nil, topic))
  equal(f:recvmsg().payload, nil)
end)

test("subscribe and unsubscribe format the topic", function()
  local f = support.open()
  local topic = support.unique "event"
  spec.returns({ 0 }, f:subscribe("%s.%d", topic, 1))
  f:sendevent("%s.1", topic)
  equal(select(2, f:recv_event()), topic .. ".1")
  spec.returns({ 0 }, f:unsubscribe("%s.%d", topic, 1))
end)

test("a subscription matches topics by prefix", function()
  local f, topic = subscribed()
  f:sendevent("other" .. topic)
  f:sendevent(topic:sub(1, -2))
  f:sendevent(topic .. "more")
  f:sendevent(topic .. ".more")
  equal(select(2, f:recv_event()), topic .. "more")
  equal(select(2, f:recv_event()), topic .. ".more")
end)

test("events arrive in the order they were sent", function()
  local f, topic = subscribed()
  local other = support.open()
  for n = 1, 20 do
    local sender = n % 2 == 0 and f or other
    -- Rank 0 publishes all events. When it has answered the ping, it has published this event.
    sender:sendevent({ n = n }, topic)
    sender:rpc("broker.ping", {}, 0)
  end
  for n = 1, 20 do
    equal(f:recv_event().n, n)
  end
end)

test("an event that matches two subscriptions arrives once", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:subscribe(topic .. ".a"))
  spec.returns({ 0 }, f:subscribe(topic .. ".a"))
  f:sendevent({ n = 1 }, topic .. ".a")
  f:sendevent({ n = 2 }, topic .. ".end")
  equal(f:recv_event().n, 1)
  equal(f:recv_event().n, 2)
end)

test("no events arrive after unsubscribe", function()
  local f, topic = subscribed()
  local kept = support.unique "kept"
  f:subscribe(kept)
  spec.returns({ 0 }, f:unsubscribe(topic))
  f:sendevent(topic)
  f:sendevent(kept)
  equal(select(2, f:recv_event()), kept)
end)

test("unsubscribe fails for a topic that was not subscribed to", function()
  local f, topic = subscribed()
  fails("No such file or directory", f:unsubscribe "notmytopic")
  fails("No such file or directory", f:unsubscribe(topic .. ".longer"))
  spec.returns({ 0 }, f:unsubscribe(topic))
  fails("No such file or directory", f:unsubscribe(topic))
end)

test("a topic that was subscribed to twice needs two unsubscribes", function()
  local f, topic = subscribed()
  spec.returns({ 0 }, f:subscribe(topic))
  spec.returns({ 0 }, f:unsubscribe(topic))
  f:sendevent({ n = 1 }, topic)
  equal(f:recv_event().n, 1)
  spec.returns({ 0 }, f:unsubscribe(topic))
  fails("No such file or directory", f:unsubscribe(topic))
end)

test("an event reaches every rank", function()
  local far = support.open_at(1)
  local f = support.open()
  local topic = support.unique "far"
  far:subscribe(topic)
  f:subscribe(topic)
  f:sendevent({ from = 0 }, topic)
  equal(far:recv_event().from, 0)
  far:sendevent({ from = 1 }, topic)
  equal(f:recv_event().from, 0)
  equal(f:recv_event().from, 1)
  equal(far:recv_event().from, 1)
end)

test("sendevent refuses an array as payload", function()
  local f, topic = subscribed()
  fails("Invalid argument", f:sendevent({ 1, 2 }, topic))
end)

test("a format that does not fit its arguments is an error", function()
  local f, topic = subscribed()
  fails("Invalid args", f:subscribe("%d", "x"))
  fails("Invalid args", f:unsubscribe "%d")
  local _, err = f:sendevent("%d", "x")
  spec.matches(err, "^string%.format: ")
  _, err = f:sendevent({}, "%d", "x")
  spec.matches(err, "^string%.format: ")
  f:sendevent({ n = 1 }, topic)
  equal(f:recv_event().n, 1)
end)

test("formatting uses string.format as it was when the module was loaded", function()
  local f, topic = subscribed()
  local original = string.format
  string.format = function()
    error "another string.format was called"
  end
  local ok, err = pcall(f.sendevent, f, "%s.%d", topic, 5)
  string.format = original
  spec.ok(ok, err)
  equal(select(2, f:recv_event()), topic .. ".5")
end)

test("event.publish publishes with and without a payload", function()
  local f, topic = subscribed()
  spec.ok(f:rpc("event.publish", { topic = topic, flags = 0 }))
  equal(f:recvmsg().payload, nil)
  spec.ok(f:rpc("event.publish", { topic = topic, flags = 0, payload = "e30A" }))
  spec.same(f:recv_event(), {})
end)

test("recv_event fails for a payload that is not JSON and then receives the next event", function()
  local f, topic = subscribed()
  spec.ok(f:rpc("event.publish", { topic = topic, flags = 0, payload = "aGVsbG8gd29ybGQ=" }))
  f:sendevent({ n = 1 }, topic)
  fails(nil, f:recv_event())
  equal(f:recv_event().n, 1)
end)

test("event.publish refuses malformed requests", function()
  local f, topic = subscribed()
  for _, request in ipairs {
    { topic = topic },
    { flags = 0 },
    { topic = topic, flags = 0, payload = "aGVsbG8gd29ybGQ%" },
    { topic = topic, flags = 4, payload = "ewA=" },
    { topic = 7, flags = 0 },
  } do
    fails("Protocol error", f:rpc("event.publish", request))
  end
end)

test("subscribing to the empty prefix receives every event", function()
  local f = support.open()
  spec.returns({ 0 }, f:subscribe "")
  local topic = support.unique "any"
  f:sendevent({ n = 1 }, topic)
  local data, tag
  repeat
    data, tag = f:recv_event()
  until tag == topic
  equal(data.n, 1)
  spec.returns({ 0 }, f:unsubscribe "")
end)

test("an event is received as a message of type event", function()
  local f, topic = subscribed()
  f:sendevent(topic)
  local msg = f:recvmsg()
  equal(msg.type, "event")
  equal(msg.tag, topic)
  equal(flux.MSGTYPE_EVENT, 4)
end)

test("a table after the topic raises an error, since the payload goes first", function()
  local f, topic = subscribed()
  for _, arguments in ipairs {
    { topic, { n = 1 } },
    { topic .. ".%s", "x", { n = 1 } },
    -- Formatting these alone would give a table's address, or an error from string.format.
    { topic .. ".%s", { n = 1 } },
    { topic .. ".%d", { n = 1 } },
    { topic .. "%%s", { n = 1 } },
    { topic, nil, 5, { n = 1 } },
    { { n = 1 }, topic, { n = 2 } },
    { topic, flux.json.array { 1 } },
  } do
    local count = 0
    for n in pairs(arguments) do
      count = math.max(count, n)
    end
    spec.raises("bad argument.*the payload goes first", f.sendevent, f, support.unpack(arguments, 1, count))
  end
  spec.raises("^[^\n]*event.lua:%d+: bad argument #2 to 'sendevent'", function()
    f:sendevent(topic, { n = 1 })
  end)
  f:sendevent({ n = 1 }, topic)
  equal(f:recv_event().n, 1)
end)

test("sendevent accepts a table that the format turns into text", function()
  local text = setmetatable({}, {
    __tostring = function()
      return "text"
    end,
  })
  local works, formatted = pcall(string.format, "%s", text)
  if not works or formatted ~= "text" then
    spec.skip "string.format of this Lua does not call __tostring"
  end
  local f, topic = subscribed()
  spec.returns({ 0 }, f:sendevent("%s.%s%%", topic, text))
  equal(select(2, f:recv_event()), topic .. ".text%")
  spec.raises("the payload goes first", f.sendevent, f, "%s.%s", topic, text, text)
  spec.raises("the payload goes first", f.sendevent, f, topic .. "%%s", text)
end)

test("subscribing to a glob fails with an error that suggests a prefix", function()
  local f = support.open()
  for pattern, beginning in pairs { ["a.*"] = "a.", ["a.[bc]"] = "a.", ["ab?"] = "ab", ["a*.b*"] = "a", ["*"] = "" } do
    for _, name in ipairs { "subscribe", "unsubscribe" } do
      local _, detail = fails("Invalid argument", f[name](f, pattern))
      spec.ok(detail:find("a topic prefix", 1, true), detail)
      spec.ok(detail:find("'" .. beginning .. "' stands for", 1, true), detail)
    end
  end
  fails("Invalid argument", f:subscribe("%s.%s", "a", "*"))
end)
