-- Watchers of a file's status.

local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails
local soon, write = support.soon, support.write

local function watch(f, path, handler)
  return spec.ok(f:statwatcher { path = path, interval = 0.05, handler = handler })
end

-- Watches a path, runs `action` a little later, and returns the first two statuses
-- that the handler got: the new one and the old one.
local function first_change(f, path, action)
  local seen
  local w = watch(f, path, function(...)
    seen = { n = select("#", ...), ... }
    f:reactor_stop()
  end)
  soon(f, action)
  support.run(f)
  w:remove()
  equal(seen.n, 3)
  equal(seen[1], w)
  return seen[2], seen[3]
end

local NAMES = {
  "st_dev",
  "st_ino",
  "st_mode",
  "st_nlink",
  "st_uid",
  "st_gid",
  "st_size",
  "st_atime",
  "st_mtime",
  "st_ctime",
  "st_blksize",
  "st_blocks",
}

test("the handler is called when a file is created", function()
  local f = support.open()
  local path = support.path()
  local now, before = first_change(f, path, function()
    write(path, "hello\n")
  end)
  equal(before.st_nlink, 0)
  equal(now.st_nlink, 1)
  for _, name in ipairs(NAMES) do
    spec.type(now[name], "number")
    spec.type(before[name], "number")
  end
  spec.ok(math.abs(now.st_mtime - os.time()) < 60, now.st_mtime)
  -- S_IFREG: a regular file.
  equal(math.floor(now.st_mode / 4096), 8)
end)

test("the handler gets the old and new size of a file that grows", function()
  local f = support.open()
  local path = support.path()
  write(path, "12345")
  local now, before = first_change(f, path, function()
    write(path, "67890", "a")
  end)
  equal(before.st_size, 5)
  equal(now.st_size, 10)
  equal(now.st_ino, before.st_ino)
end)

test("the handler is called when a file is truncated", function()
  local f = support.open()
  local path = support.path()
  write(path, "12345")
  local now, before = first_change(f, path, function()
    write(path, "")
  end)
  equal(before.st_size, 5)
  equal(now.st_size, 0)
end)

test("the handler gets st_nlink 0 when a file is removed", function()
  local f = support.open()
  local path = support.path()
  write(path, "12345")
  local now, before = first_change(f, path, function()
    os.remove(path)
  end)
  equal(before.st_nlink, 1)
  equal(before.st_size, 5)
  equal(now.st_nlink, 0)
end)

test("a directory can be watched", function()
  local f = support.open()
  local path = support.path()
  local now = first_change(f, path, function()
    os.execute("mkdir " .. support.quote(path))
  end)
  equal(math.floor(now.st_mode / 4096), 4)
end)

test("one watcher follows a file from creation to removal", function()
  local f = support.open()
  local path = support.path()
  local steps = {
    function()
      write(path, "a")
    end,
    function()
      write(path, "bc", "a")
    end,
    function()
      os.remove(path)
    end,
    function()
      f:reactor_stop()
    end,
  }
  local seen = {}
  local w = watch(f, path, function(_, now)
    seen[#seen + 1] = now.st_nlink * 10 + (now.st_nlink > 0 and now.st_size or 0)
    steps[#seen + 1]()
  end)
  soon(f, steps[1])
  support.run(f)
  spec.same(seen, { 11, 13, 0 })
  w:remove()
end)

test("the handler is not called for an unchanged file or for other files", function()
  local f = support.open()
  local path, other = support.path(), support.path()
  write(path, "a")
  local w = f:statwatcher { path = path, interval = 0.01, handler = error }
  soon(f, function()
    write(other, "b")
  end)
  support.run_for(f, 150)
  w:remove()
end)

test("a removed watcher is not called", function()
  local f = support.open()
  local path = support.path()
  local w = watch(f, path, error)
  spec.returns({ true }, w:remove())
  spec.returns({ true }, w:remove())
  write(path, "a")
  equal(f:reactor(), 0)
end)

test("a watcher can be removed in its handler", function()
  local f = support.open()
  local path = support.path()
  local count = 0
  watch(f, path, function(w)
    count = count + 1
    w:remove()
  end)
  soon(f, function()
    write(path, "a")
  end)
  equal(f:reactor(), 0)
  equal(count, 1)
end)

test("several watchers of one path are all called", function()
  local f = support.open()
  local path = support.path()
  local count = 0
  for _ = 1, 3 do
    watch(f, path, function(w)
      count = count + 1
      w:remove()
    end)
  end
  soon(f, function()
    write(path, "a")
  end)
  equal(f:reactor(), 0)
  equal(count, 3)
end)

test("a watcher without an interval still sees changes", function()
  local f = support.open()
  local path = support.path()
  local sizes = {}
  local w = spec.ok(f:statwatcher {
    path = path,
    handler = function(_, now)
      sizes[#sizes + 1] = now.st_size
      f:reactor_stop()
    end,
  })
  soon(f, function()
    write(path, "abc")
  end)
  support.run(f)
  equal(#sizes, 1)
  w:remove()
end)

test("an error in the handler is raised by the reactor", function()
  local f = support.open()
  local path = support.path()
  local value = {}
  local w = watch(f, path, function()
    error(value)
  end)
  soon(f, function()
    write(path, "a")
  end)
  equal(support.reactor_error(f), value)
  w:remove()
end)

test("the return value of the handler is ignored", function()
  local f = support.open()
  local path = support.path()
  local w = watch(f, path, function()
    f:reactor_stop()
    return -1
  end)
  soon(f, function()
    write(path, "a")
  end)
  support.run(f)
  w:remove()
end)

test("keys of the table can be read and set on the watcher", function()
  local f = support.open()
  local path = support.path()
  local w = f:statwatcher { path = path, interval = 0.5, handler = print, note = 1 }
  equal(w.path, path)
  equal(w.interval, 0.5)
  equal(w.note, 1)
  w.note = 2
  equal(w.note, 2)
  spec.matches(tostring(w), "statwatcher")
  w:remove()
end)

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:statwatcher())
  fails("Mandatory argument 'path' missing", f:statwatcher {})
  fails("Mandatory argument 'path' missing", f:statwatcher { handler = print })
  fails("Mandatory table argument 'handler' missing", f:statwatcher { path = "/nonexistent" })
  equal(f:reactor(), 0)
end)

test("a field of the wrong type is an error", function()
  local f = support.open()
  for _, wrong in ipairs { {}, true, print, "a\0b" } do
    spec.refuses(f.statwatcher, f, { path = wrong, handler = print })
  end
  for _, wrong in ipairs { -1, 0 / 0, math.huge, {}, true } do
    spec.matches(
      spec.refuses(f.statwatcher, f, { path = "/", handler = print, interval = wrong }),
      "interval"
    )
  end
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.statwatcher, f, { path = "/", handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("unusual paths are watched or refused without crashing", function()
  local f = support.open()
  for _, path in ipairs { "", "/proc/self/stat", "/", ".", "/nonexistent/a/b", ("x"):rep(5000), "/dev/null" } do
    local ok, w = pcall(f.statwatcher, f, { path = path, interval = 0.05, handler = function() end })
    if ok and w then
      spec.type(spec.ok(f:reactor "nowait"), "number")
      w:remove()
    end
  end
  equal(f:reactor(), 0)
end)
