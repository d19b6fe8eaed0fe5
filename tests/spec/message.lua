-- Messages: their fields, and how to respond to them.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

-- Publishes an event with these payload bytes, given as base64, and receives it.
local function event_of(base64)
  local f = support.open()
  local topic = support.unique "event"
  f:subscribe(topic)
  spec.ok(f:rpc("event.publish", { topic = topic, flags = 0, payload = base64 }))
  return spec.ok(f:recvmsg()), topic
end

-- Sends a request to a new service and receives it. Returns the request, the
-- client's handle, the matchtag, and the topic.
local function request_of(payload, options)
  local server, service = support.service()
  local f = support.open()
  local matchtag = spec.ok(f:send(service .. ".method", payload, options))
  return spec.ok(server:recvmsg()), f, matchtag, service .. ".method"
end

test("a request has the fields of a request", function()
  local msg, f, matchtag, topic = request_of { n = 1 }
  equal(type(msg), "userdata")
  equal(msg.type, "request")
  equal(msg.tag, topic)
  equal(msg.matchtag, matchtag)
  equal(msg.payload, '{"n":1}')
  spec.same(msg.data, { n = 1 })
  equal(msg.nodeid, flux.NODEID_ANY)
  equal(msg.streaming, false)
  equal(msg.userid, f:rpc("broker.ping", {}).userid)
  equal(msg.rolemask % 2, 1)
end)

test("a request sent to a rank has that rank as nodeid", function()
  local f = support.open()
  equal(request_of({}, f.rank).nodeid, f.rank)
  equal(request_of({}, { nodeid = f.rank }).nodeid, f.rank)
end)

test("a response has the fields of a response", function()
  local request, f, matchtag, topic = request_of {}
  spec.returns({ 0 }, request:respond { n = 2 })
  local msg = f:recvmsg()
  equal(msg.type, "response")
  equal(msg.tag, topic)
  equal(msg.matchtag, matchtag)
  equal(msg.payload, '{"n":2}')
  spec.same(msg.data, { n = 2 })
  equal(msg.errnum, 0)
  equal(msg.streaming, false)
end)

test("an event has the fields of an event", function()
  local f = support.open()
  local topic = support.unique "event"
  f:subscribe(topic)
  f:sendevent({ n = 3 }, topic)
  local msg = f:recvmsg()
  equal(msg.type, "event")
  equal(msg.tag, topic)
  equal(msg.payload, '{"n":3}')
  spec.same(msg.data, { n = 3 })
  equal(msg.streaming, false)
  equal(type(msg.userid), "number")
  equal(type(msg.rolemask), "number")
end)

-- Reads a field and returns all results. Plain indexing would keep only the first.
local function read(msg, field)
  return getmetatable(msg).__index(msg, field)
end

test("reading a field that the message type lacks is an error", function()
  local request = request_of {}
  fails("zmsg: errnum requested for non-response msg", read(request, "errnum"))
  equal(request.errnum, nil)
  local event = event_of "e30A"
  fails("zmsg: errnum requested for non-response msg", read(event, "errnum"))
  fails(nil, read(event, "matchtag"))
  fails(nil, read(event, "nodeid"))
end)

test("an unknown field of a message is nil", function()
  local msg = request_of {}
  equal(msg.nosuch, nil)
  equal(msg[1], nil)
  equal(msg[true], nil)
end)

test("assigning to a field of a message raises an error", function()
  local msg = request_of { n = 1 }
  raises("^[^\n]*message.lua:%d+: cannot set field 'tag' of a flux message: it can only be read$", function()
    msg.tag = "x"
  end)
  raises("cannot set field 'data' of a flux message: it can only be read$", function()
    msg.data = {}
  end)
  raises("cannot set field 'mine' of a flux message: keep the value", function()
    msg.mine = 1
  end)
  spec.same(msg.data, { n = 1 })
end)

test("data decodes the payload once and keeps the table", function()
  local msg = request_of { list = { 1, 2 } }
  spec.ok(rawequal(msg.data, msg.data))
  msg.data.note = "kept"
  collectgarbage()
  equal(msg.data.note, "kept")
  equal(msg.payload, '{"list":[1,2]}')
end)

