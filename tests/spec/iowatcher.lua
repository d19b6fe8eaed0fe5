-- Watchers that read lines from a descriptor. kz.lua tests watchers of KVS streams.

local spec = require "spec"
local support = require "support"

local test, equal, fails = spec.test, spec.equal, spec.fails

-- Collects the blocks that the handler gets until end of file or until `count` calls.
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

test("the handler gets each line with its newline, and then the end", function()
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

test("the last line may lack a newline", function()
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

test("a descriptor at end of file gives eof without data", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd)
  writer:close()
  equal(f:reactor(), 0)
  spec.same(seen, { { eof = true } })
end)

test("a line is delivered when its newline arrives", function()
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

test("data may hold any byte", function()
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

test("a line longer than the read buffer arrives in one piece", function()
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

test("a megabyte of lines arrives complete and in order", function()
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

test("bytes without any newline all arrive", function()
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

test("the output of a process is read while the process runs", function()
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

test("the script's descriptor stays open", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  collect(f, fd, 1)
  writer:write "watched\n"
  equal(f:reactor(), 0)
  writer:write "read\n"
  equal(reader:read "*l", "read")
end)

test("a watcher that ends closes its own descriptor", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  writer:write "x\n"
  support.run_for(f, 1)
  local before = support.count_descriptors()
  for _ = 1, 20 do
    f:iowatcher({ fd = fd, handler = error }):remove()
  end
  collect(f, fd)
  writer:close()
  equal(f:reactor(), 0)
  -- The script closed its writer as well.
  equal(support.count_descriptors(), before - 1)
end)

test("a watcher removed in its handler gets no more lines", function()
  local f = support.open()
  local _, fd, writer = support.fifo()
  local seen = collect(f, fd, 1)
  writer:write "one\ntwo\nthree\n"
  equal(f:reactor(), 0)
  equal(#seen, 1)
end)

test("a removed watcher reads nothing", function()
  local f = support.open()
  local reader, fd, writer = support.fifo()
  local w = f:iowatcher { fd = fd, handler = error }
  w:remove()
  w:remove()
  writer:write "unread\n"
  equal(f:reactor(), 0)
  equal(reader:read "*l", "unread")
end)

test("several descriptors can be read at the same time", function()
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

test("after an error in the handler the next run delivers the unread lines", function()
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
  equal(support.reactor_error(f), value)
  w.handler = function(_, block)
    seen[#seen + 1] = block.data
  end
  writer:write "two\n"
  writer:close()
  equal(f:reactor(), 0)
  spec.same(seen, { "two\n" })
end)

test("a number that is not an open descriptor is refused", function()
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
    support.run_for(f, 20)
    spec.ok(#seen <= 1)
    w:remove()
  end
  equal(f:reactor(), 0)
end)

test("a missing field is named in the error", function()
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

test("keys of the table can be read and set on the watcher", function()
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
