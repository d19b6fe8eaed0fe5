-- Run by each thread of tests/threads.rs in its own Lua state. All threads start a
-- round together and end it with a barrier. A thread checks what it can see by itself.
-- It counts the rest and returns the counts as JSON, and the test compares them.

local me, count, uri, seconds, tools = ...
local flux = require "flux"

local SIGUSR1, SIGUSR2, ENOENT, EINVAL = 10, 12, 2, 22
-- In each round: requests to each other thread, events per thread, blocking calls.
local REQUESTS, EVENTS, CALLS = 3, 4, 5
local TIMERS = 4

local began = os.time()
local round, is_last = 0, false

-- Counts over all rounds.
local total = {
  rounds = 0, answered = 0, served = 0, refused = 0, received = 0, order = 0,
  watched = 0, fired = 0, signals = 0, orphans = 0, disconnects = 0, called = 0, calls_done = 0,
}

local function check(holds, ...)
  if not holds then
    error(("thread %d, round %d: %s"):format(me, round, table.concat({ tostring((...)), select(2, ...) }, " ")), 2)
  end
  return holds, ...
end

local function equal(got, want, what)
  check(got == want, ("%s: expected %s, got %s"):format(what, tostring(want), tostring(got)))
end

local function step(what)
  tools.note(("round %d: %s"):format(round, what))
end

-- Returns the rank at which a thread offers its services.
local function rank_of(number)
  return number % 4
end

-- Opens a handle. Successive handles of a thread are at different ranks.
local opened = 0
local function open()
  local rank = rank_of(me + opened)
  opened = opened + 1
  return check(flux.new(("%s?rank=%d"):format(uri, rank)))
end

local function neighbour(distance)
  return (me + distance) % count
end

-- Returns how many orphan requests (below) each thread has been sent up to round `n`:
-- one per round, except in rounds in which a thread would be its own target.
local function orphans_until(n)
  return n - math.floor(n / count)
end

local f = open()

-- Returns true when everything that this round waits for has arrived.
local function is_complete()
  local others = count - 1
  return total.answered == round * others * REQUESTS
    and total.served == round * others * REQUESTS
    and total.received == round * count * EVENTS
    and total.watched == round
    and total.fired == round * TIMERS
    and total.signals == round
    and total.orphans == orphans_until(round)
    and total.disconnects >= total.orphans
end

local waits_for = is_complete
local function advance(name)
  total[name] = total[name] + 1
  if waits_for() then
    f:reactor_stop()
  end
end

-- Runs the reactor until the condition holds.
local function run(what, condition)
  step(what)
  waits_for = condition
  while not condition() do
    local active, why = f:reactor()
    check(active, what, why)
  end
end

local function handle(pattern, msgtype, handler)
  check(f:msghandler { pattern = pattern, msgtypes = { msgtype }, handler = handler })
end

local function has_disconnects()
  return total.disconnects >= total.orphans + round
end

-- The services of this thread. `add` answers some requests late and refuses others.
local service = "threads" .. me
local function respond(msg)
  if msg.data.a % 5 == 0 then
    return check(msg:respond_error(EINVAL, "five"))
  end
  check(msg:respond { sum = msg.data.a + msg.data.b })
end

local function serve()
  check(f:rpc("service.add", { service = service }))
  handle(service .. ".add", flux.MSGTYPE_REQUEST, function(_, msg)
    if msg.data.b % 2 == 0 then
      f:timer { timeout = 0, handler = function() respond(msg) end }
    else
      respond(msg)
    end
    advance "served"
  end)
  handle(service .. ".call", flux.MSGTYPE_REQUEST, function(_, msg)
    check(msg:respond { twice = 2 * msg.data.n })
  end)
  handle(service .. ".done", flux.MSGTYPE_REQUEST, function(_, msg)
    check(msg:respond {})
    advance "calls_done"
  end)
  handle(service .. ".orphan", flux.MSGTYPE_REQUEST, function(_, msg)
    -- The client has closed its handle, or is about to.
    check(msg:respond {})
    advance "orphans"
  end)
  handle(service .. ".disconnect", flux.MSGTYPE_REQUEST, function()
    advance "disconnects"
  end)
