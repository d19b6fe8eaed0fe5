-- Requests and responses: rpc, send, recv, and recvmsg.

local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

-- Rank 99 does not exist. Systems word the error in two ways.
local function fails_without_route(...)
  local _, err = ...
  spec.ok(err == "No route to host" or err == "Host is unreachable", err)
  return fails(nil, ...)
end

test("rpc returns the response's payload as a table", function()
  local f = support.open()
  local answer, err = f:rpc("broker.ping", { seq = "1", pad = "xxxxxx" })
  equal(err, nil)
  equal(answer.seq, "1")
  equal(answer.pad, "xxxxxx")
  equal(answer.errnum, nil)
  equal(select("#", f:rpc("broker.ping", {})), 1)
end)

test("rpc carries every kind of value in both directions", function()
  local f = support.open()
  local data = {
    text = 'quotes " and \\, a newline\n, ünïcödé, \127',
    whole = 12345678901,
    fraction = 0.1,
    negative = -2.5e-3,
    yes = true,
    no = false,
    list = { 1, "two", { three = 3 } },
    nested = { a = { b = { c = { d = "deep" } } } },
    ["odd key.with [things]"] = 1,
  }
  local answer = spec.ok(f:rpc("broker.ping", { data = data }))
  spec.same(answer.data, data)
end)

test("rpc carries a payload of a megabyte", function()
  local f = support.open()
  local text = ("0123456789abcdef"):rep(65536)
  equal(spec.ok(f:rpc("broker.ping", { text = text })).text, text)
end)

test("rpc carries a payload with the deepest nesting that can be encoded", function()
  local f = support.open()
  local deep = { n = 1 }
  for _ = 2, 999 do deep = { a = deep } end
  local answer = spec.ok(f:rpc("broker.ping", { deep = deep }))
  local depth, value = 0, answer.deep
  while value.a do depth, value = depth + 1, value.a end
  equal(depth, 998)
  equal(value.n, 1)
end)

test("rpc without a table sends a request without payload", function()
  local f = support.open()
  local server, service = support.service()
  f:send(service .. ".bare")
  equal(server:recvmsg().payload, nil)
  f:send(service .. ".bare", nil, f.rank)
  equal(server:recvmsg().payload, nil)
  f:send(service .. ".empty", {})
  equal(server:recvmsg().payload, "{}")
  fails("Protocol error", f:rpc "broker.ping")
end)

test("rpc returns an empty table for a response without payload", function()
  local f = support.open()
  local name = support.unique "bare"
  local answer, err = f:rpc("service.add", { service = name })
  spec.same(answer, {})
  equal(err, nil)
end)

test("rpc sends the request to the rank given", function()
  local f = support.open()
  for rank = 0, f.size - 1 do
    local answer = spec.ok(f:rpc("attr.get", { name = "rank" }, rank))
    equal(answer.value, ("%d"):format(rank))
    answer = spec.ok(f:rpc("attr.get", { name = "rank" }, { nodeid = rank }))
    equal(answer.value, ("%d"):format(rank))
  end
end)

test("NODEID_ANY, -1, nil and an empty table all mean any rank", function()
  local flux = require "flux"
  local f = support.open()
  for _, nodeid in ipairs { flux.NODEID_ANY, -1, { nodeid = flux.NODEID_ANY }, {} } do
    equal(spec.ok(f:rpc("broker.ping", { seq = 5 }, nodeid)).seq, 5)
  end
  equal(spec.ok(f:rpc("broker.ping", { seq = 5 }, nil)).seq, 5)
end)

test("NODEID_UPSTREAM means the parent, and rank 0 has none", function()
  local flux = require "flux"
  local root = support.open()
  if root.rank == 0 then
    fails_without_route(root:rpc("broker.ping", {}, flux.NODEID_UPSTREAM))
    fails_without_route(root:rpc("broker.ping", {}, -2))
  end
  local f = support.open_at(1)
  local answer = spec.ok(f:rpc("attr.get", { name = "rank" }, flux.NODEID_UPSTREAM))
  equal(answer.value, "0")
end)

