-- Unexpected responses: repeated ones, unknown matchtags, and streams.

local flux = require "flux"
local support = require "support"

local test, check, equal, ask = support.test, support.check, support.equal, support.ask
local sent, bounded = support.sent, support.bounded
local service, is_embedded, MIB = support.service, support.is_embedded, support.MIB

-- Runs a test on a handle of its own. A surplus response stays on that handle.
local function on_a_handle(body)
  return function()
    local own = support.f
    support.f = assert(flux.new())
    local ok, said = pcall(body)
    support.f:close()
    support.f = own
    if not ok then
      error(said, 0)
    end
  end
end

-- Checks that later calls return well-formed results. libflux reuses a matchtag at
-- once, so on a real instance a surplus response may be taken for that of a later call.
local function later_calls_end(must_match)
  for i = 1, 50 do
    local pong, err, code = support.f:rpc("broker.ping", { seq = i }, { timeout = support.PATIENCE })
    check(type(pong) == "table" or (pong == nil and type(code) == "number"), "malformed", pong, err)
    if must_match then
      equal(pong.seq, i)
    end
  end
end

for _, payload in ipairs { "object", "binary" } do
  test("a second response to an rpc is harmless, with payload " .. payload, on_a_handle(function()
    local first = ask("twice", payload, 0)
    check(payload == "binary" or first.a == 1, "not the first", first)
    later_calls_end(is_embedded)
  end))
end

test("a response with an unknown matchtag is not returned by rpc", on_a_handle(function()
  for _ = 1, 20 do
    sent("stranger", "object", 0)
  end
  later_calls_end(true)
end))

test("an rpc that is answered by a stream returns its first response", on_a_handle(function()
  local value, err, code = ask("stream", "object", 100)
  if code == 95 and is_embedded then
    support.skip()
  end
  check(value and value.a == 1, "not the first", value, err)
  later_calls_end(false)
end))

test("recv returns each response of a stream", on_a_handle(function()
  local tag = support.f:send(("%s.stream.object.5"):format(service), {})
  for _ = 1, is_embedded and 0 or 5 do
    equal(assert(support.f:recv(tag)).a, 1)
  end
  later_calls_end(true)
end))

test("10,000 responses that nobody waits for leave no memory behind", function()
  return bounded(100 * MIB, 60, function()
    for _ = 1, 10000 do
      support.f:send(("%s.respond.object.0"):format(service), {})
      assert(support.f:recv())
    end
  end)
end)

test("the script does not see control messages", function()
  sent("control", "x", 0)
end)

test("a service name that the broker uses is refused", function()
  local value, _, code = support.f:rpc("service.add", { service = "kvs" })
  check(value == nil and code == 17, "not EEXIST", value, code)
end)