end

-- Maps the matchtag of each pending request to the expected answer.
local expected = {}

local function receive_responses()
  handle("threads*.add", flux.MSGTYPE_RESPONSE, function(_, msg)
    local sum = expected[msg.matchtag]
    check(sum, "an unexpected or repeated response")
    expected[msg.matchtag] = nil
    if sum == "refused" then
      equal(msg.errnum, EINVAL, "a refusal's errno")
      total.refused = total.refused + 1
    else
      equal(msg.errnum, 0, "a response's errno")
      equal(msg.data.sum, sum, "a response's sum")
    end
    advance "answered"
  end)
end

-- The events of each publisher arrive in order and once. The events of all publishers
-- arrive in the same order in every thread; total.order is a hash of this order.
local function receive_events()
  local last = {}
  handle("threads.event", flux.MSGTYPE_EVENT, function(_, msg)
    local event = msg.data
    equal(event.seq, (last[event.from] or 0) + 1, "the next event of " .. event.from)
    equal(event.round, round, "the round of an event")
    last[event.from] = event.seq
    total.order = (total.order * 31 + event.from * 1009 + event.seq) % 2 ^ 31
    is_last = is_last or event.last
    advance "received"
  end)
  check(f:subscribe "threads.event")
end

-- Watches the counter of the next thread, which increases by one each round.
local function watch_counter()
  check(f:kvswatcher {
    key = "threads.count." .. neighbour(1),
    handler = function(_, value, errnum)
      if value == nil then
        equal(errnum, ENOENT, "the errno of a counter that is not there yet")
        equal(total.watched, 0, "values of a counter before it is there")
      else
        equal(value, total.watched + 1, "the counter of " .. neighbour(1))
        advance "watched"
      end
    end,
  })
end

local function watch_signals()
  check(f:sighandler {
    sigmask = { SIGUSR1 },
    handler = function() advance "signals" end,
  })
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Encodes a text whose length is a multiple of three.
local function base64(text)
  return (text:gsub("...", function(three)
    local a, b, c = three:byte(1, 3)
    local bits = a * 65536 + b * 256 + c
    return (("...."):gsub(".", function()
      local digit = math.floor(bits / 262144)
      bits = bits % 262144 * 64
      return BASE64:sub(digit + 1, digit + 1)
    end))
  end))
end

