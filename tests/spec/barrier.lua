-- f:barrier (A2): several processes wait for each other.

local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

-- Start processes that enter a barrier of this name and print what it returned.
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

local function each_entered(entrants)
  for _, entrant in ipairs(entrants) do
    equal(entrant:read "*a", "entered\t0\n")
    entrant:close()
  end
end

test("a barrier of one process returns at once", function()
  local f = support.open()
  spec.returns({ 0 }, f:barrier(support.unique "one", 1))
end)

test("the name of a barrier can be used again, by the same handle and by another", function()
  local f, other = support.open(), support.open()
  local name = support.unique "again"
  for _ = 1, 5 do
    spec.returns({ 0 }, f:barrier(name, 1))
    spec.returns({ 0 }, other:barrier(name, 1))
  end
end)

test("a barrier at another rank returns at once, too", function()
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

test("a barrier leaves nothing in the way of the handle's messages", function()
  local f = support.open()
  local topic = support.unique "event"
  f:subscribe(topic)
  f:sendevent({ n = 1 }, topic)
  f:send("broker.ping", { seq = 1 })
  spec.returns({ 0 }, f:barrier(support.unique "messages", 1))
  equal(f:recv().seq, 1)
  equal(f:recv_event().n, 1)
end)

test("a barrier leaves what was put and not committed as it is", function()
  local f, key = support.kvs()
  f:kvs_put(key, 1)
  spec.returns({ 0 }, f:barrier(support.unique "pending", 1))
  fails("No such file or directory", f:kvs_get(key))
  spec.ok(f:kvs_commit())
  equal(f:kvs_get(key), 1)
end)

test("waiting for others who cannot come is an error on an embedded broker", function()
  if not support.is_embedded then
    spec.skip "on a real instance it waits for others"
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
  each_entered(entrants)
end)

test("nobody leaves a barrier before the last has come", function()
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
  each_entered { late }
end)

test("a barrier's name is used again by the same processes, many times", function()
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
  each_entered(others)
end)

test("barriers of two names do not mix, even if one begins with the other", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "prefix"
  local a = start_entrants(1, name, 2)
  local b = start_entrants(1, name .. "-longer", 2)
  spec.returns({ 0 }, f:barrier(name .. "-longer", 2))
  each_entered(b)
  spec.returns({ 0 }, f:barrier(name, 2))
  each_entered(a)
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
  each_entered { entrant }
end)

-- A process that is in a barrier of two, and is ended after a while.
local function start_doomed(name)
  return support.start(([[
    local f = assert(require "flux".new())
    print(f:barrier(%q, 2))
  ]]):format(name), 0.5)
end

test("a barrier can be entered after one that was in it died", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "died"
  equal(start_doomed(name):read "*a", "")
  local entrants = start_entrants(1, name, 2)
  spec.returns({ 0 }, f:barrier(name, 2))
  each_entered(entrants)
end)

-- Enter a barrier of one in a process of its own.
local function enter_alone(name)
  local entrant = support.start(([[
    local f = assert(require "flux".new())
    print(f:barrier(%q, 1))
  ]]):format(name))
  local output = entrant:read "*a"
  entrant:close()
  return output
end

test("a barrier of one returns after one that was in a barrier of its name died", function()
  support.needs_processes()
  local name = support.unique "died-alone"
  equal(start_doomed(name):read "*a", "")
  equal(enter_alone(name), "0\n")
end)

test("a process that means another number is told, or let through, and does not wait", function()
  support.needs_processes()
  local f = support.open()
  local name = support.unique "numbers"
  local entrants = start_entrants(1, name, 2)
  os.execute "sleep 0.3"
  local output = enter_alone(name)
  spec.ok(output == "0\n" or output:find "^nil\t", output)
  spec.returns({ 0 }, f:barrier(name, 2))
  each_entered(entrants)
end)

test("arguments of a wrong kind are errors that name them", function()
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
