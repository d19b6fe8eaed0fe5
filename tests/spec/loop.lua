-- The loopback (loop://): what a handle sends comes back to it.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails

local function open()
  return support.open "loop://"
end

test("a request that is sent comes back as a message", function()
  local f = open()
  local matchtag, err = f:send("test", { foo = "bar" }, 0)
  spec.ok(matchtag > 0, err)
  local msg = spec.ok(f:recvmsg())
  equal(msg.type, "request")
  equal(msg.tag, "test")
  spec.same(msg.data, { foo = "bar" })
  equal(msg.nodeid, 0)
end)

test("a response that is sent comes back as a message", function()
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

test("recv takes the response and its topic", function()
  local f = open()
  f:send("test", { n = 1 })
  f:recvmsg():respond { n = 2 }
  local data, topic = f:recv()
  spec.same(data, { n = 2 })
  equal(topic, "test")
end)

test("recv of an error response is a table with errnum and errstr", function()
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

test("recv takes the response of a matchtag from among others", function()
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

test("loopbacks do not hear each other", function()
  local a, b = open(), open()
  a:send("a", {})
  b:send("b", {})
  equal(b:recvmsg().tag, "b")
  equal(a:recvmsg().tag, "a")
end)

test("waiting on a loopback where nothing was sent is an error", function()
  local f = open()
  local _, detail = fails("Resource deadlock avoided", f:recv())
  spec.matches(detail, "handlers run only in the reactor of their own handle$")
  fails("Resource deadlock avoided", f:recvmsg())
  fails("Resource deadlock avoided", f:recv_event())
  fails("Resource deadlock avoided", f:recv(12345))
end)

test("what a loopback cannot do is an error", function()
  local f = open()
  fails(nil, f:rpc("broker.ping", {}))
  fails(nil, f:kvs_get "a")
  fails(nil, f:kvsdir())
  fails(nil, f:barrier("spec", 1))
end)

test("fields of a loopback are numbers or nil", function()
  local f = open()
  for _, name in ipairs { "rank", "size", "arity" } do
    local value = f[name]
    spec.ok(value == nil or type(value) == "number", name)
  end
end)

test("a loopback's payload holds what a broker's would", function()
  local f = open()
  local data = { text = "a\0b\n\"\\", list = { 1, { 2 } }, whole = 9007199254740991 }
  f:send("test", data)
  spec.same(f:recvmsg().data, data)
end)

test("a closed loopback says that it is closed", function()
  local f = spec.ok(flux.new "loop://")
  f:close()
  spec.raises("closed", f.send, f, "test")
end)
