-- The loopback (loop://): a handle receives the messages that it sends.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails

local function open()
  return support.open "loop://"
end

test("a request comes back as a message", function()
  local f = open()
  local matchtag, err = f:send("test", { foo = "bar" }, 0)
  spec.ok(matchtag > 0, err)
  local msg = spec.ok(f:recvmsg())
  equal(msg.type, "request")
  equal(msg.tag, "test")
  spec.same(msg.data, { foo = "bar" })
  equal(msg.nodeid, 0)
end)

test("a response comes back as a message", function()
  local f = open()
  local matchtag = f:send("test", { foo = "bar" })
  spec.returns({ 0 }, f:recvmsg():respond { bar = "baz" })
  local msg = spec.ok(f:recvmsg())
  equal(msg.type, "response")
  equal(msg.tag, "test")
  equal(msg.matchtag, matchtag)
  equal(msg.errnum, 0)
  spec.same(msg.data, { bar = "baz" })
end)

test("recv returns the response and its topic", function()
  local f = open()
  f:send("test", { n = 1 })
  f:recvmsg():respond { n = 2 }
  local data, topic = f:recv()
  spec.same(data, { n = 2 })
  equal(topic, "test")
end)

test("recv of an error response returns a table with errnum and errstr", function()
  local f = open()
  f:send "test"
  f:recvmsg():respond_error(2, "nothing here")
  local data, topic = f:recv()
  spec.same(data, { errnum = 2, errstr = "nothing here" })
  equal(topic, "test")
end)

test("messages come back in the order they were sent", function()
  local f = open()
  for n = 1, 10 do
    f:send("test." .. n, { n = n })
  end
  for n = 1, 10 do
    local msg = f:recvmsg()
    equal(msg.tag, "test." .. n)
    equal(msg.data.n, n)
  end
end)

test("recv of a matchtag returns the response to that request", function()
  local f = open()
  local first, second = f:send("a", { n = 1 }), f:send("b", { n = 2 })
  f:recvmsg():respond { n = 1 }
  f:recvmsg():respond { n = 2 }
  equal(f:recv(second).n, 2)
  equal(f:recv(first).n, 1)
end)

test("an event comes back", function()
  local f = open()
  spec.returns({ 0 }, f:sendevent({ n = 1 }, "spec.%d", 5))
  local data, topic = f:recv_event()
  spec.same(data, { n = 1 })
  equal(topic, "spec.5")
end)

test("loopback handles do not receive each other's messages", function()
  local a, b = open(), open()
  a:send("a", {})
  b:send("b", {})
  equal(b:recvmsg().tag, "b")
  equal(a:recvmsg().tag, "a")
end)

test("waiting on a loopback with no messages is an error", function()
  local f = open()
  local _, detail = fails("Resource deadlock avoided", f:recv())
  spec.matches(detail, "handlers run only in the reactor of their own handle$")
  fails("Resource deadlock avoided", f:recvmsg())
  fails("Resource deadlock avoided", f:recv_event())
  fails("Resource deadlock avoided", f:recv(12345))
end)

test("rpc, the KVS and barriers fail on a loopback", function()
  local f = open()
  fails(nil, f:rpc("broker.ping", {}))
  fails(nil, f:kvs_get "a")
  fails(nil, f:kvsdir())
  fails(nil, f:barrier("spec", 1))
end)

test("rank, size and arity of a loopback are numbers or nil", function()
  local f = open()
  for _, name in ipairs { "rank", "size", "arity" } do
    local value = f[name]
    spec.ok(value == nil or type(value) == "number", name)
  end
end)

test("a loopback carries the same payloads as a broker", function()
  local f = open()
  local data = { text = "a\0b\n\"\\", list = { 1, { 2 } }, whole = 9007199254740991 }
  f:send("test", data)
  spec.same(f:recvmsg().data, data)
end)

test("using a closed loopback raises an error", function()
  local f = spec.ok(flux.new "loop://")
  f:close()
  spec.raises("closed", f.send, f, "test")
end)
