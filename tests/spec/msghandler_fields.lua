-- The table that a message handler is made of (A3, A4): its own keys, and what is
-- missing or wrong in it.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails
local handle = support.handle
local REQUEST, RESPONSE = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }

test("types that are none are an error", function()
  local f = support.open()
  for _, msgtypes in ipairs { {}, { 0 }, { 16 }, { "event" }, { {} }, { 4, -1 }, { 1.5 }, 4, "event", true } do
    fails("Invalid typemask in msghandler", f:msghandler { pattern = "*", msgtypes = msgtypes, handler = print })
  end
  equal(f:reactor(), 0)
end)

test("rolemask says whose messages are taken, the owner's always", function()
  local f, service = support.service()
  for _, rolemask in ipairs { 0, 1, 2, 3, 2 ^ 32 - 1 } do
    local mh = spec.ok(f:msghandler {
      pattern = service .. ".x",
      msgtypes = REQUEST,
      rolemask = rolemask,
      handler = function(_, msg)
        msg:respond { rolemask = rolemask }
      end,
    })
    equal(support.call(f, service .. ".x", {}).data.rolemask, rolemask)
    mh:remove()
  end
  for _, wrong in ipairs { -1, 1.5, 2 ^ 32, "owner", true, {} } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = "*", handler = print, rolemask = wrong }), "rolemask")
  end
end)

test("the table's own keys are the handler's, to read and to set", function()
  local f = support.open()
  local mh = spec.ok(f:msghandler { pattern = "spec.*", handler = print, msgtypes = REQUEST, note = "mine" })
  equal(mh.pattern, "spec.*")
  equal(mh.handler, print)
  equal(mh.msgtypes, REQUEST)
  equal(mh.note, "mine")
  equal(mh.nosuch, nil)
  mh.note = 5
  equal(mh.note, 5)
  mh:remove()
  equal(mh.note, 5)
  equal(f:reactor(), 0)
end)

test("a handler sees the keys that others set", function()
  local f = support.open()
  local seen
  local mh = handle(f, "broker.ping", RESPONSE, function(_, _, mh)
    seen = mh.test
    f:reactor_stop()
  end)
  mh.test = "foo"
  f:send("broker.ping", {})
  support.run(f)
  equal(seen, "foo")
end)

test("what is missing is named", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:msghandler())
  fails("Expected table as 2nd argument", f:msghandler "pattern")
  fails("Mandatory table argument 'pattern' missing", f:msghandler {})
  fails("Mandatory table argument 'pattern' missing", f:msghandler { handler = print })
  fails("Mandatory table argument 'handler' missing", f:msghandler { pattern = "*" })
  equal(f:reactor(), 0)
end)

test("a field of a wrong kind is an error that names it", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = wrong, handler = print }), "pattern")
  end
  spec.refuses(f.msghandler, f, { pattern = "a\0b", handler = print })
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.msghandler, f, { pattern = "*", handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("tostring says what it is, and that it was removed", function()
  local f = support.open()
  local mh = handle(f, "*", nil, print)
  spec.matches(tostring(mh), "msghandler")
  mh:remove()
  spec.matches(tostring(mh), "removed")
end)