test("rpc to a rank that does not exist fails with no route to host", function()
  local f = support.open()
  fails_without_route(f:rpc("broker.ping", { seq = 1 }, 99))
  fails_without_route(f:rpc("broker.ping", { seq = 1 }, { nodeid = 99 }))
end)

test("rpc to an unknown service fails and names the service", function()
  local f = support.open()
  local _, detail = fails("Function not implemented", f:rpc("nosuch.method", {}))
  spec.matches(detail, "nosuch%.method")
  fails("Function not implemented", f:rpc("broker.nosuch", {}))
  fails("Function not implemented", f:rpc("", {}))
  fails("Function not implemented", f:rpc(".", {}))
end)

test("rpc and send refuse an array as payload", function()
  local f = support.open()
  fails("Invalid argument", f:rpc("broker.ping", { 1, 2, 3 }))
  fails("Invalid argument", f:send("broker.ping", { 1, 2, 3 }))
  fails("Invalid argument", f:rpc("broker.ping", require("flux").json.array {}))
end)

test("rpc and send raise an error for a value that JSON cannot hold", function()
  local f = support.open()
  raises("function at %.jobs%[2%]%.run", f.rpc, f, "broker.ping", { jobs = { {}, { run = print } } })
  raises("function at %.jobs%[2%]%.run", f.send, f, "broker.ping", { jobs = { {}, { run = print } } })
end)

test("an error response carries the service's errno and text", function()
  local f = support.open()
  local server, service = support.service()
  local matchtag = f:send(service .. ".fail", {})
  server:recvmsg():respond_error(2, "there is nothing here")
  local answer, topic = f:recv(matchtag)
  equal(answer.errnum, 2)
  equal(answer.errstr, "there is nothing here")
  equal(topic, service .. ".fail")
end)

test("send returns a matchtag, and recv returns the response and its topic", function()
  local f = support.open()
  local matchtag, err = f:send("broker.ping", { seq = "1", pad = "xxxxxx" })
  spec.ok(matchtag > 0, err)
  local answer, topic = f:recv()
  equal(answer.seq, "1")
  equal(answer.pad, "xxxxxx")
  equal(topic, "broker.ping")
end)

test("send sends the request to the rank given", function()
  local f = support.open()
  local last = f.size - 1
  f:send("attr.get", { name = "rank" }, last)
  equal(f:recv().value, ("%d"):format(last))
  f:send("attr.get", { name = "rank" }, { nodeid = last })
  equal(f:recv().value, ("%d"):format(last))
end)

test("pending requests have different matchtags", function()
  local f = support.open()
  local _, service = support.service()
  local seen = {}
  for _ = 1, 50 do
    local matchtag = f:send(service .. ".wait", {})
    equal(seen[matchtag], nil)
    seen[matchtag] = true
  end
end)

test("recv of a matchtag leaves other responses in the queue", function()
  local f = support.open()
  local first = f:send("broker.ping", { seq = 1 })
  local second = f:send("broker.ping", { seq = 2 })
  local third = f:send("broker.ping", { seq = 3 })
  equal(f:recv(second).seq, 2)
  equal(f:recv(third).seq, 3)
  equal(f:recv(first).seq, 1)
end)

test("recv without a matchtag returns responses in order of arrival", function()
  local f = support.open()
  local server, service = support.service()
  for seq = 1, 3 do
    f:send(service .. ".echo", { seq = seq })
  end
  local requests = { server:recvmsg(), server:recvmsg(), server:recvmsg() }
  for _, n in ipairs { 3, 1, 2 } do
    requests[n]:respond { seq = n }
  end
  for _, n in ipairs { 3, 1, 2 } do
    equal(f:recv().seq, n)
  end
end)

