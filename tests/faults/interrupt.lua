-- Before a chapter of the specification: from now on a signal interrupts it a
-- thousand times a second. Not what Lua itself does with files and processes,
-- where C's own functions fail with EINTR.

local library = os.getenv "FAULT_INTERRUPT"
local function load(name)
  return assert(package.loadlib(library, "luaopen_" .. name))
end
local hold, release = load "hold", load "release"

local function finish(ok, ...)
  release()
  if not ok then
    error((...), 0)
  end
  return ...
end

local function whole(call)
  return function(...)
    hold()
    return finish(pcall(call, ...))
  end
end

local function whole_lines(lines)
  lines = whole(lines)
  return function(...)
    return whole(lines(...))
  end
end

local files = getmetatable(io.stdout).__index
for _, name in ipairs { "read", "write", "close", "flush", "seek" } do
  files[name] = whole(files[name])
end
files.lines = whole_lines(files.lines)
for _, name in ipairs { "open", "popen", "read", "write" } do
  io[name] = whole(io[name])
end
io.lines = whole_lines(io.lines)
os.execute = whole(os.execute)

load "interrupt"()
