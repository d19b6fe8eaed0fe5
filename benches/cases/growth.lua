-- Growth: the time and the memory of an operation as the number of timers, keys,
-- ranks and so on grows ("timers" with 10 to 100,000). Running a case once creates
-- all of them.

local subject, _, meter = ...

if subject ~= "flux-lua" then
  return function() end
end
local flux = require "flux"

local PAYLOAD = { seq = "1", pad = "xxxxxx" }

-- Each time a case runs, it performs this many operations, if one alone would be too
-- short to measure.
local PER_ROUND = 100

local CASES = {}

local function ignore() end

-- Send all requests before taking a response. `take` then takes the responses, in
-- their order or by matchtag.
local function matchtags(take)
  return function(size)
    local f = assert(flux.new "embed://")
    local function run()
      local tags = {}
      for n = 1, size do
        tags[n] = f:send("broker.ping", PAYLOAD)
      end
      local peak = meter.resident()
      take(f, tags)
      return peak
    end
    return { operations = size, run = run }
  end
end

CASES["matchtags"] = matchtags(function(f, tags)
  for _ = 1, #tags do
    assert(f:recv().pad == PAYLOAD.pad)
  end
end)

CASES["matchtags newest first"] = matchtags(function(f, tags)
  for n = #tags, 1, -1 do
    assert(f:recv(tags[n]).pad == PAYLOAD.pad)
  end
end)

-- Messages one after the other. Each is garbage before the next one is sent.
function CASES.messages(size)
  local f = assert(flux.new "loop://")
  local function run()
    for _ = 1, size do
      f:send("test", PAYLOAD)
      assert(f:recvmsg().data.pad == PAYLOAD.pad)
    end
    return meter.resident()
  end
  return { operations = size, run = run }
end

function CASES.timers(size)
  local f = assert(flux.new "embed://")
  local function run()
    local timers = {}
    for n = 1, size do
      timers[n] = f:timer { timeout = 100000 + n, handler = ignore }
    end
    local peak = meter.resident()
    for n = 1, size do
      timers[n]:remove()
    end
    return peak
  end
  return { operations = size, run = run }
end

CASES["timers expire"] = function(size)
  local f = assert(flux.new "embed://")
  local function run()
    local expired = 0
    local function expire()
      expired = expired + 1
    end
    for _ = 1, size do
      f:timer { timeout = 0, handler = expire }
    end
    local peak = meter.resident()
    f:reactor()
    assert(expired == size, expired)
    return peak
  end
  return { operations = size, run = run }
end

-- Register handlers of requests, each with a topic or a pattern of its own.
local function register(f, size, pattern_format, handler)
  local handlers = {}
  for n = 1, size do
    handlers[n] = assert(f:msghandler {
      pattern = pattern_format:format(n),
      msgtypes = { flux.MSGTYPE_REQUEST },
      handler = handler,
    })
  end
  return handlers
end

local function handlers(pattern_format)
  return function(size)
    local f = assert(flux.new "loop://")
    local function run()
      local registered = register(f, size, pattern_format, ignore)
      local peak = meter.resident()
      for n = 1, size do
        registered[n]:remove()
      end
      return peak
    end
    return { operations = size, run = run }
  end
end

CASES["topics"] = handlers "topic-%d"
CASES["patterns"] = handlers "topic-%d.*"

-- Messages for the first of many handlers, one after the other.
local function dispatch(pattern_format, topic)
  return function(size)
    local f = assert(flux.new "loop://")
    local left
    register(f, size, pattern_format, function()
      left = left - 1
      if left == 0 then
        f:reactor_stop()
      else
        f:send(topic, PAYLOAD)
      end
    end)
    local function run()
      left = PER_ROUND
      f:send(topic, PAYLOAD)
      f:reactor()
      assert(left == 0, left)
    end
    return { operations = PER_ROUND, run = run }
  end
end

CASES["dispatch topics"] = dispatch("topic-%d", "topic-1")
CASES["dispatch patterns"] = dispatch("topic-%d.*", "topic-1.x")

-- Put `size` keys into the KVS directory "d" in one transaction.
local function fill(f, size)
  for n = 1, size do
    f:kvs_put("d.key-" .. n, n)
  end
  assert(f:kvs_commit())
end

CASES["keys committed"] = function(size)
  local f = assert(flux.new "embed://")
  local function run()
    fill(f, size)
    local peak = meter.resident()
    f:kvs_unlink "d"
    assert(f:kvs_commit())
    return peak
  end
  return { operations = size, run = run }
end

CASES["keys listed"] = function(size)
  local f = assert(flux.new "embed://")
  fill(f, size)
  local function run()
    local count = 0
    for _ in f:kvsdir("d"):keys() do
      count = count + 1
    end
    assert(count == size, count)
  end
  return { operations = size, run = run }
end

-- An operation on one of many keys, on a different one each time.
local function among_keys(use)
  return function(size)
    local f = assert(flux.new "embed://")
    fill(f, size)
    local function run()
      for n = 1, PER_ROUND do
        use(f, n * 7919 % size + 1)
      end
    end
    return { operations = PER_ROUND, run = run }
  end
end

CASES["get among keys"] = among_keys(function(f, n)
  assert(f:kvs_get("d.key-" .. n))
end)

CASES["put among keys"] = among_keys(function(f, n)
  f:kvs_put("d.key-" .. n, n + 1)
  assert(f:kvs_commit())
end)

CASES["ranks opened"] = function(size)
  local function run()
    local f = assert(flux.new("embed://growth?size=" .. size))
    assert(f.size == size)
    local peak = meter.resident()
    f:close()
    return peak
  end
  return { operations = 1, run = run }
end

CASES["ranks rpc"] = function(size)
  local f = assert(flux.new("embed://growth?size=" .. size))
  local function run()
    for _ = 1, PER_ROUND do
      assert(f:rpc("broker.ping", PAYLOAD, size - 1))
    end
  end
  return { operations = PER_ROUND, run = run }
end

CASES["ranks event"] = function(size)
  local f = assert(flux.new("embed://growth?size=" .. size))
  local last = assert(flux.new(("embed://growth?size=%d&rank=%d"):format(size, size - 1)))
  last:subscribe "growth"
  local function run()
    for n = 1, PER_ROUND do
      f:sendevent({ seq = n }, "growth")
      assert(last:recv_event().seq == n)
    end
  end
  return { operations = PER_ROUND, run = run }
end

-- A message with a payload of `size` bytes, sent, received and decoded. The time is
-- per byte.
function CASES.payload(size)
  local f = assert(flux.new "loop://")
  local payload = { pad = ("x"):rep(size) }
  local function run()
    f:send("test", payload)
    local msg = f:recvmsg()
    assert(#msg.data.pad == size)
    return meter.resident()
  end
  return { operations = size, run = run }
end

return function(name, size)
  local case = CASES[name](size)
  local run = case.run
  case.run = function(count)
    local peak
    for _ = 1, count do
      peak = run()
    end
    return peak
  end
  case.check = function()
    run()
    return "done"
  end
  return case
end
