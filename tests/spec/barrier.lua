-- f:barrier: several processes wait for each other.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

-- Starts processes that enter this barrier and print the result.
local function start_entrants(count, name, nprocs)
  local entrants = {}
  for n = 1, count do
    entrants[n] = support.start(([[
      local f = assert(require "flux".new())
      print("entered", f:barrier(%q, %d))
    ]]):format(name, nprocs))
  end
  return entrants
end

local function all_entered(entrants)
  for _, entrant in ipairs(entrants) do
    equal(entrant:read "*a", "entered\t0\n")
    entrant:close()
  end
end

-- True if the broker has a barrier service, as brokers before 0.78 do.
local function has_service(f)
  return f:rpc("barrier.ping", {}) ~= nil
end

test("a barrier of one process returns at once", function()
  local f = support.open()
  spec.returns({ 0 }, f:barrier(support.unique "one", 1))
end)

test("a barrier's name can be used again by the same handle and by others", function()
  local f, other = support.open(), support.open()
  local name = support.unique "again"
  for _ = 1, 5 do
    spec.returns({ 0 }, f:barrier(name, 1))
    spec.returns({ 0 }, other:barrier(name, 1))
  end
end)

test("a barrier of one at another rank returns at once", function()
  local f = support.open_at(1)
  spec.returns({ 0 }, f:barrier(support.unique "far", 1))
end)

test("a barrier may have any name", function()
  local f = support.open()
  for _, name in ipairs {
    "",
    " ",
    ".",
    "..",
    "a.b.c",
    "with space",
    "sl/ash",
    "ünïcödé",
    "new\nline",
    '"quoted"',
    "%d",
    "*",
    ("long"):rep(50),
  } do
    spec.returns({ 0 }, f:barrier(name .. support.unique "odd", 1))
  end
  spec.returns({ 0 }, f:barrier("", 1))
end)

test("a barrier does not consume the handle's messages", function()
  local f = support.open()
  local topic = support.unique "event"
  f:subscribe(topic)
  f:sendevent({ n = 1 }, topic)
  f:send("broker.ping", { seq = 1 })
  spec.returns({ 0 }, f:barrier(support.unique "messages", 1))
  equal(f:recv().seq, 1)
  equal(f:recv_event().n, 1)
end)

test("a barrier does not commit pending puts", function()
  local f, key = support.kvs()
  f:kvs_put(key, 1)
  spec.returns({ 0 }, f:barrier(support.unique "pending", 1))
  fails("No such file or directory", f:kvs_get(key))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 1)
end)

test("a barrier that nobody else can enter fails on an embedded broker", function()
  if not support.is_embedded then
    spec.skip "a real instance waits for other processes"
  end
  local f = support.open()
  local name = support.unique "alone"
  fails("Resource deadlock avoided", f:barrier(name, 2))
  spec.returns({ 0 }, f:barrier(name, 1))
end)

test("processes leave a barrier together", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "together"
  local entrants = start_entrants(3, name, 4)
  spec.returns({ 0 }, f:barrier(name, 4))
  all_entered(entrants)
end)

test("no process leaves a barrier before the last one enters", function()
  local f, key = support.kvs()
  support.needs_processes()
  local name = support.unique "last"
  local late = support.start(([[
    local f = assert(require "flux".new())
    os.execute "sleep 0.4"
    f:kvs_put(%q, "came")
    assert(f:kvs_commit())
    print("entered", f:barrier(%q, 2))
  ]]):format(key, name))
  spec.returns({ 0 }, f:barrier(name, 2))
  equal(f:kvs_get(key), "came")
  all_entered { late }
end)

test("the same processes can use a barrier's name many times", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "rounds"
  local others = {}
  for n = 1, 3 do
    others[n] = support.start(([[
      local f = assert(require "flux".new())
      for round = 1, 20 do
        assert(f:barrier(%q, 4))
      end
      print("entered", 0)
    ]]):format(name))
  end
  for _ = 1, 20 do
    spec.returns({ 0 }, f:barrier(name, 4))
  end
  all_entered(others)
end)

test("barriers are separate even if one name begins with the other", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "prefix"
  local a = start_entrants(1, name, 2)
  local b = start_entrants(1, name .. "-longer", 2)
  spec.returns({ 0 }, f:barrier(name .. "-longer", 2))
  all_entered(b)
  spec.returns({ 0 }, f:barrier(name, 2))
  all_entered(a)
end)

