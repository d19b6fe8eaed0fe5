-- Events (A2).
local flux = require "flux"
local f = assert(flux.new(uri))
assert(f:subscribe("sweep.%s.", "event") == 0)
assert(f:subscribe "plain" == 0)
assert(f:sendevent({ n = 1, text = "some text" }, "sweep.event.%d", 1) == 0)
assert(f:sendevent "plain" == 0)
assert(f:sendevent(nil, "sweep.event.%s", "nil") == 0)
local data, topic = f:recv_event()
assert(data.n == 1 and topic == "sweep.event.1")
data, topic = f:recv_event()
assert(next(data) == nil and topic == "plain")
local msg = assert(f:recvmsg())
assert(msg.type == "event" and msg.tag == "sweep.event.nil" and msg.data == nil)
assert(f:unsubscribe("sweep.%s.", "event") == 0)
assert(f:unsubscribe "plain" == 0)
assert(select(2, f:unsubscribe "plain") == "No such file or directory")
return true