test("two messages have separate data tables", function()
  local a, b = request_of { n = 1 }, request_of { n = 1 }
  spec.ok(not rawequal(a.data, b.data))
end)

test("a message without payload has no data", function()
  local msg = request_of()
  spec.returns({ n = 1 }, read(msg, "data"))
  spec.returns({ n = 1 }, read(msg, "payload"))
end)

test("a payload that is not JSON fails only when data is read", function()
  local msg, topic = event_of "aGVsbG8gd29ybGQ="
  equal(msg.type, "event")
  equal(msg.tag, topic)
  equal(msg.payload, "hello world")
  for _ = 1, 2 do
    local _, detail = fails("Protocol error", read(msg, "data"))
    spec.matches(detail, "byte 1")
  end
  equal(msg.payload, "hello world")
end)

test("payload returns any bytes unchanged", function()
  -- The bytes are 0, 1, 255, 0, 254.
  local msg = event_of "AAH/AP4="
  equal(msg.payload, "\0\1\255\0\254")
  fails("Protocol error", read(msg, "data"))
end)

test("data may be any JSON value, not only an object", function()
  local list = event_of "WzEsMl0="
  spec.same(list.data, { 1, 2 })
  local text = event_of "InRleHQi"
  equal(text.data, "text")
  local null = event_of "bnVsbA=="
  equal(null.payload, "null")
  equal(null.data, nil)
end)

test("an error response has an errnum, and its text is the payload", function()
  local request, f = request_of {}
  spec.returns({ 0 }, request:respond_error(13, "not you"))
  local msg = f:recvmsg()
  equal(msg.errnum, 13)
  equal(msg.payload, "not you")
  fails("Protocol error", read(msg, "data"))
end)

test("respond without a table sends no payload", function()
  local request, f = request_of {}
  spec.returns({ 0 }, request:respond())
  local msg = f:recvmsg()
  equal(msg.errnum, 0)
  equal(msg.payload, nil)
end)

test("respond accepts only a table that encodes as an object", function()
  local request = request_of {}
  fails("Invalid argument", request:respond { 1, 2, 3 })
  raises("bad argument", request.respond, request, "text")
  raises("bad argument", request.respond, request, 42)
  raises("function at %.f", request.respond, request, { f = print })
  spec.returns({ 0 }, request:respond { n = 1 })
end)

test("respond_error needs a positive errno and accepts an optional text", function()
  local request = request_of {}
  for _, wrong in ipairs { 0, -1, 1.5, 2 ^ 40, "x", true, {} } do
    raises("bad argument", request.respond_error, request, wrong)
  end
  raises("bad argument", request.respond_error, request)
  raises("bad argument", request.respond_error, request, 2, {})
  spec.returns({ 0 }, request:respond_error(2, ""))
end)

test("responding to a response or an event fails", function()
  local request, f = request_of {}
  request:respond {}
  for _, msg in ipairs { f:recvmsg(), (event_of "e30A") } do
    fails("Invalid argument", msg:respond {})
    fails("Invalid argument", msg:respond_error(2))
  end
end)

test("responding to a client that has closed its handle is harmless", function()
  local request, f = request_of {}
  f:close()
  local result, err = request:respond {}
  spec.ok(result == 0 or type(err) == "string", err)
end)

test("a message can be read, but not responded to, after its handle is closed", function()
  local server, service = support.service()
  local f = support.open()
  f:send(service .. ".method", { n = 5 })
  local msg = server:recvmsg()
  server:close()
  equal(msg.type, "request")
  equal(msg.data.n, 5)
  raises("closed", msg.respond, msg, {})
  raises("closed", msg.respond_error, msg, 2)
end)

test("tostring of a message shows its type and topic", function()
  local request, _, _, topic = request_of {}
  spec.matches(tostring(request), "request")
  spec.ok(tostring(request):find(topic, 1, true), tostring(request))
end)

test("requests of several clients can be answered in any order", function()
  local server, service = support.service()
  local clients, requests = {}, {}
  for n = 1, 4 do
    clients[n] = support.open()
    clients[n]:send(service .. ".method", { n = n })
    requests[n] = server:recvmsg()
  end
  for n = 4, 1, -1 do
    requests[n]:respond { n = n }
  end
  for n = 1, 4 do
    equal(clients[n]:recv().n, n)
  end
end)
