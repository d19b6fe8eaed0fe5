-- Watchers of KVS keys (A4).

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local ENOENT = 2

-- Note what the handler gets; at the `count`th call the reactor stops.
local function watch(f, key, count, isdir)
  local seen = {}
  local w
  w = spec.ok(f:kvswatcher {
    key = key,
    isdir = isdir,
    handler = function(self, value, errnum)
      equal(self, w)
      seen[#seen + 1] = value == nil and { errnum = errnum } or { value = value }
      if #seen == count then
        f:reactor_stop()
      end
    end,
  })
  return seen, w
end

-- What the handler gets first.
local function first(f, key)
  local seen, w = watch(f, key, 1)
  support.run(f)
  w:remove()
  equal(#seen, 1)
  return seen[1]
end

-- The values came in their order, each once.
local function in_order(seen, from, to)
  equal(#seen, to - from + 1)
  for n = from, to do
    equal(seen[n - from + 1].value, n)
  end
end

-- Commit a value from a handle of its own.
local function commit(key, value)
  local g = support.open()
  spec.ok(g:kvs_put(key, value))
  spec.ok(g:kvs_commit())
  g:close()
end

-- Call one function after the other, each when the handler was called again.
local function script(f, key, steps, fields)
  local seen = {}
  fields = fields or {}
  fields.key = key
  fields.handler = function(w, value, errnum)
    seen[#seen + 1] = value == nil and { errnum = errnum } or { value = value }
    local step = steps[#seen]
    if step then
      step()
    else
      w:remove()
      f:reactor_stop()
    end
  end
  spec.ok(f:kvswatcher(fields))
  support.run(f)
  return seen
end

test("the handler gets the current value first", function()
  local f, key = support.kvs()
  support.put(f, key, { a = "here" })
  spec.same(first(f, key .. ".a"), { value = "here" })
end)

test("the handler gets values of every kind", function()
  local f, key = support.kvs()
  for _, value in ipairs { "text", 42, 1.5, true, { 1, 2, 3 }, { a = { b = "c" } }, ("x"):rep(100000), "" } do
    commit(key .. ".a", value)
    spec.same(first(f, key .. ".a"), { value = value })
  end
end)

test("false is a value", function()
  local f, key = support.kvs()
  commit(key .. ".a", false)
  spec.same(first(f, key .. ".a"), { value = false })
end)

test("bare text is the string it is", function()
  local f, key = support.kvs()
  support.put_raw(f, key .. ".a", "aGVsbG8=")
  spec.same(first(f, key .. ".a"), { value = "hello" })
end)

test("a key that does not exist is nil first, and then what it becomes", function()
  local f, key = support.kvs()
  local seen = script(f, key .. ".a", {
    function()
      commit(key .. ".a", "born")
    end,
    function()
      commit(key .. ".a", "grown")
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "born" }, { value = "grown" } })
end)

test("nil comes once, however much else is committed before the key is there", function()
  local f, key = support.kvs()
  local seen, w = watch(f, key .. ".a", 2)
  support.run_until(f, function()
    return #seen == 1
  end)
  for n = 1, 5 do
    commit(key .. ".other", n)
  end
  support.pass(f, 20)
  commit(key .. ".a", 1)
  support.run(f)
  spec.same(seen, { { errnum = ENOENT }, { value = 1 } })
  w:remove()
end)

test("a key that is removed is nil, and it comes again", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen = script(f, key .. ".a", {
    function()
      f:kvs_unlink(key .. ".a")
      spec.ok(f:kvs_commit())
    end,
    function()
      commit(key .. ".a", 2)
    end,
    function()
      f:kvs_unlink(key)
      spec.ok(f:kvs_commit())
    end,
    function()
      commit(key .. ".a", 3)
    end,
  })
  spec.same(seen, { { value = 1 }, { errnum = ENOENT }, { value = 2 }, { errnum = ENOENT }, { value = 3 } })
end)

test("a hundred commits of another handle come each, in their order", function()
  local f, key = support.kvs()
  local g = support.open()
  commit(key .. ".a", 0)
  local seen, w = watch(f, key .. ".a", 101)
  local n = 0
  f:timer {
    timeout = 1,
    oneshot = false,
    handler = function(_, timer)
      n = n + 1
      g:kvs_put(key .. ".a", n)
      spec.ok(g:kvs_commit())
      if n == 100 then
        timer:remove()
      end
    end,
  }
  support.run(f)
  in_order(seen, 0, 100)
  w:remove()
end)

test("a hundred commits while no reactor runs come each, in their order", function()
  local f, key = support.kvs()
  local g = support.open()
  commit(key .. ".a", 0)
  local seen, w = watch(f, key .. ".a", 1)
  support.run(f)
  local count = 101
  w.handler = function(_, value)
    seen[#seen + 1] = { value = value }
    if #seen == count then
      f:reactor_stop()
    end
  end
  for n = 1, 100 do
    g:kvs_put(key .. ".a", n)
    spec.ok(g:kvs_commit())
  end
  support.run(f)
  in_order(seen, 0, 100)
  w:remove()
end)

test("commits from a key's first come each, though no reactor runs", function()
  local f, key = support.kvs()
  local seen, w = watch(f, key .. ".a", 1)
  support.run(f)
  for n = 1, 20 do
    commit(key .. ".a", n)
  end
  w.handler = function(_, value)
    seen[#seen + 1] = { value = value }
    if value == 20 then
      f:reactor_stop()
    end
  end
  support.run(f)
  equal(#seen, 21)
  for n = 1, 20 do
    equal(seen[n + 1].value, n)
  end
  w:remove()
end)

test("a hundred commits of another process come each, in their order", function()
  local f, key = support.kvs()
  commit(key .. ".a", 0)
  local seen, w = watch(f, key .. ".a", 101)
  local process = support.start(([[
    local f = require("flux").new()
    for n = 1, 100 do
      f:kvs_put("%s.a", n)
      assert(f:kvs_commit())
    end
  ]]):format(key))
  support.run(f)
  equal(process:read "*a", "")
  process:close()
  in_order(seen, 0, 100)
  w:remove()
end)

test("a commit of another rank comes too", function()
  local far = support.open_at(1)
  local f, key = support.kvs()
  local seen = script(f, key .. ".a", {
    function()
      far:kvs_put(key .. ".a", "from afar")
      spec.ok(far:kvs_commit())
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "from afar" } })
end)

test("a commit of the watcher's own handle comes too", function()
  local f, key = support.kvs()
  local seen = script(f, key .. ".a", {
    function()
      f:kvs_put(key .. ".a", "own")
      spec.ok(f:kvs_commit())
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "own" } })
end)

test("the same value again is no change, and other keys are none", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen, w = watch(f, key .. ".a", 2)
  support.run_until(f, function()
    return #seen == 1
  end)
  commit(key .. ".a", 1)
  commit(key .. ".b", 2)
  commit(key .. ".a", 3)
  support.run(f)
  spec.same(seen, { { value = 1 }, { value = 3 } })
  w:remove()
end)

test("several watchers of one key, and of several, see their own", function()
  local f, key = support.kvs()
  local all = {}
  for n = 1, 4 do
    commit(key .. ".a" .. n % 2, "old")
    all[n] = watch(f, key .. ".a" .. n % 2)
  end
  local function have(old, new)
    return function()
      return #all[1] == new and #all[2] == old and #all[3] == new and #all[4] == old
    end
  end
  support.run_until(f, have(1, 1))
  commit(key .. ".a1", "new")
  support.run_until(f, have(1, 2))
  for n = 1, 4 do
    spec.same(all[n], n % 2 == 1 and { { value = "old" }, { value = "new" } } or { { value = "old" } })
  end
end)

test("nothing comes after the watcher is removed", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen, w = watch(f, key .. ".a", 1)
  support.run(f)
  spec.ok(w:remove())
  spec.ok(w:remove())
  commit(key .. ".a", 2)
  support.pass(f, 30)
  equal(#seen, 1)
  equal(f:kvs_get(key .. ".a"), 2)
  equal(f:reactor(), 0)
end)

test("a watcher removed in its handler, or before any call, gets nothing", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local count = 0
  f:kvswatcher {
    key = key .. ".a",
    handler = function(w)
      count = count + 1
      commit(key .. ".a", 2)
      w:remove()
    end,
  }
  f:kvswatcher({ key = key .. ".a", handler = error }):remove()
  f:kvswatcher({ key = key .. ".nosuch", handler = error }):remove()
  support.run_until(f, function()
    return count > 0
  end)
  support.pass(f, 30)
  equal(count, 1)
  equal(f:reactor(), 0)
end)

test("a removed watcher's key may be watched again", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  for _ = 1, 20 do
    spec.same(first(f, key .. ".a"), { value = 1 })
  end
end)

test("a directory without isdir is an error at once", function()
  local f, key = support.kvs()
  commit(key .. ".a.b", 1)
  local called = false
  fails(
    "Is a directory",
    f:kvswatcher {
      key = key .. ".a",
      handler = function()
        called = true
      end,
    }
  )
  fails("Is a directory", f:kvswatcher { key = ".", handler = error })
  equal(f:reactor(), 0)
  equal(called, false)
end)

test("a value with isdir is an error at once", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  fails("Not a directory", f:kvswatcher { key = key .. ".a", isdir = true, handler = error })
  equal(f:reactor(), 0)
end)

test("a key that becomes a directory ends with Is a directory", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen = {}
  f:kvswatcher {
    key = key .. ".a",
    handler = function(_, value, errnum)
      seen[#seen + 1] = value == nil and { errnum = errnum } or { value = value }
      if #seen == 1 then
        commit(key .. ".a.b", 1)
      else
        f:reactor_stop()
      end
    end,
  }
  support.run(f)
  spec.same(seen, { { value = 1 }, { errnum = 21 } })
  equal(f:reactor(), 0)
end)

test("a directory with isdir is a kvsdir, each time anything below it changes", function()
  local f, key = support.kvs()
  commit(key .. ".a.b", 1)
  local seen = {}
  local steps = {
    function()
      commit(key .. ".a.b", 2)
    end,
    function()
      commit(key .. ".a.c.d", 3)
    end,
  }
  local w = spec.ok(f:kvswatcher {
    key = key .. ".a",
    isdir = true,
    handler = function(_, dir)
      local names = {}
      for name in dir:keys() do
        names[#names + 1] = name
      end
      table.sort(names)
      equal(tostring(dir), key .. ".a")
      seen[#seen + 1] = { names = names, b = dir.b }
      local step = steps[#seen]
      if step then
        step()
      else
        f:reactor_stop()
      end
    end,
  })
  support.run(f)
  spec.same(seen, { { names = { "b" }, b = 1 }, { names = { "b" }, b = 2 }, { names = { "b", "c" }, b = 2 } })
  w:remove()
end)

test("a directory that does not exist yet is nil first, and then a kvsdir", function()
  local f, key = support.kvs()
  local seen = script(f, key .. ".a", {
    function()
      commit(key .. ".a.b", 7)
    end,
  }, { isdir = true })
  spec.same(seen[1], { errnum = ENOENT })
  equal(#seen, 2)
  equal(seen[2].value.b, 7)
end)

test("a symlinked key follows its target, and the link", function()
  local f, key = support.kvs()
  commit(key .. ".target", "one")
  commit(key .. ".other", "other")
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = script(f, key .. ".link", {
    function()
      commit(key .. ".target", "two")
    end,
    function()
      f:kvs_symlink(key .. ".link", key .. ".other")
      spec.ok(f:kvs_commit())
    end,
    function()
      commit(key .. ".other", "other two")
    end,
  })
  spec.same(seen, { { value = "one" }, { value = "two" }, { value = "other" }, { value = "other two" } })
end)

test("a link that dangles is nil until its target is there", function()
  local f, key = support.kvs()
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = script(f, key .. ".link", {
    function()
      commit(key .. ".target", 1)
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = 1 } })
end)

test("a key behind a symlink is nil until it is created behind it", function()
  local f, key = support.kvs()
  commit(key .. ".target.x", 0)
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = script(f, key .. ".link.a", {
    function()
      commit(key .. ".other", 1)
      commit(key .. ".target.a", 1)
    end,
    function()
      commit(key .. ".target.a", 2)
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = 1 }, { value = 2 } })
end)

test("a watcher lives through a long handler and what is committed meanwhile", function()
  local f, key = support.kvs()
  local seen = {}
  local w = f:kvswatcher {
    key = key .. ".a",
    handler = function(_, value)
      seen[#seen + 1] = value or "nil"
      if #seen == 1 then
        for n = 1, 10 do
          commit(key .. ".a", n)
        end
      elseif value == 10 then
        f:reactor_stop()
      end
    end,
  }
  support.run(f)
  equal(seen[1], "nil")
  -- What came and went before the watch began anew may be missed, the last not.
  for n = 3, #seen do
    spec.ok(seen[n] > seen[n - 1], "out of order")
  end
  equal(seen[#seen], 10)
  w:remove()
end)

test("an error in the handler is raised by the reactor", function()
  local f, key = support.kvs()
  local value = {}
  local w = f:kvswatcher {
    key = key .. ".a",
    handler = function()
      error(value)
    end,
  }
  equal(support.raised(f), value)
  w:remove()
  equal(f:reactor(), 0)
end)

test("what the handler returns does not matter", function()
  local f, key = support.kvs()
  local w = f:kvswatcher {
    key = key .. ".a",
    handler = function()
      f:reactor_stop()
      return -1
    end,
  }
  support.run(f)
  w:remove()
end)

test("kvs calls and watchers in the handler work", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local inner
  local w = f:kvswatcher {
    key = key .. ".a",
    handler = function(_, value)
      equal(f:kvs_get(key .. ".a"), value)
      inner = inner or watch(f, key .. ".a", 1)
    end,
  }
  support.run(f)
  spec.same(inner, { { value = 1 } })
  w:remove()
end)

test("the handle may be closed in the handler", function()
  local f, key = support.kvs()
  local g = spec.ok(flux.new())
  commit(key .. ".a", 1)
  local count = 0
  g:kvswatcher {
    key = key .. ".a",
    handler = function()
      count = count + 1
      g:close()
    end,
  }
  spec.ok(g:reactor())
  equal(count, 1)
  raises("closed", g.kvswatcher, g, { key = key, handler = print })
  equal(f:kvs_get(key .. ".a"), 1)
end)

test("the table's own keys are the watcher's, to read and to set", function()
  local f, key = support.kvs()
  local seen
  local w = f:kvswatcher {
    key = key .. ".a",
    note = 1,
    handler = function(w)
      seen = w.testkey
      f:reactor_stop()
    end,
  }
  w.testkey = "foo"
  equal(w.testkey, "foo")
  equal(w.key, key .. ".a")
  equal(w.note, 1)
  support.run(f)
  equal(seen, "foo")
  spec.matches(tostring(w), "kvswatcher")
  w:remove()
end)

test("what is missing is named", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:kvswatcher())
  fails("Mandatory table argument 'key' missing", f:kvswatcher {})
  fails("Mandatory table argument 'key' missing", f:kvswatcher { handler = print })
  fails("Mandatory table argument 'handler' missing", f:kvswatcher { key = "a" })
  equal(f:reactor(), 0)
end)

test("a field of a wrong kind is an error that names it", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print } do
    spec.matches(spec.refuses(f.kvswatcher, f, { key = wrong, handler = print }), "key")
  end
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.kvswatcher, f, { key = "a", handler = wrong }), "handler")
  end
  for _, odd in ipairs { "", "a\0b", "\255" } do
    spec.refuses(f.kvswatcher, f, { key = odd, handler = print })
  end
  equal(f:reactor(), 0)
end)
