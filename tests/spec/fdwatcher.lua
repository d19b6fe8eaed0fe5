-- Watchers of file descriptors.

local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails
local soon = support.soon

local function watch(f, fd, events, handler)
  return spec.ok(f:fdwatcher { fd = fd, events = events, handler = handler })
end

test("the handler is called when a descriptor becomes readable", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local lines = {}
  local w
  w = watch(f, fd, "r", function(...)
    equal((...), w)
    lines[#lines + 1] = reader:read "*l"
    if #lines == 2 then
      f:reactor_stop()
    else
      writer:write "Goodbye\n"
    end
  end)
  soon(f, function()
    equal(#lines, 0)
    writer:write "Hello\n"
  end)
  support.run(f)
  spec.same(lines, { "Hello", "Goodbye" })
  w:remove()
end)

test("a watcher without events is called when a pipe becomes readable", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local seen = {}
  soon(f, function()
    writer:write "x\n"
  end)
  watch(f, fd, nil, function(w)
    seen[#seen + 1] = reader:read "*l"
    w:remove()
  end)
  equal(f:reactor(), 0)
  spec.same(seen, { "x" })
end)

test("the handler is called at end of file", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local seen = {}
  watch(f, fd, nil, function(w)
    local line = reader:read "*l"
    seen[#seen + 1] = line or "eof"
    if not line then
      w:remove()
    end
  end)
  soon(f, function()
    writer:write "last\n"
    writer:close()
  end)
  equal(f:reactor(), 0)
  spec.same(seen, { "last", "eof" })
end)

test("events selects what the handler is called for", function()
  local f = support.open()
  local _, reading, _, writing = support.fifo()
  local seen = {}
  for name, fd in pairs { reading = reading, writing = writing } do
    for _, events in ipairs { "r", "w", "rw" } do
      watch(f, fd, events, function(w)
        seen[name .. " " .. events] = true
        w:remove()
      end)
    end
  end
  support.run_until(f, function()
    return seen["writing w"] and seen["writing rw"]
  end)
  -- Nothing was written, so the pipe is writable and not readable.
  spec.same(seen, { ["writing w"] = true, ["writing rw"] = true })
end)

test("events may be a bit mask", function()
  local f = support.open()
  local _, _, _, fd = support.fifo()
  local count = 0
  for _, events in ipairs { 2, 3, 7 } do
    watch(f, fd, events, function(w)
      count = count + 1
      w:remove()
    end)
  end
  equal(f:reactor(), 0)
  equal(count, 3)
end)

test("the handler is called again while data is left unread", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  writer:write "unread\n"
  local count = 0
  watch(f, fd, "r", function(w)
    count = count + 1
    if count == 3 then
      w:remove()
    end
  end)
  equal(f:reactor(), 0)
  equal(count, 3)
  equal(reader:read "*l", "unread")
end)

test("the output of a process can be watched", function()
  local f = support.open()
  local pipe, fd = support.popen "sleep 0.05; echo hello"
  local lines
  watch(f, fd, "r", function(w)
    lines = pipe:read "*a"
    w:remove()
  end)
  equal(f:reactor(), 0)
  equal(lines, "hello\n")
  pipe:close()
end)

test("several watchers of one descriptor are all called", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local count = 0
  for _ = 1, 3 do
    watch(f, fd, "r", function(w)
      count = count + 1
      w:remove()
    end)
  end
  writer:write "x\n"
  equal(f:reactor(), 0)
  equal(count, 3)
  equal(reader:read "*l", "x")
end)

test("two handles can watch one descriptor", function()
  local _, fd, writer = support.fifo()
  local count = 0
  writer:write "x\n"
  for _ = 1, 2 do
    local f = support.open()
    watch(f, fd, "r", function(w)
      count = count + 1
      w:remove()
    end)
    equal(f:reactor(), 0)
  end
  equal(count, 2)
end)

test("a removed watcher is not called", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  writer:write "x\n"
  local w = f:fdwatcher { fd = fd, handler = error }
  spec.returns({ true }, w:remove())
  spec.returns({ true }, w:remove())
  equal(f:reactor(), 0)
end)

test("the descriptor stays open after the watcher and the handle end", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  f:fdwatcher({ fd = fd, handler = error }):remove()
  writer:write "x\n"
  equal(reader:read "*l", "x")
  f:close()
  writer:write "y\n"
  equal(reader:read "*l", "y")
end)

test("a regular file is always ready", function()
  local f = support.open()
  local path = support.path()
  local file = assert(io.open(path, "w"))
  local count = 0
  watch(f, support.descriptor("l-wx", path), "rw", function(w)
    count = count + 1
    w:remove()
  end)
  equal(f:reactor(), 0)
  equal(count, 1)
  file:close()
end)

test("closing a watched descriptor does not disturb the reactor", function()
  local f = support.open()
  local reader, fd = support.fifo()
  local w = f:fdwatcher { fd = fd, events = "r", handler = function() end }
  local is_closed = false
  soon(f, function()
    reader:close()
    is_closed = true
  end)
  support.run_until(f, function()
    return is_closed
  end)
  w:remove()
  equal(f:reactor(), 0)
end)

test("a number that is not an open descriptor is refused", function()
  local f = support.open()
  for _, fd in ipairs { 987, 100000, 2 ^ 31 - 1 } do
    fails("Bad file descriptor", f:fdwatcher { fd = fd, handler = print })
  end
  for _, fd in ipairs { -1, 2 ^ 31, 2 ^ 40, 1.5, 0 / 0, "x", {}, true } do
    spec.matches(spec.refuses(f.fdwatcher, f, { fd = fd, handler = print }), "fd")
  end
  equal(f:reactor(), 0)
end)

test("invalid events are an error", function()
  local f = support.open()
  local _, fd = support.fifo()
  for _, events in ipairs { "", "x", "rx", "R", 0, 8, -1, 1.5, {}, true } do
    spec.matches(spec.refuses(f.fdwatcher, f, { fd = fd, handler = print, events = events }), "events")
  end
  equal(f:reactor(), 0)
end)

test("a missing field is named in the error", function()
  local f = support.open()
  fails("Expected table as 2nd argument", f:fdwatcher())
  fails("Expected table as 2nd argument", f:fdwatcher(0))
  fails("Mandatory table argument 'fd' missing", f:fdwatcher {})
  fails("Mandatory table argument 'fd' missing", f:fdwatcher { handler = print })
  fails("Mandatory table argument 'handler' missing", f:fdwatcher { fd = 0 })
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.fdwatcher, f, { fd = 0, handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("an error in the handler is raised by the reactor", function()
  local f = support.open()
  local _, _, _, fd = support.fifo()
  local value = {}
  local w = watch(f, fd, "w", function()
    error(value)
  end)
  equal(support.reactor_error(f), value)
  w:remove()
  equal(f:reactor(), 0)
end)

test("keys of the table can be read and set on the watcher", function()
  local f = support.open()
  local _, fd = support.fifo()
  local w = f:fdwatcher { fd = fd, handler = print, note = 1 }
  equal(w.fd, fd)
  equal(w.note, 1)
  w.note = 2
  equal(w.note, 2)
  spec.matches(tostring(w), "fdwatcher")
  w:remove()
  equal(w.note, 2)
end)
