-- The table of a message handler: its own keys, and missing or invalid fields.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails
local on_message = support.on_message
local REQUEST, RESPONSE = { flux.MSGTYPE_REQUEST }, { flux.MSGTYPE_RESPONSE }

test("invalid msgtypes are an error", function()
  local f = support.open()
  for _, msgtypes in ipairs { {}, { 0 }, { 16 }, { "event" }, { {} }, { 4, -1 }, { 1.5 }, 4, "event", true } do
    fails("Invalid typemask in msghandler", f:msghandler { pattern = "*", msgtypes = msgtypes, handler = print })
  end
  equal(f:reactor(), 0)
end)

test("rolemask accepts masks of 32 bits, and the owner's requests always pass", function()
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

test("keys of the table can be read and set on the message handler", function()
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

test("a handler sees keys that were set on its message handler", function()
  local f = support.open()
  local seen
  local mh = on_message(f, "broker.ping", RESPONSE, function(_, _, mh)
    seen = mh.test
    f:reactor_stop()
  end)
  mh.test = "foo"
  f:send("broker.ping", {})
  support.run(f)
  equal(seen, "foo")
end)

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:msghandler())
  fails("Expected table as 2nd argument", f:msghandler "pattern")
  fails("Mandatory table argument 'pattern' missing", f:msghandler {})
  fails("Mandatory table argument 'pattern' missing", f:msghandler { handler = print })
  fails("Mandatory table argument 'handler' missing", f:msghandler { pattern = "*" })
  equal(f:reactor(), 0)
end)

test("a field of the wrong type is named in the error", function()
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

test("tostring shows the kind of object and whether it was removed", function()
  local f = support.open()
  local mh = on_message(f, "*", nil, print)
  spec.matches(tostring(mh), "msghandler")
  mh:remove()
  spec.matches(tostring(mh), "removed")
end)