test("processes at different ranks meet in a barrier", function()
  support.needs_processes()
  local far = support.open_at(1)
  local uri = far:getattr "local-uri"
  local name = support.unique "ranks"
  local entrant = support.start(([[
    local f = assert(require "flux".new(%q))
    print("entered", f:barrier(%q, 2))
  ]]):format(uri, name))
  spec.returns({ 0 }, support.open():barrier(name, 2))
  all_entered { entrant }
end)

-- Starts a process that enters a barrier of two and is killed after half a second.
-- Returns when the broker no longer counts that process.
local function kill_an_entrant(f, name)
  local watches = has_service(f)
  if watches then
    f:subscribe "barrier.exit"
  end
  local entrant = support.start(([[
    local f = assert(require "flux".new())
    print(f:barrier(%q, 2))
  ]]):format(name), 0.5)
  equal(entrant:read "*a", "")
  if watches then
    -- The service publishes this event when it no longer counts the process.
    support.on_message(f, "barrier.exit", { flux.MSGTYPE_EVENT }, function(_, msg)
      if msg.data.name == name then
        f:reactor_stop()
      end
    end)
    -- Limit the wait: on a busy machine the process may die before it enters.
    support.run_for(f, 3000)
  end
end

test("a barrier can be entered after a process in it was killed", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "died"
  kill_an_entrant(f, name)
  local entrants = start_entrants(1, name, 2)
  spec.returns({ 0 }, f:barrier(name, 2))
  all_entered(entrants)
end)

-- Enters a barrier of one in another process. Returns what that process prints.
local function enter_alone(name)
  local entrant = support.start(([[
    local f = assert(require "flux".new())
    print(f:barrier(%q, 1))
  ]]):format(name))
  local output = entrant:read "*a"
  entrant:close()
  return output
end

test("a barrier of one returns after a process in a barrier of that name was killed", function()
  support.needs_processes()
  local name = support.unique "died-alone"
  kill_an_entrant(support.open(), name)
  equal(enter_alone(name), "0\n")
end)

test("a process that enters with another nprocs does not wait", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "numbers"
  local entrants = start_entrants(1, name, 2)
  os.execute "sleep 0.3"
  local output = enter_alone(name)
  spec.ok(output == "0\n" or output:find "^nil\t", output)
  spec.returns({ 0 }, f:barrier(name, 2))
  all_entered(entrants)
end)

test("f:barrier meets a process that enters through the broker's own service", function()
  local f, other = support.open(), support.open()
  if not has_service(f) then
    spec.skip "this broker has no barrier service"
  end
  for _ = 1, 3 do
    local name = support.unique "service"
    -- flux_barrier sends this request.
    local matchtag = spec.ok(other:send("barrier.enter", { name = name, nprocs = 2 }))
    spec.returns({ 0 }, f:barrier(name, 2))
    spec.returns({ {}, "barrier.enter" }, other:recv(matchtag))
  end
end)

test("a barrier of one does not release a process at the broker's own service", function()
  local f, other = support.open(), support.open()
  if not has_service(f) then
    spec.skip "this broker has no barrier service"
  end
  local name = support.unique "service-of-one"
  local request = { name = name, nprocs = 2 }
  local matchtag = spec.ok(other:send("barrier.enter", request, { timeout = 0.2 }))
  spec.returns({ 0 }, f:barrier(name, 1))
  fails("Connection timed out", other:recv(matchtag))
end)

test("a barrier works although a barrier service does not understand the request", function()
  support.needs_processes()
  local f = support.open()
  if has_service(f) then
    spec.skip "the broker's own barrier service understands the request"
  end
  local name = support.unique "misunderstood"
  local service = support.start [[
    local f = assert(require "flux".new())
    assert(f:rpc("service.add", { service = "barrier" }))
    print "ready"
    io.stdout:flush()
    for _ = 1, 2 do
      assert(f:recvmsg():respond_error(71))
    end
    print "twice"
  ]]
  equal(service:read "*l", "ready")
  local entrants = start_entrants(1, name, 2)
  spec.returns({ 0 }, f:barrier(name, 2))
  all_entered(entrants)
  equal(service:read "*l", "twice")
  service:close()
end)

test("an argument of the wrong type is named in the error", function()
  local f = support.open()
  for _, wrong in ipairs { true, {}, print } do
    raises("bad argument #1 to 'barrier'", function()
      f:barrier(wrong, 1)
    end)
  end
  for _, wrong in ipairs { "many", true, {}, 0, -1, 1.5, 2 ^ 70, 0 / 0 } do
    raises("bad argument #2 to 'barrier'", function()
      f:barrier("spec", wrong)
    end)
  end
  raises("bad argument", f.barrier, f, "spec")
  raises("bad argument", f.barrier, f)
end)
