-- Messages from a guest. Only handlers that allow guests receive them.

local flux = require "flux"
local support = require "support"

local test, check, equal, sent = support.test, support.check, support.equal, support.sent
local victim = support.victim

local server = assert(flux.new())
assert(server:rpc("service.add", { service = victim }))
local seen = {}
local function add_handler(rolemask)
  return server:msghandler {
    pattern = victim .. ".*",
    msgtypes = { flux.MSGTYPE_REQUEST },
    rolemask = rolemask,
    handler = function(h, msg)
      seen[#seen + 1] = { userid = msg.userid, rolemask = msg.rolemask }
      h:reactor_stop()
    end,
  }
end

-- Runs the reactor until a handler stops it. Pass `seconds` if no handler should run.
local function run(seconds)
  local timer = server:timer { timeout = (seconds or support.PATIENCE) * 1000, handler = function(h) h:reactor_stop() end }
  server:reactor()
  timer:remove()
end

test("a handler does not get a guest's request by default", function()
  local mh = add_handler()
  sent("guest", "object", 2)
  run(0.5)
  equal(#seen, 0)
  -- It does get a request of the owner.
  sent("request", "object", 0)
  run()
  equal(#seen, 1)
  equal(seen[1].rolemask % 2, 1)
  mh:remove()
end)

test("a handler that allows guests gets a guest's request with its userid and role", function()
  seen = {}
  local mh = add_handler(2)
  sent("guest", "object", 2)
  run()
  equal(#seen, 1)
  equal(seen[1].userid, 12345)
  equal(math.floor(seen[1].rolemask / 2) % 2, 1, "the guest bit")
  equal(seen[1].rolemask % 2, 0, "the owner bit")
  mh:remove()
end)

test("a handler that allows other roles does not get a guest's request", function()
  seen = {}
  local mh = add_handler(0x10)
  sent("guest", "object", 2)
  run(0.5)
  equal(#seen, 0)
  mh:remove()
end)

test("a handler does not get a guest's event by default", function()
  assert(server:subscribe("%s.event", victim))
  local events = {}
  local mh = server:msghandler {
    pattern = victim .. ".event",
    msgtypes = { flux.MSGTYPE_EVENT },
    handler = function(h, msg)
      events[#events + 1] = msg.userid
      h:reactor_stop()
    end,
  }
  sent("guest-event", "object", 2)
  sent("event", "object", 0)
  run()
  equal(#events, 1)
  check(events[1] ~= 12345, "got the guest's event", events[1])
  mh:remove()
end)

test("recvmsg returns a guest's request with its userid and role", function()
  sent("guest", "object", 2)
  local msg = assert(server:recvmsg())
  equal(msg.userid, 12345)
  equal(msg.rolemask % 2, 0)
end)

server:close()