-- One transaction increments this thread's counter and replaces the previous round's
-- pair of keys. Another one appends a line to the log of all threads.
local function commit()
  step "commits"
  check(f:kvs_put("threads.count." .. me, round))
  for _, name in ipairs { "a", "b" } do
    local key = ("threads.pair.%d.%s"):format(me, name)
    check(f:kvs_unlink(key .. round - 1))
    check(f:kvs_put(key .. round, true))
  end
  check(f:kvs_commit())
  local line = ("%04d:%06d\n"):format(me, round)
  local dirent = { type = "val", ver = 1, data = base64(line) }
  local APPEND = 32
  local op = { key = "threads.log", flags = APPEND, dirent = dirent }
  check(f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = { op } }))
  -- A directory's names come from one version of the KVS, whoever commits meanwhile.
  local pair = f:kvsdir("threads.pair.%d", neighbour(7))
  if pair then
    local names = {}
    for name in pair:keys() do
      names[#names + 1] = name
    end
    table.sort(names)
    local of = names[1]:match "%d+"
    equal(table.concat(names, " "), ("a%s b%s"):format(of, of), "the keys of a transaction")
  end
  step "a stream"
  local name = ("threads.stream.%d.%d"):format(me, round % 3)
  f:kvs_unlink(name)
  check(f:kvs_commit())
  local stream = check(f:kz_open(name, "w"))
  check(stream:write(line))
  stream:close()
  local reader = check(f:kz_open(name))
  equal(check(reader:read()).data, line, "a stream")
  reader:close()
end

-- Closes a handle while its request is on its way.
local function orphan()
  local target = neighbour(round)
  if target ~= me then
    local h = open()
    check(h:send(("threads%d.orphan"):format(target), {}, rank_of(target)))
    h:close()
  end
end

-- Opens and closes handles with every kind of object on them.
local function churn()
  step "handles come and go"
  orphan()
  for n = 1, 3 do
    local h = open()
    check(h:subscribe "threads.event")
    h:msghandler { pattern = "*", msgtypes = { flux.MSGTYPE_EVENT }, handler = function() end }
    h:timer { timeout = 1, oneshot = false, handler = function() end }
    h:sighandler { sigmask = { SIGUSR2 }, handler = function() end }
    h:kvswatcher { key = "threads.count." .. neighbour(n), handler = function() end }
    check(h:reactor "nowait")
    if n ~= 2 then
      h:close()
    end
  end
  -- Some threads share this instance. It ends when all of them have closed it.
  local other = ("%s-%d"):format(uri, round % 2)
  local h = check(flux.new(other .. "?size=2"))
  local key = ("own.%d"):format(me)
  check(h:kvs_put(key, round))
  check(h:kvs_commit())
  equal(h:kvs_get(key), round, "a key of another instance")
  h:close()
  if round % 4 == me % 4 then
    collectgarbage()
  end
end

-- Sends requests, events and a signal and starts timers, all at the same time.
local function exchange()
  step "sends"
  for other = 0, count - 1 do
    for n = 1, other ~= me and REQUESTS or 0 do
      local a, b = round * n + me, n
      local matchtag = check(f:send(("threads%d.add"):format(other), { a = a, b = b }, rank_of(other)))
      check(not expected[matchtag], "a matchtag in use")
      expected[matchtag] = a % 5 == 0 and "refused" or a + b
    end
  end
  local is_over = me == 0 and os.time() - began >= seconds
  for n = 1, EVENTS do
    local seq = (round - 1) * EVENTS + n
    check(f:sendevent({ from = me, seq = seq, round = round, last = is_over }, "threads.event"))
  end
  for n = 1, TIMERS do
    f:timer { timeout = n, handler = function() advance "fired" end }
  end
  if round % count == me then
    tools.signal(SIGUSR1)
  end
  run("waits for what the others send", is_complete)
  equal(next(expected), nil, "responses to come")
end

-- Makes blocking calls to the next thread while it runs its reactor. Then the two
-- swap roles.
local function call()
  step "calls"
  local h = open()
  local service, nodeid = "threads" .. neighbour(1), rank_of(neighbour(1))
  for n = 1, CALLS do
    local answer = check(h:rpc(service .. ".call", { n = n }, { nodeid = nodeid, timeout = 600 }))
    equal(answer.twice, 2 * n, "an answer")
    total.called = total.called + 1
  end
  check(h:rpc(service .. ".done", {}, nodeid))
  h:close()
end

local function be_called()
  run("is called", function() return total.calls_done == round end)
end

local function calls()
  if me % 2 == 0 then
    call()
    be_called()
  else
    be_called()
    call()
  end
  run("waits for handles that close", has_disconnects)
end

local function barrier()
  step "barrier"
  equal(check(f:barrier("threads", count)), 0, "a barrier")
end

step "begins"
serve()
receive_responses()
receive_events()
watch_counter()
watch_signals()
barrier()
repeat
  round = round + 1
  commit()
  churn()
  exchange()
  calls()
  barrier()
  total.rounds = round
until is_last
-- Anything that arrives now is one too many, and is counted.
for _ = 1, 100 do
  check(f:reactor "nowait")
end
-- Closing a handle sends disconnect requests, so wait for the other threads first.
barrier()
step "the end"
f:close()
return flux.json.encode(total)
