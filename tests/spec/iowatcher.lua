-- Watchers of a descriptor's lines (A4). Those of streams are in kz.lua.

local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails

-- What the handler gets of a descriptor until its end, or until `count` calls.
local function collect(f, fd, count)
  local seen = {}
  local w
  w = spec.ok(f:iowatcher {
    fd = fd,
    handler = function(...)
      equal(select("#", ...), 2)
      local self, block = ...
      equal(self, w)
      seen[#seen + 1] = block
      if #seen == count then
        w:remove()
      end
    end,
  })
  return seen
end

test("lines come one by one, with their newlines, and then the end", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd)
  writer:write "one\ntwo\n\nthree\n"
  writer:close()
  equal(f:reactor(), 0)
  spec.same(seen, {
    { data = "one\n", eof = false },
    { data = "two\n", eof = false },
    { data = "\n", eof = false },
    { data = "three\n", eof = false },
    { eof = true },
  })
end)

test("a last line without a newline comes with the end", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd)
  writer:write "whole\npiece"
  writer:close()
  equal(f:reactor(), 0)
  local text = ""
  for n, block in ipairs(seen) do
    text = text .. (block.data or "")
    equal(block.eof, n == #seen)
  end
  equal(seen[1].data, "whole\n")
  equal(text, "whole\npiece")
end)

test("a descriptor at its end is an end without data", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd)
  writer:close()
  equal(f:reactor(), 0)
  spec.same(seen, { { eof = true } })
end)

test("a line comes when its newline does", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd, 2)
  local pieces = { "he", "llo", " world", "\nnext", "\n" }
  local counts = {}
  f:timer {
    timeout = 2,
    oneshot = false,
    handler = function(_, timer)
      counts[#counts + 1] = #seen
      local piece = table.remove(pieces, 1)
      if piece then
        writer:write(piece)
      else
        timer:remove()
      end
    end,
  }
  equal(f:reactor(), 0)
  spec.same(seen, { { data = "hello world\n", eof = false }, { data = "next\n", eof = false } })
  equal(counts[4], 0)
end)

