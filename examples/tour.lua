-- A short tour of the API. Each step prints a title and its results.
--
--   flux-lua --embedded examples/tour.lua     a broker in this process
--   flux start flux-lua examples/tour.lua     a real Flux instance
local flux = require "flux"
local kvs = require "kvs"

local function step(title) print("\n== " .. title) end

step "A handle is the connection to a broker"
local f = flux.assert(flux.new()) -- the broker that FLUX_URI names
local version, libflux, lua = flux.version()
print("flux-lua " .. version .. ", libflux-core " .. (libflux or "not needed") .. ", " .. lua)
print("rank " .. f.rank .. " of " .. f.size .. ", broker version " .. f:getattr("version"))

step "rpc: call a service and wait for its response"
local pong = flux.assert(f:rpc("broker.ping", { seq = 1, pad = "hello" }))
print("broker.ping answered: seq " .. pong.seq .. ", pad " .. pong.pad)

step "A call that fails returns nil, an error text, and an errno"
local answer, reason, errno = f:rpc("no.such.service", {})
print(answer, reason, errno)
print(f:rpc("broker.ping", {}, 99999)) -- a rank that does not exist
print(flux.errno[errno], flux.errno.ENOSYS, flux.strerror(errno))
print(pcall(flux.assert, f:rpc("no.such.service", {}))) -- raises the text and the detail

step "send and recv: several requests at once, responses by matchtag"
local tags = {}
for i = 1, 3 do tags[i] = flux.assert(f:send("broker.ping", { seq = i })) end
for i = 3, 1, -1 do
  local response, topic = f:recv(tags[i])
  print(topic .. " " .. response.seq)
end

step "recvmsg: the message itself"
f:send("broker.ping", { seq = 4 })
local msg = f:recvmsg()
print(msg.type, msg.tag, "errnum " .. msg.errnum, "seq " .. msg.data.seq)

step "A loopback handle: be the client and the service"
local loop = flux.assert(flux.new("loop://"))
loop:send("greet", { name = "flux" })
local request = loop:recvmsg()
request:respond { text = "hello, " .. request.data.name }
print(loop:recv().text)

step "Events go to all subscribers"
f:subscribe("tour.")
f:sendevent({ answer = 42 }, "tour.%s", "event")
local event, topic = f:recv_event()
print(topic .. ": the answer is " .. event.answer)
f:unsubscribe("tour.")

step "The KVS: a commit stores all pending values at once"
f:kvs_put("tour.title", "a tour")
f:kvs_put("tour.steps", { "rpc", "events", "kvs" })
f:kvs_put("tour.pi", 3.14159)
f:kvs_symlink("tour.link", "tour.title")
flux.assert(f:kvs_commit())
print("tour.pi is " .. f:kvs_get("tour.pi"))
print("tour.link is a", f:kvs_type("tour.link"))

step "A KVS directory can be used like a table"
local dir = flux.assert(f:kvsdir("tour"))
dir.count = #dir.steps
dir:commit()
for name in kvs.keys(flux.assert(f:kvsdir("tour"))) do
  local value = dir[name]
  print(name, type(value) == "table" and table.concat(value, " ") or value)
end

step "watch waits until a value changes"
print("title is now: " .. kvs.watch(dir, "title", "an old title"))
f:kvs_put("tour", nil) -- nil removes a key, here the whole directory
f:kvs_commit()

step "Lua and JSON: exact integers, empty arrays, and null"
print(flux.json.encode { ids = { 1, 2, 9007199254740993 }, none = flux.NULL })
print(flux.json.encode { empty = {}, list = flux.json.array {} })
print(flux.json.decode('{"a": [true, 1.5]}').a[2])

step "exitstatus: decode a wait status"
print(flux.exitstatus(256 * 3))
print(flux.exitstatus(9))

f:log("info", "the tour is over after %d steps", 13)
f:close()
print("\nThat was the tour.")
