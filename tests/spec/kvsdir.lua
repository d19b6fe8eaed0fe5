-- KVS directories and module `kvs`.

local flux = require "flux"
local kvs = require "kvs"
local spec = require "spec"
local support = require "support"

local test, equal, fails, raises = spec.test, spec.equal, spec.fails, spec.raises

-- Puts values below a unique key. Returns the directory, the handle, and the key.
local function directory(values)
  local f, key = support.kvs()
  support.put(f, key, values)
  return spec.ok(f:kvsdir(key)), f, key
end

-- Reads a field and returns all results. Plain indexing would keep only the first.
local function read(dir, name)
  return getmetatable(dir).__index(dir, name)
end

local function names(iterator, ...)
  local list = {}
  for name in iterator, ... do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

test("kvsdir without a key returns the root", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  for _, dir in ipairs { f:kvsdir(), f:kvsdir ".", f:kvsdir(nil) } do
    equal(tostring(dir), ".")
    equal(dir[key].a, 1)
    equal(dir[key .. ".a"], 1)
  end
end)

test("kvsdir formats the key", function()
  local _, f, key = directory { ["job.7.state"] = "done" }
  local dir = spec.ok(f:kvsdir("%s.job.%d", key, 7))
  equal(dir.state, "done")
  equal(tostring(dir), key .. ".job.7")
  local _, err = f:kvsdir("%d", "x")
  spec.matches(err, "^string%.format: ")
end)

test("kvsdir fails for a missing key and for a value", function()
  local _, f, key = directory { a = 1 }
  fails("No such file or directory", f:kvsdir(key .. ".nosuch"))
  fails("Not a directory", f:kvsdir(key .. ".a"))
end)

test("indexing returns a value as it was put", function()
  local dir = directory { text = "foo", n = 42, yes = true, no = false, list = { 1, 2, 3 } }
  equal(dir.text, "foo")
  equal(dir.n, 42)
  equal(dir.yes, true)
  equal(dir.no, false)
  spec.same(dir.list, { 1, 2, 3 })
end)

test("indexing a subdirectory returns a directory", function()
  local dir, _, key = directory { ["a.b.c.d"] = "deep" }
  equal(type(dir.a), "userdata")
  equal(tostring(dir.a.b), key .. ".a.b")
  equal(dir.a.b.c.d, "deep")
end)

test("an index may be a path", function()
  local dir = directory { ["a.b.c"] = "deep", ["a.d"] = 1 }
  equal(dir["a.b.c"], "deep")
  equal(dir["a.b"].c, "deep")
  equal(dir.a["b.c"], "deep")
end)

test("a number used as an index means its decimal text", function()
  local dir = directory { ["0"] = "zero", ["12"] = "twelve", ["-1"] = "minus", ["task.3.code"] = 9 }
  equal(dir[0], "zero")
  equal(dir[12], "twelve")
  equal(dir[-1], "minus")
  equal(dir.task[3].code, 9)
  fails("No such file or directory", read(dir, 1))
end)

test("indexing a missing name returns nil and an error", function()
  local dir = directory { a = 1 }
  equal(dir.nosuch, nil)
  fails("No such file or directory", read(dir, "nosuch"))
  fails("No such file or directory", read(dir, "nosuch.below"))
  fails("No such file or directory", read(dir, "a.below"))
end)

test("indexing with anything but a string or a number raises an error", function()
  local dir = directory { a = 1 }
  for _, wrong in ipairs { true, {}, print, dir } do
    raises("kvsdir: invalid index", function()
      return dir[wrong]
    end)
    raises("kvsdir: invalid index", function()
      dir[wrong] = 1
    end)
  end
  raises("kvsdir: invalid index", function()
    return dir[nil]
  end)
end)

test("a directory reads the current values of the KVS", function()
  local dir, f, key = directory { a = 1 }
  support.put(f, key, { a = 2, b = 3 })
  equal(dir.a, 2)
  equal(dir.b, 3)
end)

test("a directory reads text that is not JSON, and empty values", function()
  local dir, f, key = directory { a = 1 }
  support.put_raw(f, key .. ".bare", "aGVsbG8=")
  support.put_raw(f, key .. ".empty", "")
  equal(dir.bare, "hello")
  equal(dir.empty, "")
end)