test("data is bytes, NUL and all", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local bytes = {}
  for n = 0, 255 do
    bytes[#bytes + 1] = string.char(n)
  end
  local all = table.concat(bytes)
  local seen = collect(f, fd)
  writer:write(all)
  writer:close()
  equal(f:reactor(), 0)
  local text = ""
  for _, block in ipairs(seen) do
    text = text .. (block.data or "")
  end
  equal(text, all)
  equal(seen[1].data, all:sub(1, 11))
end)

test("a line longer than any buffer comes whole", function()
  local f = support.open()
  local path = support.path()
  local long = ("0123456789abcdef"):rep(12500) .. "\n"
  support.write(path, long .. "short\n")
  local pipe, fd = support.popen("cat " .. support.quote(path))
  local seen = collect(f, fd)
  equal(f:reactor(), 0)
  equal(#seen, 3)
  equal(seen[1].data, long)
  equal(seen[2].data, "short\n")
  equal(seen[3].eof, true)
  pipe:close()
end)

test("a megabyte of lines comes whole and in order", function()
  local f = support.open()
  local pipe, fd = support.popen "awk 'BEGIN { for (n = 1; n <= 20000; n++) printf \"%049d\\n\", n }'"
  local seen = collect(f, fd)
  equal(f:reactor(), 0)
  equal(#seen, 20001)
  for n = 1, 20000 do
    equal(seen[n].data, ("%049d\n"):format(n))
  end
  pipe:close()
end)

test("bytes without any newline come all, however many", function()
  local f = support.open()
  local pipe, fd = support.popen "head -c 3000000 /dev/zero"
  local seen = collect(f, fd)
  equal(f:reactor(), 0)
  local length = 0
  for n, block in ipairs(seen) do
    length = length + #(block.data or "")
    equal(block.eof, n == #seen)
  end
  equal(length, 3000000)
  pipe:close()
end)

test("the output of a process is read while it runs", function()
  local f = support.open()
  local pipe, fd = support.popen "echo a; sleep 0.02; echo b; sleep 0.02; printf c"
  local seen = collect(f, fd)
  equal(f:reactor(), 0)
  equal(seen[1].data, "a\n")
  equal(seen[2].data, "b\n")
  equal(seen[#seen].eof, true)
  pipe:close()
end)

test("a file is read to its end", function()
  local f = support.open()
  local path = support.path()
  support.write(path, "one\ntwo\n")
  local file = assert(io.open(path, "r"))
  local seen = collect(f, support.descriptor("lr-x", path))
  equal(f:reactor(), 0)
  equal(#seen, 3)
  equal(seen[2].data, "two\n")
  file:close()
end)

test("the script may close its descriptor at once", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local seen = collect(f, fd)
  reader:close()
  writer:write "still read\n"
  writer:close()
  equal(f:reactor(), 0)
  equal(seen[1].data, "still read\n")
end)

test("the descriptor stays open for the script", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  collect(f, fd, 1)
  writer:write "watched\n"
  equal(f:reactor(), 0)
  writer:write "read\n"
  equal(reader:read "*l", "read")
end)

test("descriptors are given back when a watcher ends", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  writer:write "x\n"
  support.pass(f, 1)
  local before = support.count_descriptors()
  for _ = 1, 20 do
    f:iowatcher({ fd = fd, handler = error }):remove()
  end
  collect(f, fd)
  writer:close()
  equal(f:reactor(), 0)
  -- The script closed one itself.
  equal(support.count_descriptors(), before - 1)
end)

test("a watcher that is removed in its handler gets no more lines", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd, 1)
  writer:write "one\ntwo\nthree\n"
  equal(f:reactor(), 0)
  equal(#seen, 1)
end)

test("a watcher that is removed reads nothing", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local w = f:iowatcher { fd = fd, handler = error }
  w:remove()
  w:remove()
  writer:write "unread\n"
  equal(f:reactor(), 0)
  equal(reader:read "*l", "unread")
end)

test("several descriptors are read side by side", function()
  local f = support.open()
  local all, pipes = {}, {}
  for n = 1, 5 do
    local pipe, fd = support.popen(("for i in 1 2 3; do echo %d; sleep 0.00%d; done"):format(n, n))
    pipes[n] = pipe
    all[n] = collect(f, fd)
  end
  equal(f:reactor(), 0)
  for n = 1, 5 do
    equal(#all[n], 4)
    equal(all[n][3].data, n .. "\n")
    pipes[n]:close()
  end
end)

test("an error in the handler is raised, and what is unread comes in the next run", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local value, seen = {}, {}
  local w = f:iowatcher {
    fd = fd,
    handler = function()
      error(value)
    end,
  }
  writer:write "one\n"
  equal(support.raised(f), value)
  w.handler = function(_, block)
    seen[#seen + 1] = block.data
  end
  writer:write "two\n"
  writer:close()
  equal(f:reactor(), 0)
  spec.same(seen, { "two\n" })
end)

test("a number that is no open descriptor is an error", function()
  local f = support.open()
  fails("Bad file descriptor", f:iowatcher { fd = 987, handler = print })
  for _, fd in ipairs { -1, 2 ^ 31, 1.5, "x", {}, true } do
    spec.matches(spec.refuses(f.iowatcher, f, { fd = fd, handler = print }), "fd")
  end
  equal(f:reactor(), 0)
end)

test("a descriptor that cannot be read ends at once", function()
  local f = support.open()
  local _, _, _, fd = support.fifo()
  local seen = {}
  local w = f:iowatcher {
    fd = fd,
    handler = function(_, block)
      seen[#seen + 1] = block.eof
    end,
  }
  if w then
    support.pass(f, 20)
    spec.ok(#seen <= 1)
    w:remove()
  end
  equal(f:reactor(), 0)
end)

test("what is missing is named", function()
  local f = support.open()
  spec.matches(select(2, f:iowatcher()), "^Expected table")
  spec.matches(select(2, f:iowatcher(5)), "^Expected table")
  fails("Mandatory table argument 'handler' missing", f:iowatcher {})
  fails("Mandatory table argument 'handler' missing", f:iowatcher { fd = 0 })
  fails("required field fd or key missing", f:iowatcher { handler = print })
  for _, wrong in ipairs { "text", 42, true } do
    spec.matches(spec.refuses(f.iowatcher, f, { fd = 0, handler = wrong }), "handler")
  end
  equal(f:reactor(), 0)
end)

test("the table's own keys are the watcher's, to read and to set", function()
  local f = support.open()
  local _, fd = support.fifo()
  local w = f:iowatcher { fd = fd, handler = print, note = 1 }
  equal(w.fd, fd)
  equal(w.note, 1)
  w.note = 2
  equal(w.note, 2)
  spec.matches(tostring(w), "iowatcher")
  w:remove()
end)
