-- Responding to requests in message handlers, and services in the same process,
-- in other processes, and at other ranks.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises
local on_message, call, expect_response = support.on_message, support.call, support.expect_response
local REQUEST, RESPONSE = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }

test("a handler answers a request", function()
  local f, service = support.service()
  local types = {}
  on_message(f, service .. ".double", REQUEST, function(_, msg)
    types[#types + 1] = msg.type
    spec.returns({ 0 }, msg:respond { n = 2 * msg.data.n })
  end)
  for n = 1, 3 do
    local answer = call(f, service .. ".double", { n = n })
    spec.same(answer, { errnum = 0, data = { n = 2 * n }, text = ('{"n":%d}'):format(2 * n) })
  end
  spec.same(types, { "request", "request", "request" })
end)

test("a request without payload has no data", function()
  local f, service = support.service()
  local seen = {}
  on_message(f, service .. ".empty", REQUEST, function(_, msg)
    seen.data, seen.payload = msg.data, msg.payload
    msg:respond()
  end)
  equal(call(f, service .. ".empty").errnum, 0)
  spec.same(seen, {})
end)

test("a handler answers with an error, with and without a text", function()
  local f, service = support.service()
  on_message(f, service .. ".*", REQUEST, function(_, msg)
    spec.returns({ 0 }, msg:respond_error(msg.data.errnum, msg.data.text))
  end)
  spec.same(call(f, service .. ".a", { errnum = 2, text = "there is none" }), { errnum = 2, text = "there is none" })
  spec.same(call(f, service .. ".b", { errnum = 22 }), { errnum = 22 })
end)

test("a request can be answered later from a timer", function()
  local f, service = support.service()
  local kept = {}
  on_message(f, service .. ".slow", REQUEST, function(_, msg)
    kept[#kept + 1] = msg
    f:timer {
      timeout = 10 * (3 - msg.data.n),
      handler = function()
        msg:respond { n = msg.data.n }
      end,
    }
  end)
  local order = {}
  on_message(f, service .. ".slow", RESPONSE, function(_, msg)
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

test("a request can be answered after its reactor has ended", function()
  local f, service = support.service()
  local kept
  on_message(f, service .. ".late", REQUEST, function(_, msg)
    kept = msg
    f:reactor_stop()
  end)
  f:send(service .. ".late", {})
  support.run(f)
  spec.returns({ 0 }, kept:respond { late = true })
  equal(f:recv().late, true)
end)

test("a request can be answered several times", function()
  local f, service = support.service()
  on_message(f, service .. ".many", REQUEST, function(_, msg)
    for n = 1, 3 do
      spec.returns({ 0 }, msg:respond { n = n })
    end
  end)
  local seen = {}
  on_message(f, service .. ".many", RESPONSE, function(_, msg)
    seen[#seen + 1] = msg.data.n
    if #seen == 3 then
      f:reactor_stop()
    end
  end)
  f:send(service .. ".many", {})
  support.run(f)
  spec.same(seen, { 1, 2, 3 })
end)

test("responding to a response or an event fails in a handler", function()
  local f, topic = support.subscribed()
  local refused = 0
  on_message(f, "*", nil, function(_, msg)
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

test("a request that no handler matches is answered with ENOSYS while the reactor runs", function()
  local f, service = support.service()
  on_message(f, service .. ".known", REQUEST, function(_, msg)
    msg:respond {}
  end)
  equal(call(f, service .. ".unknown", {}).errnum, 38)
  equal(call(f, service .. ".known", {}).errnum, 0)
end)

test("a request cannot be answered after its handle is closed", function()
  local f, service = support.service()
  local kept
  on_message(f, service .. ".x", REQUEST, function(_, msg)
    kept = msg
    f:reactor_stop()
  end)
  f:send(service .. ".x", {})
  support.run(f)
  f:close()
  raises("closed", kept.respond, kept, {})
end)

test("two handles serve each other from their own reactors", function()
  local server, service = support.service()
  local f = support.open()
  on_message(server, service .. ".echo", REQUEST, function(_, msg)
    msg:respond(msg.data)
  end)
  local seen = {}
  on_message(f, service .. ".echo", RESPONSE, function(_, msg)
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

test("a handler can run another handle's reactor to get its request served", function()
  local server, service = support.service()
  local f = support.open()
  on_message(server, service .. ".x", REQUEST, function(_, msg)
    msg:respond { served = true }
    server:reactor_stop()
  end)
  local answer = expect_response(f, service .. ".x")
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

test("another process calls a service of this one", function()
  local f, service = support.service()
  local count = 0
  on_message(f, service .. ".add", REQUEST, function(_, msg)
    count = count + 1
    msg:respond { sum = msg.data.a + msg.data.b }
  end)
  on_message(f, service .. ".done", REQUEST, function(_, msg)
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

test("a service in another process answers requests from the reactor", function()
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
  on_message(f, service .. ".*", RESPONSE, function(_, msg)
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

test("a service at another rank answers requests from the reactor", function()
  local far, service = support.service(1)
  local f = support.open()
  on_message(far, service .. ".where", REQUEST, function(_, msg)
    msg:respond { rank = far.rank }
  end)
  local answer = expect_response(f, service .. ".where")
  f:send(service .. ".where", {}, 1)
  local done = false
  on_message(f, service .. ".where", RESPONSE, function(_, msg)
    done, answer.data = true, msg.data
  end)
  support.run_all({ f, far }, function()
    return done
  end)
  spec.same(answer.data, { rank = 1 })
end)