test("an assignment takes effect with the commit, by method or by function", function()
  local dir = directory { a = 1 }
  dir.b = "two"
  fails("No such file or directory", read(dir, "b"))
  spec.returns({ true }, dir:commit())
  equal(dir.b, "two")
  dir.b = { 3 }
  spec.returns({ true }, kvs.commit(dir))
  spec.same(dir.b, { 3 })
end)

test("every kind of value can be assigned and read", function()
  local dir = directory { a = 1 }
  local values = { "foo", 42, true, false, { x = 1, y = 2 }, { x = { "a", "deep" } }, { 1, 2 }, "0x1", "00", "", 1.5 }
  for _, value in ipairs(values) do
    dir.key = value
    spec.ok(dir:commit())
    spec.ok(type(dir.key) == type(value), value)
    spec.same(dir.key, value)
  end
end)

test("an assigned name may be a path or a number", function()
  local dir = directory { a = 1 }
  dir["x.y.z"] = 1
  dir[5] = "five"
  spec.ok(dir:commit())
  equal(dir.x.y.z, 1)
  equal(dir["5"], "five")
end)

test("a subdirectory can be assigned to", function()
  local dir, f, key = directory { ["log.level"] = 1 }
  dir.log["reduction-timeout-msec"] = 1000
  spec.ok(dir:commit())
  equal(f:kvs_get(key .. ".log.reduction-timeout-msec"), 1000)
end)

test("assigning nil unlinks the name", function()
  local dir = directory { a = 1, b = 2 }
  dir.a = nil
  equal(dir.a, 1)
  spec.ok(dir:commit())
  equal(dir.a, nil)
  equal(dir.b, 2)
end)

test("assignments and puts on the handle share one transaction", function()
  local dir, f, key = directory { a = 1 }
  dir.b = 2
  f:kvs_put(key .. ".c", 3)
  spec.ok(f:kvs_commit())
  equal(dir.b, 2)
  equal(dir.c, 3)
end)

test("assigning a value that JSON cannot hold raises an error that names the field", function()
  local dir = directory { a = 1 }
  raises("cannot put.*function", function()
    dir.f = print
  end)
  raises("f.*function.*%.x", function()
    dir.f = { x = print }
  end)
  raises("", function()
    dir.f = 0 / 0
  end)
  spec.ok(dir:commit())
  equal(dir.f, nil)
end)

test("assigning to an empty name raises an error that says why", function()
  local dir = spec.ok(support.open():kvsdir())
  raises('cannot put "": Invalid argument: the key is empty', function()
    dir[""] = 1
  end)
end)

test("the error for a name that was assigned but not committed says so", function()
  local dir, f, key = directory { a = 1 }
  dir.b = { n = 1 }
  dir["c.d"] = 2
  local index = getmetatable(dir).__index
  local _, detail = fails("No such file or directory", index(dir, "b"))
  equal(detail, ("'%s.b' is put on this handle, but not committed"):format(key))
  _, detail = fails("No such file or directory", index(dir, "c"))
  equal(detail, ("'%s.c.d' is put on this handle, but not committed"):format(key))
  _, detail = fails("No such file or directory", dir:watch("b", 0))
  equal(detail, ("'%s.b' is put on this handle, but not committed"):format(key))
  support.put(f, key, { ["gone.x"] = 1 })
  local gone = spec.ok(f:kvsdir("%s.gone", key))
  f:kvs_unlink(key .. ".gone")
  spec.ok(f:kvs_commit())
  gone.x = 2
  _, detail = fails("No such file or directory", gone:watch_dir())
  equal(detail, ("'%s.gone.x' is put on this handle, but not committed"):format(key))
end)

test("pairs of a directory raises an error that suggests kvs.keys", function()
  local dir = directory { a = 1 }
  if pcall(pairs, setmetatable({}, { __pairs = error })) then
    raises("table expected", pairs, dir)
    spec.skip "this Lua does not support __pairs"
  end
  raises("kvs%.keys%(dir%)", pairs, dir)
end)

test("unlink removes a name with the commit, by method or by function", function()
  local dir = directory { a = 1, b = 2, ["d.e"] = 3, [7] = 4 }
  spec.returns({ true }, dir:unlink "a")
  equal(dir.a, 1)
  spec.returns({ true }, kvs.unlink(dir, "b"))
  spec.returns({ true }, dir:unlink "d")
  spec.returns({ true }, dir:unlink(7))
  spec.returns({ true }, dir:unlink "nosuch")
  spec.ok(dir:commit())
  equal(dir.a, nil)
  equal(dir.b, nil)
  equal(dir.d, nil)
  equal(dir[7], nil)
end)

