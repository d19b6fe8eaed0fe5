-- Messages and timers on loop://. They measure the bindings alone, without a broker.

local subject = ...

if subject ~= "flux-lua" and subject ~= "C bindings" then
  return function() end
end
local flux = require "flux"
-- Check that the right module was loaded: only flux-lua has this function.
assert((type(flux.version) == "function") == (subject == "flux-lua"), "another module was loaded")

local PAYLOAD = { seq = "1", pad = "xxxxxx" }

-- The C bindings never free a matchtag and end the process when 1024 are in use. So
-- every subject gets a new handle after this many messages.
local MESSAGES_PER_HANDLE = 1000

local function on_handles(count, use)
  while count > 0 do
    local some = math.min(count, MESSAGES_PER_HANDLE)
    use(assert(flux.new "loop://"), some)
    count = count - some
  end
end

local function send_and_receive(f, count)
  local seen
  for _ = 1, count do
    f:send("test", PAYLOAD, 0)
    seen = f:recvmsg().data.seq
  end
  return seen
end

local function respond(f, count)
  local seen
  for _ = 1, count do
    f:send("test", PAYLOAD, 0)
    f:recvmsg():respond(PAYLOAD)
    seen = f:recv().pad
  end
  return seen
end

local function handle(f, count)
  local seen, pad = 0
  local handler = assert(f:msghandler {
    pattern = "test",
    msgtypes = { flux.MSGTYPE_REQUEST },
    handler = function(_, msg)
      seen = seen + 1
      if seen == count then
        pad = msg.data.pad
        f:reactor_stop()
        return
      end
      f:send("test", PAYLOAD, 0)
    end,
  })
  f:send("test", PAYLOAD, 0)
  f:reactor()
  handler:remove()
  assert(seen == count, seen)
  return pad
end

local MESSAGES = {
  ["send"] = { use = send_and_receive, expected = "1" },
  ["respond"] = { use = respond, expected = "xxxxxx" },
  ["handler"] = { use = handle, expected = "xxxxxx" },
}

local function messages(case)
  return {
    check = function()
      local seen = case.use(flux.new "loop://", 3)
      assert(seen == case.expected, seen)
      return seen
    end,
    run = function(count)
      on_handles(count, case.use)
    end,
  }
end

local function ignore() end

local function timers()
  local f = assert(flux.new "loop://")
  return {
    check = function()
      local expired = 0
      local function expire()
        expired = expired + 1
        f:reactor_stop()
      end
      f:timer({ timeout = 1, handler = expire }):remove()
      assert(f:timer { timeout = 20, handler = expire })
      f:reactor()
      assert(expired == 1, expired)
      return "1"
    end,
    run = function(count)
      for _ = 1, count do
        f:timer({ timeout = 100000, handler = ignore }):remove()
      end
    end,
  }
end

return function(name)
  return name == "timer" and timers() or messages(MESSAGES[name])
end
