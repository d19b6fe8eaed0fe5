-- Message handlers.
local flux = require "flux"
local f = assert(flux.new(uri))
local g = assert(flux.new(uri))
assert(g:rpc("service.add", { service = "sweep" }))
local requests, events, answers = 0, 0, 0
local mh = assert(g:msghandler {
  pattern = "sweep.*",
  msgtypes = { flux.MSGTYPE_REQUEST },
  rolemask = -1 % 2 ^ 32,
  handler = function(_, msg, mh)
    requests = requests + msg.data.n
    msg:respond { n = msg.data.n }
    if requests == 3 then
      mh:remove()
    end
  end,
})
assert(f:subscribe "sweep.event" == 0)
assert(f:msghandler {
  pattern = "sweep.event",
  msgtypes = { flux.MSGTYPE_EVENT },
  handler = function(_, msg, w)
    events = events + 1
    assert(msg.type == "event")
    w:remove()
  end,
})
assert(f:msghandler {
  pattern = "sweep.[ab]",
  msgtypes = { flux.MSGTYPE_RESPONSE },
  handler = function(_, msg, w)
    answers = answers + msg.data.n
    if answers == 3 then
      w:remove()
    end
  end,
})
assert(f:send("sweep.a", { n = 1 }))
assert(f:send("sweep.b", { n = 2 }))
assert(f:sendevent({ n = 4 }, "sweep.event") == 0)
assert(g:reactor "nowait")
for _ = 1, 20 do
  if events == 1 and answers == 3 then
    break
  end
  assert(g:reactor "nowait")
  assert(f:reactor "nowait")
end
assert(requests == 3 and events == 1 and answers == 3)
assert(tostring(mh) == "flux msghandler (removed)")
return true