test("keys iterates over each name once, by method or by function", function()
  local dir = directory { a = 1, b = 2, ["d.x"] = 3, ["d.y"] = 4, ["10"] = 5 }
  spec.same(names(dir:keys()), { "10", "a", "b", "d" })
  spec.same(names(kvs.keys(dir)), { "10", "a", "b", "d" })
  spec.same(names(dir.d:keys()), { "x", "y" })
end)

test("keys returns strings that index the directory", function()
  local dir = directory { ["1"] = "one", ["2"] = "two", name = "x" }
  local got = {}
  for name in dir:keys() do
    equal(type(name), "string")
    got[name] = dir[name]
  end
  spec.same(got, { ["1"] = "one", ["2"] = "two", name = "x" })
end)

test("keys of an empty directory returns nothing", function()
  local dir, f, key = directory { ["d.a"] = 1 }
  f:kvs_unlink(key .. ".d.a")
  spec.ok(f:kvs_commit())
  spec.same(names(dir.d:keys()), {})
end)

test("an iterator that has ended returns nil again", function()
  local dir = directory { a = 1 }
  local nextkey = dir:keys()
  equal(nextkey(), "a")
  equal(nextkey(), nil)
  equal(nextkey(), nil)
end)

test("two iterators of one directory are independent", function()
  local dir = directory { a = 1, b = 2, c = 3 }
  local pairs_seen = 0
  for _ in dir:keys() do
    for _ in dir:keys() do
      pairs_seen = pairs_seen + 1
    end
  end
  equal(pairs_seen, 9)
end)

test("the directory may change while its keys are iterated", function()
  local dir = directory { a = 1, b = 2, c = 3 }
  local count = 0
  for name in dir:keys() do
    dir[name] = nil
    dir["new" .. name] = 1
    spec.ok(dir:commit())
    count = count + 1
  end
  equal(count, 3)
end)

test("an iterator still works after its handle is closed", function()
  local dir, _, key = directory { a = 1, b = 2 }
  local f = spec.ok(flux.new())
  local nextkey = spec.ok(f:kvsdir(key)):keys()
  f:close()
  collectgarbage()
  spec.same(names(nextkey), { "a", "b" })
  equal(dir.a, 1)
end)