test("recv skips events, and rpc skips all other messages", function()
  local f = support.open()
  local event = support.unique "event"
  f:subscribe(event)
  f:sendevent({ n = 1 }, event)
  f:send("broker.ping", { seq = 1 })
  equal(spec.ok(f:rpc("broker.ping", { seq = 2 })).seq, 2)
  equal(f:recv().seq, 1)
  equal(f:recv_event().n, 1)
end)

test("recv of an error response returns a table with errnum and the topic", function()
  local f = support.open()
  f:send("nosuch.method", {})
  local answer, topic = f:recv()
  equal(type(answer), "table")
  equal(answer.errnum, select(3, f:rpc("nosuch.method", {})))
  equal(topic, "nosuch.method")
end)

test("an error response without text has no errstr", function()
  local f = support.open()
  local server, service = support.service()
  f:send(service .. ".fail", {})
  server:recvmsg():respond_error(22)
  spec.same(f:recv(), { errnum = 22 })
end)

test("recvmsg returns the response as a message", function()
  local f = support.open()
  local matchtag = f:send("broker.ping", { seq = "1" })
  local msg = spec.ok(f:recvmsg())
  equal(msg.type, "response")
  equal(msg.matchtag, matchtag)
  equal(msg.errnum, 0)
  equal(msg.tag, "broker.ping")
  equal(msg.data.seq, "1")
end)

test("recvmsg of a matchtag returns that response", function()
  local f = support.open()
  local first = f:send("broker.ping", { seq = 1 })
  local second = f:send("broker.ping", { seq = 2 })
  equal(f:recvmsg(second).data.seq, 2)
  equal(f:recvmsg(first).data.seq, 1)
end)

test("rpc leaves earlier messages in the queue in order", function()
  local f = support.open()
  local sent = {}
  for seq = 1, 3 do
    sent[seq] = f:send("broker.ping", { seq = seq })
  end
  equal(spec.ok(f:rpc("broker.ping", { seq = 4 })).seq, 4)
  equal(f:recv(sent[2]).seq, 2)
  equal(f:recv().seq, 1)
  equal(spec.ok(f:rpc("broker.ping", { seq = 5 })).seq, 5)
  equal(f:recv().seq, 3)
end)

test("responses shorter and longer than the copy buffer are decoded", function()
  local f = support.open()
  for _, length in ipairs { 440, 470, 500, 512, 513, 600, 100000 } do
    local pad = ("x"):rep(length)
    equal(spec.ok(f:rpc("broker.ping", { pad = pad })).pad, pad)
    f:send("broker.ping", { pad = pad })
    equal(spec.ok(f:recv()).pad, pad)
    f:send("broker.ping", { pad = pad })
    local msg = f:recvmsg()
    equal(msg.data.pad, pad)
    equal(msg.data, msg.data)
    spec.ok(msg.payload:find(pad, 1, true), "the payload should hold the text")
  end
end)

test("rpc fails when its timeout expires", function()
  local f = support.open()
  local _, service = support.service()
  fails("Connection timed out", f:rpc(service .. ".slow", {}, { timeout = 0.05 }))
  fails("Connection timed out", f:rpc(service .. ".slow", {}, { timeout = 0 }))
end)

test("rpc with a timeout returns as soon as the response arrives", function()
  local f = support.open()
  -- The test would hang here if rpc waited for the timeout.
  equal(spec.ok(f:rpc("broker.ping", { seq = 1 }, { timeout = 1e6 })).seq, 1)
end)

test("a huge timeout never expires", function()
  local f = support.open()
  for _, long in ipairs { 1e10, 1e300, math.huge } do
    equal(spec.ok(f:rpc("broker.ping", { seq = 1 }, { timeout = long })).seq, 1)
    f:send("broker.ping", { seq = 2 }, { timeout = long })
    equal(f:recv().seq, 2)
  end
end)

test("a late response is not taken for the response to another request", function()
  local f = support.open()
  local server, service = support.service()
  for round = 1, 5 do
    fails("Connection timed out", f:rpc(service .. ".slow", {}, { timeout = 0.01 }))
    local late = server:recvmsg()
    f:send(service .. ".next", {})
    late:respond { is_late = true }
    server:recvmsg():respond { round = round }
    spec.same(f:recv(), { round = round })
  end
end)

