-- Memory does not grow with use: everything that is dropped is freed.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test = spec.test

local function collect()
  collectgarbage()
  collectgarbage()
end

-- Collect this often, so that uncollected garbage does not count as growth.
local ROUNDS_PER_COLLECTION = 200

local function repeat_rounds(count, round)
  for n = 1, count do
    round(n)
    if n % ROUNDS_PER_COLLECTION == 0 then
      collectgarbage()
    end
  end
  collect()
end

-- Checks that `count` rounds leave no memory behind. The first half fills caches.
local function does_not_grow(count, round)
  repeat_rounds(count / 2, round)
  local before = collectgarbage "count"
  support.does_not_grow(function()
    repeat_rounds(count, round)
  end)
  local grown = collectgarbage "count" - before
  spec.ok(grown < 64, ("Lua's memory grew by %.1f KB"):format(grown))
end

local PAYLOAD = { text = ("text "):rep(100), list = { 1, 2, 3 } }

test("messages sent and received on a loopback are freed", function()
  local f = support.open "loop://"
  does_not_grow(10000, function()
    f:send("spec", PAYLOAD)
    local msg = f:recvmsg()
    spec.ok(msg.data.text)
  end)
end)

-- Most of a message's memory is outside of Lua, and Lua needs two collections to free
-- an object with a finalizer and what it refers to.
test("the collector keeps up with messages by itself", function()
  local f = support.open "loop://"
  local payload = { text = "text" }
  local function most_of(count)
    local most = 0
    for n = 1, count do
      f:send("spec", payload)
      spec.ok(f:recvmsg().data.text)
      if n % 200 == 0 then
        most = math.max(most, collectgarbage "count")
      end
    end
    return most
  end
  collect()
  local part = math.floor(30000 / support.slowdown)
  local before = math.max(most_of(part), most_of(part))
  local grown = most_of(part) - before
  -- Lua 5.5 reaches its steady state late if the heap is large.
  spec.ok(grown < 256 + before / 8, ("Lua's memory grew by %.0f KB"):format(grown))
end)

local LARGE = { text = ("x"):rep(0x100000) }

test("large unreferenced messages do not pile up", function()
  local is_told = rawget(_G, "jit") or _VERSION > "Lua 5.2"
  if not is_told then
    spec.skip "this Lua's collector does not account for memory outside of Lua"
  end
  local f = support.open "loop://"
  local before, most = support.resident(), 0
  for _ = 1, math.ceil(300 / support.slowdown) do
    f:send("spec", LARGE)
    spec.equal(f:recvmsg().tag, "spec")
    most = math.max(most, support.resident() or 0)
  end
  if before then
    spec.ok(most - before < 100 * 1024, ("the process grew by %d KB"):format(most - before))
  end
end)

test("a finalizer that raises an error does not lose a message", function()
  if _VERSION ~= "Lua 5.3" then
    spec.skip "only Lua 5.3 raises errors of finalizers when a message is accounted for"
  end
  local f = support.open "loop://"
  local meta = { __gc = function()
    error "raised by a finalizer"
  end }
  local raised = 0
  for _ = 1, math.ceil(8 / support.slowdown) do
    local count, received = 5000, 0
    collectgarbage "stop"
    for n = 1, count do
      f:send("spec", { n = n })
      setmetatable({}, meta)
    end
    collectgarbage "restart"
    for _ = 1, 2 * count do
      local ok, msg = pcall(f.recvmsg, f)
      raised = raised + (ok and 0 or 1)
      received = received + (ok and msg and 1 or 0)
    end
    repeat
    until pcall(collectgarbage)
    spec.equal(received, count)
  end
  spec.ok(raised > 0)
end)

test("messages do not start a collector that was stopped", function()
  local f = support.open "loop://"
  local garbage = setmetatable({ {} }, { __mode = "v" })
  collectgarbage "stop"
  spec.after(function()
    collectgarbage "restart"
  end)
  for _ = 1, 20 do
    f:send("spec", LARGE)
    spec.equal(f:recvmsg().tag, "spec")
  end
  spec.ok(garbage[1])
  collectgarbage "restart"
  collect()
  spec.equal(garbage[1], nil)
end)

test("requests and responses on a loopback are freed", function()
  local f = support.open "loop://"
  does_not_grow(6000, function(n)
    f:send("spec", PAYLOAD)
    if n % 2 == 0 then
      f:recvmsg():respond(PAYLOAD)
    else
      f:recvmsg():respond_error(2, "no")
    end
    spec.ok(f:recv())
  end)
end)

test("responses of rpc are freed", function()
  local f = support.open()
  does_not_grow(1500, function()
    spec.ok(f:rpc("broker.ping", PAYLOAD))
    f:rpc("nosuch.method", PAYLOAD)
  end)
end)

test("matchtags are released with their responses", function()
  local f = support.open()
  does_not_grow(1500, function()
    f:send("broker.ping", PAYLOAD)
    spec.ok(f:recv())
  end)
end)

test("requests that timed out are forgotten when their response arrives", function()
  local f = support.open()
  local server, service = support.service()
  does_not_grow(600, function()
    f:rpc(service .. ".slow", PAYLOAD, { timeout = 0 })
    server:recvmsg():respond(PAYLOAD)
    f:rpc("broker.ping", {})
  end)
end)

test("events are freed", function()
  local f = support.open()
  local topic = support.unique "event"
  f:subscribe(topic)
  does_not_grow(600, function()
    f:sendevent(PAYLOAD, topic)
    spec.ok(f:recv_event())
  end)
end)

test("handles that are dropped without close are closed", function()
  does_not_grow(200, function(n)
    local f = spec.ok(flux.new())
    f:kvs_put("spec-growth", PAYLOAD)
    if n % 10 == 0 then
      collectgarbage()
    end
  end)
end)

test("directories, iterators and values are freed", function()
  local f, key = support.kvs()
  support.put(f, key, { a = PAYLOAD, ["d.b"] = PAYLOAD })
  does_not_grow(300, function()
    local dir = f:kvsdir(key)
    for name in dir:keys() do
      spec.ok(dir[name])
    end
    spec.ok(dir.d.b.text)
    spec.ok(dir:watch "a")
  end)
end)

test("transactions are freed when they are committed", function()
  local f, key = support.kvs()
  does_not_grow(150, function(n)
    f:kvs_put(key .. ".a", n)
    spec.ok(f:kvs_commit())
    f:kvs_put(".", n)
    f:kvs_commit()
  end)
end)

test("barriers leave nothing behind", function()
  local f = support.open()
  local name = support.unique "growth"
  does_not_grow(100, function()
    spec.ok(f:barrier(name, 1))
  end)
end)

test("errors are freed", function()
  local f = support.open()
  does_not_grow(2000, function()
    pcall(f.rpc, f, 42)
    pcall(f.rpc, f, "broker.ping", { list = { 1, { run = print } } })
    pcall(flux.json.encode, { [true] = 1 })
    flux.json.decode '{"list":[1,2,{"a":"b"},x]}'
  end)
end)

test("JSON that was encoded and decoded is freed", function()
  does_not_grow(6000, function()
    spec.ok(flux.json.decode(flux.json.encode(PAYLOAD)))
  end)
end)
