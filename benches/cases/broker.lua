-- Calls that a broker answers: "real rpc" uses the broker of FLUX_URI, "embedded
-- rpc" the one in this process.

local subject = ...

if subject ~= "flux-lua" and subject ~= "C bindings" then
  return function() end
end
local flux = require "flux"

local PAYLOAD = { seq = "1", pad = "xxxxxx" }
local IN_FLIGHT = 64
local KEYS = 50

local CASES = {}

function CASES.rpc(f)
  return {
    check = function()
      return assert(f:rpc("broker.ping", PAYLOAD)).pad
    end,
    run = function(count)
      for _ = 1, count do
        f:rpc("broker.ping", PAYLOAD)
      end
    end,
  }
end

local function pipeline(f, count)
  local sent, received, last = 0, 0, nil
  while received < count do
    while sent < count and sent - received < IN_FLIGHT do
      f:send("broker.ping", PAYLOAD)
      sent = sent + 1
    end
    last = f:recv()
    received = received + 1
  end
  return last.pad
end

function CASES.pipeline(f)
  return {
    check = function()
      return pipeline(f, 2 * IN_FLIGHT)
    end,
    run = function(count)
      pipeline(f, count)
    end,
  }
end

function CASES.event(f)
  local topic = ("bench.%s"):format(subject:gsub("%W", ""))
  assert(f:subscribe(topic))
  local function publish(count)
    local last
    for n = 1, count do
      f:sendevent({ seq = n }, topic)
      last = f:recv_event()
    end
    return last.seq
  end
  return {
    check = function()
      return ("%d"):format(publish(3))
    end,
    run = function(count)
      publish(count)
    end,
  }
end

function CASES.put(f)
  if not f.kvs_put then
    return nil
  end
  local function put(count)
    for n = 1, count do
      f:kvs_put("bench.k" .. n % KEYS, n)
      assert(f:kvs_commit())
    end
  end
  return {
    check = function()
      put(KEYS)
      return ("%d"):format(assert(f:kvs_get "bench.k7"))
    end,
    run = put,
  }
end

function CASES.get(f)
  local case = CASES.put(f)
  if not case then
    return nil
  end
  case.run(KEYS)
  return {
    check = case.check,
    run = function(count)
      for n = 1, count do
        f:kvs_get("bench.k" .. n % KEYS)
      end
    end,
  }
end

return function(name)
  local where, operation = name:match "^(%a+) (%a+)$"
  local is_embedded = where == "embedded"
  if is_embedded and subject ~= "flux-lua" or not is_embedded and not os.getenv "FLUX_URI" then
    return nil
  end
  local f = assert(flux.new(is_embedded and "embed://" or nil))
  return CASES[operation](f)
end
