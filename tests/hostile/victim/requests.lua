-- Requests to a service of the script: their payloads and topics, and a handler that
-- raises a payload as an error.

local flux = require "flux"
local cases = require "cases"
local support = require "support"

local test, check, equal, sent = support.test, support.check, support.equal, support.sent
local bounded = support.bounded
local victim, MIB = support.victim, support.MIB

local server = assert(flux.new())
assert(server:rpc("service.add", { service = victim }))

local function receive(route, name, n)
  sent(route, name, n)
  return assert(server:recvmsg())
end

for _, case in ipairs(cases) do
  local name, n = case[1], case[2]
  test(("a request has payload %s %d"):format(name, n), function()
    local msg = receive("request", name, n)
    equal(msg.type, "request")
    local value, err, code, detail = msg.data, nil, nil, nil
    if value == nil then
      value, err, code, detail = getmetatable(msg).__index(msg, "data")
      check(err == nil or (err == "Protocol error" and code == 71), "no error text", err, code)
      check(detail == nil or #detail < 200, "too long", detail)
    end
    check(msg.payload == nil or type(msg.payload) == "string", "not a string", msg.payload)
    -- A request can be answered, whatever its payload.
    equal(msg:respond { ok = true }, 0)
    equal(msg:respond_error(22, "no"), 0)
  end)
end

for _, name in ipairs { "percent", "glob", "control", "long" } do
  test("a request's topic may be " .. name, function()
    local msg = receive("request-topic", name, 100000)
    equal(msg.tag:sub(1, #victim + 1), victim .. ".")
    check(#tostring(msg) < 1000, "tostring is too long", #tostring(msg))
  end)
end

test("a handler that raises a peer's text uses bounded memory", function()
  local mh = server:msghandler {
    pattern = victim .. ".hit",
    msgtypes = { flux.MSGTYPE_REQUEST },
    handler = function(_, msg)
      error(msg.payload, 0)
    end,
  }
  local grown = bounded(250 * MIB, 30, function()
    sent("request", "mebibytes", 16)
    local ok, said = pcall(server.reactor, server)
    check(not ok and #tostring(said) >= 16 * MIB, "not raised", ok)
  end)
  mh:remove()
  return grown
end)

server:close()
