-- Watchers of KVS keys.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

local ENOENT = 2

-- Records what the handler gets, and stops the reactor at the `count`th call.
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

-- Returns what the handler gets in its first call.
local function first_call(f, key)
  local seen, w = watch(f, key, 1)
  support.run(f)
  w:remove()
  equal(#seen, 1)
  return seen[1]
end

-- Checks that the values arrived in order and each of them once.
local function in_order(seen, from, to)
  equal(#seen, to - from + 1)
  for n = from, to do
    equal(seen[n - from + 1].value, n)
  end
end

-- Commits a value from another handle.
local function commit(key, value)
  local g = support.open()
  spec.ok(g:kvs_put(key, value))
  spec.ok(g:kvs_commit())
  g:close()
end

-- Calls one of `steps` in each call of the handler, then removes the watcher. Returns
-- what the handler got.
local function run_steps(f, key, steps, fields)
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
  spec.same(first_call(f, key .. ".a"), { value = "here" })
end)

test("the handler gets every kind of value", function()
  local f, key = support.kvs()
  for _, value in ipairs { "text", 42, 1.5, true, { 1, 2, 3 }, { a = { b = "c" } }, ("x"):rep(100000), "" } do
    commit(key .. ".a", value)
    spec.same(first_call(f, key .. ".a"), { value = value })
  end
end)

test("a value of false is passed to the handler", function()
  local f, key = support.kvs()
  commit(key .. ".a", false)
  spec.same(first_call(f, key .. ".a"), { value = false })
end)

test("text that is not JSON is passed as a string", function()
  local f, key = support.kvs()
  support.put_raw(f, key .. ".a", "aGVsbG8=")
  spec.same(first_call(f, key .. ".a"), { value = "hello" })
end)

test("the handler gets nil for a missing key, and then the values that follow", function()
  local f, key = support.kvs()
  local seen = run_steps(f, key .. ".a", {
    function()
      commit(key .. ".a", "born")
    end,
    function()
      commit(key .. ".a", "grown")
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "born" }, { value = "grown" } })
end)

test("the handler gets nil only once, whatever other keys are committed", function()
  local f, key = support.kvs()
  local seen, w = watch(f, key .. ".a", 2)
  support.run_until(f, function()
    return #seen == 1
  end)
  for n = 1, 5 do
    commit(key .. ".other", n)
  end
  support.run_for(f, 20)
  commit(key .. ".a", 1)
  support.run(f)
  spec.same(seen, { { errnum = ENOENT }, { value = 1 } })
  w:remove()
end)

test("the handler gets nil when the key is removed, and the value when it returns", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen = run_steps(f, key .. ".a", {
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

test("a hundred commits of another handle all arrive in order", function()
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

test("a hundred commits while no reactor runs all arrive in order", function()
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

test("commits from the first value of a key on all arrive, though no reactor runs", function()
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

test("a hundred commits of another process all arrive in order", function()
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

test("a commit from another rank arrives", function()
  local far = support.open_at(1)
  local f, key = support.kvs()
  local seen = run_steps(f, key .. ".a", {
    function()
      far:kvs_put(key .. ".a", "from afar")
      spec.ok(far:kvs_commit())
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "from afar" } })
end)

test("a commit of the watcher's own handle arrives", function()
  local f, key = support.kvs()
  local seen = run_steps(f, key .. ".a", {
    function()
      f:kvs_put(key .. ".a", "own")
      spec.ok(f:kvs_commit())
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = "own" } })
end)

test("committing the same value or another key does not call the handler", function()
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

test("several watchers each get the values of their own key", function()
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

test("nothing arrives after the watcher is removed", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  local seen, w = watch(f, key .. ".a", 1)
  support.run(f)
  spec.ok(w:remove())
  spec.ok(w:remove())
  commit(key .. ".a", 2)
  support.run_for(f, 30)
  equal(#seen, 1)
  equal(f:kvs_get(key .. ".a"), 2)
  equal(f:reactor(), 0)
end)

test("a watcher removed in its handler, or before its first call, gets nothing more", function()
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
  support.run_for(f, 30)
  equal(count, 1)
  equal(f:reactor(), 0)
end)

test("a key can be watched again after its watcher is removed", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  for _ = 1, 20 do
    spec.same(first_call(f, key .. ".a"), { value = 1 })
  end
end)

test("watching a directory without isdir fails at once", function()
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

test("watching a value with isdir fails at once", function()
  local f, key = support.kvs()
  commit(key .. ".a", 1)
  fails("Not a directory", f:kvswatcher { key = key .. ".a", isdir = true, handler = error })
  equal(f:reactor(), 0)
end)

test("a key that becomes a directory ends the watcher with 'Is a directory'", function()
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

test("a watcher with isdir gets a kvsdir whenever something below it changes", function()
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

test("a watcher with isdir gets nil for a missing directory, and then a kvsdir", function()
  local f, key = support.kvs()
  local seen = run_steps(f, key .. ".a", {
    function()
      commit(key .. ".a.b", 7)
    end,
  }, { isdir = true })
  spec.same(seen[1], { errnum = ENOENT })
  equal(#seen, 2)
  equal(seen[2].value.b, 7)
end)

test("a watched symlink follows changes of the link and of its target", function()
  local f, key = support.kvs()
  commit(key .. ".target", "one")
  commit(key .. ".other", "other")
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = run_steps(f, key .. ".link", {
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

test("a dangling symlink gives nil until its target exists", function()
  local f, key = support.kvs()
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = run_steps(f, key .. ".link", {
    function()
      commit(key .. ".target", 1)
    end,
  })
  spec.same(seen, { { errnum = ENOENT }, { value = 1 } })
end)

test("a key behind a symlink gives nil until the key exists", function()
  local f, key = support.kvs()
  commit(key .. ".target.x", 0)
  f:kvs_symlink(key .. ".link", key .. ".target")
  spec.ok(f:kvs_commit())
  local seen = run_steps(f, key .. ".link.a", {
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

test("a watcher survives a long handler and commits made during it", function()
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
  -- Values committed before the new watch began may be missed, except the last one.
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
  equal(support.reactor_error(f), value)
  w:remove()
  equal(f:reactor(), 0)
end)

test("the return value of the handler is ignored", function()
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

test("the handler may call the KVS and create watchers", function()
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

test("the handler may close the handle", function()
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

test("keys of the table can be read and set on the watcher", function()
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

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:kvswatcher())
  fails("Mandatory table argument 'key' missing", f:kvswatcher {})
  fails("Mandatory table argument 'key' missing", f:kvswatcher { handler = print })
  fails("Mandatory table argument 'handler' missing", f:kvswatcher { key = "a" })
  equal(f:reactor(), 0)
end)

test("a field of the wrong type is named in the error", function()
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
