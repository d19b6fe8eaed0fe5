-- Loaded before a chapter of the specification. From then on a signal interrupts the
-- process a thousand times a second. Signals are held back during Lua's own file and
-- process functions, since C's stdio fails with EINTR.

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

local function uninterrupted(call)
  return function(...)
    hold()
    return finish(pcall(call, ...))
  end
end

local function uninterrupted_lines(lines)
  lines = uninterrupted(lines)
  return function(...)
    return uninterrupted(lines(...))
  end
end

local files = getmetatable(io.stdout).__index
for _, name in ipairs { "read", "write", "close", "flush", "seek" } do
  files[name] = uninterrupted(files[name])
end
files.lines = uninterrupted_lines(files.lines)
for _, name in ipairs { "open", "popen", "read", "write" } do
  io[name] = uninterrupted(io[name])
end
io.lines = uninterrupted_lines(io.lines)
os.execute = uninterrupted(os.execute)

load "interrupt"()