test("recv gives up on a request when its timeout expires", function()
  local f = support.open()
  local server, service = support.service()
  local matchtag = f:send(service .. ".slow", {}, { timeout = 0.05 })
  fails("Connection timed out", f:recv(matchtag))
  server:recvmsg():respond { is_late = true }
  f:send("broker.ping", { seq = 9 })
  equal(f:recv().seq, 9)
end)

test("recvmsg gives up on a request when its timeout expires", function()
  local f = support.open()
  local _, service = support.service()
  f:send(service .. ".slow", {}, { timeout = 0.05 })
  fails("Connection timed out", f:recvmsg())
end)

test("a matchtag is not reused while a late response may arrive", function()
  local f = support.open()
  local server, service = support.service()
  local given_up = f:send(service .. ".slow", {}, { timeout = 0 })
  fails("Connection timed out", f:recv(given_up))
  for _ = 1, 20 do
    spec.ok(f:send(service .. ".next", {}) ~= given_up, "the matchtag was reused")
  end
  spec.ok(server:recvmsg():respond {})
end)

test("a response in time is received from a send with a timeout", function()
  local f = support.open()
  f:send("broker.ping", { seq = 4 }, { timeout = 1e6 })
  equal(f:recv().seq, 4)
end)

test("an unknown option is an error that names it", function()
  local f = support.open()
  for _, name in ipairs { "rpc", "send" } do
    raises("bad argument", f[name], f, "broker.ping", {}, { timeuot = 1 })
    raises("timeuot", f[name], f, "broker.ping", {}, { timeuot = 1 })
    raises("bad argument", f[name], f, "broker.ping", {}, { 1 })
  end
end)

test("an option of the wrong type is an error", function()
  local f = support.open()
  for _, name in ipairs { "rpc", "send" } do
    for _, wrong in ipairs { -1, 0 / 0, "soon", true, {} } do
      raises("bad argument", f[name], f, "broker.ping", {}, { timeout = wrong })
    end
    for _, wrong in ipairs { 1.5, "all", true, {}, -3, 2 ^ 32, 2 ^ 70 } do
      raises("bad argument", f[name], f, "broker.ping", {}, { nodeid = wrong })
    end
  end
end)

test("waiting for a response that nobody can send fails on an embedded broker", function()
  if not support.is_embedded then
    spec.skip "a real instance waits for other processes"
  end
  local f = support.open()
  local _, service = support.service()
  for _, results in ipairs {
    { f:rpc(service .. ".slow", {}) },
    { f:recv() },
    { f:recvmsg() },
    { f:recv_event() },
  } do
    local _, detail = fails("Resource deadlock avoided", support.unpack(results, 1, 4))
    spec.matches(detail, "handlers run only in the reactor of their own handle$")
  end
end)

test("rpc with an empty topic explains what a topic is", function()
  local f = support.open()
  for _, payload in ipairs { false, {} } do
    local _, detail = fails("Function not implemented", f:rpc("", payload or nil))
    spec.matches(detail, "^the topic is empty: .*broker%.ping")
  end
end)

test("a service at another rank answers", function()
  local far, service = support.service(1)
  local f = support.open()
  f:send(service .. ".double", { n = 21 }, 1)
  local request = far:recvmsg()
  request:respond { n = 2 * request.data.n }
  equal(f:recv().n, 42)
  fails("Function not implemented", f:rpc(service .. ".double", {}, 0))
end)

test("a service ends when it is removed or its handle is closed", function()
  local f = support.open()
  local server, service = support.service()
  spec.ok(server:rpc("service.remove", { service = service }))
  fails("Function not implemented", f:rpc(service .. ".method", {}))
  local closing, closed_service = support.service()
  closing:close()
  fails("Function not implemented", f:rpc(closed_service .. ".method", {}, { timeout = 5 }))
end)
