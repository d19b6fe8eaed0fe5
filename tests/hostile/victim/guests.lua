-- Messages of a guest: they reach only handlers that were opened to guests.

local flux = require "flux"
local support = require "support"

local test, check, equal, sent = support.test, support.check, support.equal, support.sent
local victim = support.victim

local server = assert(flux.new())
assert(server:rpc("service.add", { service = victim }))
local seen = {}
local function handle(rolemask)
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

-- Until a handler is called; or for so many seconds, where none should be.
local function run(seconds)
  local timer = server:timer { timeout = (seconds or support.PATIENCE) * 1000, handler = function(h) h:reactor_stop() end }
  server:reactor()
  timer:remove()
end

test("a guest's request is not the handler's", function()
  local mh = handle()
  sent("guest", "object", 2)
  run(0.5)
  equal(#seen, 0)
  -- The owner's is.
  sent("request", "object", 0)
  run()
  equal(#seen, 1)
  equal(seen[1].rolemask % 2, 1)
  mh:remove()
end)

test("a handler for guests gets a guest's request, and who it is of", function()
  seen = {}
  local mh = handle(2)
  sent("guest", "object", 2)
  run()
  equal(#seen, 1)
  equal(seen[1].userid, 12345)
  equal(math.floor(seen[1].rolemask / 2) % 2, 1, "a guest")
  equal(seen[1].rolemask % 2, 0, "the owner")
  mh:remove()
end)

test("a handler for other roles does not get a guest's request", function()
  seen = {}
  local mh = handle(0x10)
  sent("guest", "object", 2)
  run(0.5)
  equal(#seen, 0)
  mh:remove()
end)

test("a guest's event is not the handler's", function()
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
  check(events[1] ~= 12345, "the guest's", events[1])
  mh:remove()
end)

test("recvmsg returns a guest's request, and says so", function()
  sent("guest", "object", 2)
  local msg = assert(server:recvmsg())
  equal(msg.userid, 12345)
  equal(msg.rolemask % 2, 0)
end)

server:close()
