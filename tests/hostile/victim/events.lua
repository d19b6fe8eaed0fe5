-- Events with malformed payloads and unusual topics.

local flux = require "flux"
local cases = require "cases"
local support = require "support"

local test, check, equal, sent = support.test, support.check, support.equal, support.sent
local f, victim, MIB = support.f, support.victim, support.MIB

local function next_event()
  local timer = f:timer { timeout = support.PATIENCE * 1000, handler = function(h) h:reactor_stop() end }
  local got
  local mh = f:msghandler {
    pattern = victim .. ".*",
    msgtypes = { flux.MSGTYPE_EVENT },
    handler = function(h, msg)
      got = msg
      h:reactor_stop()
    end,
  }
  f:reactor()
  timer:remove()
  mh:remove()
  return got
end

assert(f:subscribe("%s.event", victim))
for _, case in ipairs(cases) do
  local name, n, expect = case[1], case[2], case[3]
  test(("recv_event gets payload %s %d"):format(name, n), function()
    sent("event", name, n)
    expect(f:recv_event())
  end)
end

test("a pattern without a glob does not match a longer topic", function()
  local exact, all = 0, 0
  local one = f:msghandler {
    pattern = victim .. ".event",
    msgtypes = { flux.MSGTYPE_EVENT },
    handler = function() exact = exact + 1 end,
  }
  local any = f:msghandler {
    pattern = victim .. "*",
    msgtypes = { flux.MSGTYPE_EVENT },
    handler = function(h, msg)
      all = all + 1
      equal(msg.tag, victim .. ".event-but-longer")
      h:reactor_stop()
    end,
  }
  sent("topic", "prefix")
  f:reactor()
  one:remove()
  any:remove()
  equal(exact, 0)
  equal(all, 1)
end)

assert(f:subscribe("%s", victim))
for name, tail in pairs {
  percent = "%s%n%d",
  glob = "*?[a-",
  control = "a\27[2J\r\nb",
  [" "] = " ",
} do
  test("an event's topic may be " .. name, function()
    sent("topic", name, 0)
    local msg = next_event()
    check(msg, "no event arrived")
    equal(msg.tag, victim .. "." .. tail)
    check(tostring(msg):find(victim, 1, true), "tostring", tostring(msg))
  end)
end

test("an event's topic may be as long as a MiB", function()
  sent("topic", "long", MIB)
  local msg = next_event()
  check(msg, "no event arrived")
  equal(#msg.tag, MIB + #victim + 1)
  check(#tostring(msg) < 1000, "tostring is too long", #tostring(msg))
end)