test("a key named like a method hides the method but not the function of module kvs", function()
  local dir = directory { keys = "mine", commit = 1, watch = 2, watch_dir = 3, ["unlink.x"] = 4 }
  equal(dir.keys, "mine")
  equal(dir.commit, 1)
  equal(dir.watch, 2)
  equal(dir.watch_dir, 3)
  equal(dir.unlink.x, 4)
  equal(#names(kvs.keys(dir)), 5)
  spec.ok(kvs.unlink(dir, "keys"))
  spec.ok(kvs.commit(dir))
  equal(type(dir.keys), "function")
end)

test("a metamethod's name is not a field of a directory", function()
  local dir = directory { a = 1 }
  for _, name in ipairs { "__gc", "__index", "__newindex", "__tostring", "__name", "__close" } do
    equal(dir[name], nil)
  end
end)

test("tostring returns the key of the directory", function()
  local dir, _, key = directory { ["a.b"] = 1 }
  equal(tostring(dir), key)
  equal(tostring(dir.a), key .. ".a")
end)

test("reading a directory of a closed handle raises an error", function()
  local _, _, key = directory { a = 1 }
  local f = spec.ok(flux.new())
  local dir = spec.ok(f:kvsdir(key))
  f:close()
  equal(tostring(dir), key)
  raises("closed", function()
    return dir.a
  end)
  raises("closed", function()
    dir.a = 2
  end)
  for _, name in ipairs { "commit", "watch_dir" } do
    raises("closed", kvs[name], dir)
  end
  raises("closed", kvs.unlink, dir, "a")
  raises("closed", kvs.watch, dir, "a")
end)

test("a directory behind a symlink keeps the key of the symlink", function()
  local _, f, key = directory { ["d.a"] = 1 }
  f:kvs_symlink(key .. ".link", key .. ".d")
  spec.ok(f:kvs_commit())
  local dir = spec.ok(f:kvsdir(key .. ".link"))
  equal(dir.a, 1)
  equal(tostring(dir), key .. ".link")
  spec.same(names(dir:keys()), { "a" })
end)

test("watch without a last value returns the current value at once", function()
  local dir = directory { state = "running", list = { 1, 2 } }
  equal(kvs.watch(dir, "state"), "running")
  equal(dir:watch "state", "running")
  equal(dir:watch("state", nil), "running")
  spec.same(dir:watch "list", { 1, 2 })
end)

test("watch returns at once if the value differs from the last value", function()
  local dir = directory { state = "complete", n = 5, list = { 1, { 2 } }, no = false, [3] = "x" }
  equal(dir:watch("state", "running"), "complete")
  equal(dir:watch("n", "5"), 5)
  equal(dir:watch("n", 4), 5)
  equal(dir:watch("no", 0), false)
  equal(dir:watch(3, "y"), "x")
  spec.same(dir:watch("list", { 1, { 2, 3 } }), { 1, { 2 } })
  spec.same(dir:watch("list", { 1, { 3 } }), { 1, { 2 } })
  spec.same(dir:watch("list", {}), { 1, { 2 } })
end)

test("watch returns a value that is not JSON as a string", function()
  local dir, f, key = directory { a = 1 }
  support.put_raw(f, key .. ".bare", "aGVsbG8=")
  equal(dir:watch "bare", "hello")
  equal(dir:watch("bare", "other"), "hello")
end)

test("watch of a value that nobody can change fails on an embedded broker", function()
  if not support.is_embedded then
    spec.skip "a real instance waits for other processes"
  end
  local dir = directory { state = "same", list = { 1, { a = 2 } } }
  fails("Resource deadlock avoided", dir:watch("state", "same"))
  fails("Resource deadlock avoided", dir:watch("list", { 1, { a = 2 } }))
  fails("Resource deadlock avoided", dir:watch "nosuch")
  fails("Resource deadlock avoided", dir:watch_dir())
end)

test("watch of a directory is an error", function()
  local dir = directory { ["d.a"] = 1 }
  fails("Is a directory", dir:watch "d")
  fails("Is a directory", dir:watch("d", 1))
end)

-- Starts a process that puts a value below the key a little later.
local function put_later(key, value)
  return support.start(([[
    local flux = require "flux"
    os.execute "sleep 0.3"
    local f = assert(flux.new())
    assert(f:kvs_put(%q, %s))
    assert(f:kvs_commit())
  ]]):format(key, value))
end

test("watch waits until the value differs from the last value", function()
  support.needs_processes()
  local dir, _, key = directory { state = "running" }
  local putter = put_later(key .. ".state", '"complete"')
  equal(dir:watch("state", "running"), "complete")
  equal(putter:read "*a", "")
  putter:close()
end)

test("watch waits for the first value of a missing key", function()
  support.needs_processes()
  local dir, _, key = directory { other = 1 }
  local putter = put_later(key .. ".state", "7")
  equal(dir:watch "state", 7)
  equal(putter:read "*a", "")
  putter:close()
end)

test("watch keeps waiting when the same value is put again", function()
  support.needs_processes()
  local dir, _, key = directory { state = "running" }
  local same = put_later(key .. ".state", '"running"')
  local putter = put_later(key .. ".state", '"complete"')
  equal(dir:watch("state", "running"), "complete")
  equal(same:read "*a", "")
  equal(putter:read "*a", "")
  same:close()
  putter:close()
end)

test("watch sees a value that flux kvs put stores", function()
  support.needs_processes()
  local dir, _, key = directory { state = 1 }
  local putter = assert(io.popen("sleep 0.3; flux kvs put " .. key .. ".state=bare 2>&1"))
  equal(dir:watch("state", 1), "bare")
  equal(putter:read "*a", "")
  putter:close()
end)

test("watch_dir waits until something below the directory changes", function()
  support.needs_processes()
  local dir, _, key = directory { ["a.b"] = 1, c = 2 }
  for _, name in ipairs { ".c", ".a.b", ".new" } do
    local putter = put_later(key .. name, "3")
    spec.returns({ 0 }, dir:watch_dir())
    equal(dir[name:sub(2)], 3)
    equal(putter:read "*a", "")
    putter:close()
  end
end)
