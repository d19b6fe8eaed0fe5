-- Helpers for the chapters that need Flux: handles and keys that are cleaned up
-- after a test, other ranks, and other processes.

local flux = require "flux"
local spec = require "spec"

local support = {}

support.uri = os.getenv "FLUX_URI" or ""
-- True if flux.new() opens the embedded broker, false on a real instance.
support.is_embedded = support.uri:find "^embed://" ~= nil

-- How much slower the program runs under a tool such as valgrind. The caller sets
-- SPEC_INSTRUMENTED; time limits and delays are multiplied by it.
local instrumented = tonumber(os.getenv "SPEC_INSTRUMENTED")
support.slowdown = instrumented or 1

-- A test that takes longer than this many seconds has hung. The limit is generous
-- because the machine may be busy.
support.patience = 300 * support.slowdown

-- Returns the resident memory of this process in kilobytes. Returns nil if the system
-- does not tell, or under a tool such as valgrind, whose own memory would count.
function support.resident()
  local status = not instrumented and io.open "/proc/self/status"
  if not status then
    return nil
  end
  local text = status:read "*a"
  status:close()
  return tonumber(text:match "VmRSS:%s*(%d+)")
end

-- Checks that the process does not grow by what `run` does. A leak makes it
-- grow each time; what the C library keeps for later does so once.
function support.does_not_grow(run)
  local grown
  for _ = 1, 3 do
    local before = support.resident()
    run()
    grown = before and support.resident() - before or 0
    if grown < 2048 then
      return
    end
  end
  spec.ok(false, ("the process grew by %d KB"):format(grown))
end

-- Opens a handle and closes it after the test.
function support.open(uri)
  local f = spec.ok(flux.new(uri))
  spec.after(function()
    f:close()
  end)
  return f
end

-- Opens a handle at another rank. Skips the test if the instance has no such rank.
function support.open_at(rank)
  local f = support.open()
  if f.size <= rank then
    spec.skip(("needs %d ranks, but the instance has %d"):format(rank + 1, f.size))
  end
  local answer = spec.ok(f:rpc("attr.get", { name = "local-uri" }, rank))
  return support.open(answer.value)
end

local counter = 0
local run_id = ("%d-%s"):format(os.time(), tostring({}):match "0x(%x+)" or "0")

-- Returns a name that nothing else uses.
function support.unique(name)
  counter = counter + 1
  return ("spec-%s-%d-%s"):format(name, counter, run_id)
end

-- Opens a handle and returns it with a unique KVS key. After the test the key is
-- removed with everything below it.
function support.kvs()
  local f = support.open()
  local key = support.unique "key"
  spec.after(function()
    local cleaner = assert(flux.new())
    cleaner:kvs_unlink(key)
    cleaner:kvs_commit()
    cleaner:close()
  end)
  return f, key
end

-- Puts values below a key and commits them.
function support.put(f, key, values)
  for name, value in pairs(values) do
    spec.ok(f:kvs_put(key .. "." .. name, value))
  end
  spec.ok(f:kvs_commit())
end

-- Stores a value that need not be JSON, given as base64, the way `flux kvs put` does.
function support.put_raw(f, key, base64)
  local dirent = { type = "val", ver = 1, data = base64 }
  local op = { key = key, flags = 0, dirent = dirent }
  spec.ok(f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = { op } }))
end

-- Opens a handle that offers a service of a unique name, at another rank if given.
-- Returns the handle and the name.
function support.service(rank)
  local server = rank and support.open_at(rank) or support.open()
  local name = support.unique "service"
  spec.ok(server:rpc("service.add", { service = name }))
  return server, name
end

-- Every method of a handle, with arguments that fit.
support.handle_calls = {
  { "rpc", "broker.ping", {} },
  { "send", "broker.ping", {} },
  { "recv" },
  { "recvmsg" },
  { "sendevent", "spec.event" },
  { "recv_event" },
  { "subscribe", "spec.event" },
  { "unsubscribe", "spec.event" },
  { "getattr", "size" },
  { "log", "info", "text" },
  { "barrier", "spec", 1 },
  { "kvs_put", "spec.key", 1 },
  { "kvs_get", "spec.key" },
  { "kvs_commit" },
  { "kvs_unlink", "spec.key" },
  { "kvs_symlink", "spec.key", "spec.target" },
  { "kvs_type", "spec.key" },
  { "kvsdir" },
}

-- Adds a timer that stops the reactor with an error if the test hangs.
local function guard(f)
  return spec.ok(f:timer {
    timeout = 1000 * support.patience,
    handler = function()
      f:reactor_stop_error "the test took too long"
    end,
  })
end

-- Runs the handle's reactor until a handler stops it. Returns the reactor's result,
-- which must be a number.
function support.run(f)
  local timer = guard(f)
  local active, why = f:reactor()
  timer:remove()
  return spec.type(spec.ok(active, why), "number")
end

-- Runs the handle's reactor until `is_done` returns true, and then for twenty more
-- iterations, so that a handler that is called once too often shows.
function support.run_until(f, is_done)
  local timer = guard(f)
  while not is_done() do
    spec.ok(f:reactor "once")
  end
  for _ = 1, 20 do
    spec.ok(f:reactor "nowait")
  end
  timer:remove()
end

-- Runs the handle's reactor for some milliseconds, times the slowdown. Use this only
-- to check that something does not happen; wait for events with run_until.
function support.run_for(f, milliseconds)
  spec.ok(f:timer {
    timeout = milliseconds * support.slowdown,
    handler = function()
      f:reactor_stop()
    end,
  })
  return support.run(f)
end

-- Runs `action` once from the handle's reactor, five milliseconds later.
function support.soon(f, action)
  return spec.ok(f:timer { timeout = 5, handler = action })
end

-- Runs the reactor and returns the error that it raises.
function support.reactor_error(f, ...)
  local results = { pcall(f.reactor, f, ...) }
  if results[1] then
    error(("expected the reactor to raise an error, but it returned %s, %s"):format(results[2], results[3]))
  end
  return results[2]
end

-- Runs the reactors of these handles in turn until `is_done` returns true.
function support.run_all(handles, is_done)
  local deadline = os.time() + support.patience
  while not is_done() do
    spec.ok(os.time() < deadline, "the test took too long")
    for _, f in ipairs(handles) do
      spec.ok(f:reactor "nowait")
    end
  end
end

-- Adds a message handler for the topics that match `pattern`.
function support.on_message(f, pattern, msgtypes, handler)
  return spec.ok(f:msghandler { pattern = pattern, msgtypes = msgtypes, handler = handler })
end

-- Adds a handler that stops the reactor at the next response with this topic. Returns
-- a table that the handler fills in with the response.
function support.expect_response(f, topic)
  local answer = {}
  support.on_message(f, topic, { flux.MSGTYPE_RESPONSE }, function(_, msg, mh)
    answer.errnum, answer.data, answer.text = msg.errnum, msg.data, msg.payload
    mh:remove()
    f:reactor_stop()
  end)
  return answer
end

-- Sends a request to a service that the same handle offers, and runs the reactor
-- until the response arrives. Returns the response as a table.
function support.call(f, topic, payload)
  local answer = support.expect_response(f, topic)
  spec.ok(f:send(topic, payload))
  support.run(f)
  return answer
end

-- Opens a handle that is subscribed to a unique topic. Returns both.
function support.subscribed()
  local f = support.open()
  local topic = support.unique "event"
  spec.returns({ 0 }, f:subscribe(topic))
  return f, topic
end

-- Runs the reactor until all events that were sent before have been handled.
function support.drain(f)
  local fence = support.unique "fence"
  f:subscribe(fence)
  support.on_message(f, fence, { flux.MSGTYPE_EVENT }, function(_, _, mh)
    mh:remove()
    f:reactor_stop()
  end)
  f:sendevent(fence)
  support.run(f)
  f:unsubscribe(fence)
end

-- Returns a path that does not exist. A file at this path is removed after the test.
function support.path()
  local path = os.tmpname()
  os.remove(path)
  spec.after(function()
    os.remove(path)
  end)
  return path
end

-- Writes a file. Mode "a" appends.
function support.write(path, text, mode)
  local file = assert(io.open(path, mode or "w"))
  file:write(text)
  file:close()
end

local proc = io.open "/proc/self/stat"
if proc then
  proc:close()
end

local function needs_shell()
  if not io.popen or not proc then
    spec.skip "needs a shell and /proc"
  end
end

-- Maps each open descriptor of this process to its mode and target, such as
-- "lr-x /path". Leaves out the pipe that the list is read from.
local function descriptors()
  needs_shell()
  local descriptors = {}
  local pipe = io.popen "readlink /proc/self/fd/1; ls -l /proc/$PPID/fd 2>/dev/null"
  local own = pipe:read "*l"
  for line in pipe:lines() do
    local mode, fd, target = line:match "^(%S+).* (%d+) %-> (.*)$"
    if fd and target ~= own then
      descriptors[tonumber(fd)] = mode:sub(1, 4) .. " " .. target
    end
  end
  pipe:close()
  return descriptors
end

-- Returns the number of the descriptor that was opened at `path`.
function support.descriptor(mode, path)
  for fd, what in pairs(descriptors()) do
    if what == mode .. " " .. path then
      return fd
    end
  end
  error("no descriptor is open at " .. path)
end

-- Starts a command. Returns the pipe of its output and the pipe's descriptor.
function support.popen(command)
  local before = descriptors()
  local pipe = assert(io.popen(command))
  for fd, what in pairs(descriptors()) do
    if what:find "^lr%-x pipe:" and before[fd] ~= what then
      return pipe, fd
    end
  end
  error "no descriptor found for the pipe"
end

-- Returns the number of open descriptors.
function support.count_descriptors()
  local count = 0
  for _ in pairs(descriptors()) do
    count = count + 1
  end
  return count
end

-- Creates a pipe. Returns the file to read from, its descriptor, an unbuffered file
-- to write to, and its descriptor.
function support.fifo()
  needs_shell()
  local path = support.path()
  os.execute("mkfifo " .. support.quote(path))
  -- Opening one end blocks until the other end is open, so open both first.
  local both = assert(io.open(path, "r+"))
  local reader, writer = assert(io.open(path, "r")), assert(io.open(path, "w"))
  both:close()
  writer:setvbuf "no"
  spec.after(function()
    for _, file in ipairs { reader, writer } do
      if io.type(file) == "file" then
        file:close()
      end
    end
  end)
  return reader, support.descriptor("lr-x", path), writer, support.descriptor("l-wx", path)
end

-- Sends a signal to this process.
function support.kill(name)
  needs_shell()
  -- Not os.execute, which ignores some signals while it runs.
  io.popen("kill -" .. name .. " $PPID"):close()
end

support.unpack = table.unpack or unpack
support.load = loadstring or load

-- Quotes a word for the shell.
function support.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Returns the command that started this Lua.
local function interpreter()
  local first = 0
  while arg[first - 1] do
    first = first - 1
  end
  return arg[first]
end

-- Skips the test if other processes cannot take part in it.
function support.needs_processes()
  if support.is_embedded then
    spec.skip "an embedded broker serves one process only"
  end
  if not io.popen then
    spec.skip "this Lua cannot start processes"
  end
end

-- Starts a process that runs this chunk, and returns the pipe of its output. Reading
-- to the end of the pipe waits for the process. The process is killed after `seconds`
-- (times the slowdown; default: support.patience). On an embedded broker it gets a
-- broker of its own. `environment` holds shell assignments for this process only.
function support.start_apart(chunk, seconds, environment)
  needs_shell()
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(chunk)
  file:close()
  spec.after(function()
    os.remove(path)
  end)
  local command = support.quote(interpreter()) .. " " .. support.quote(path)
  local limit = seconds and seconds * support.slowdown or support.patience
  return assert(io.popen(("%s timeout %g %s 2>&1"):format(environment or "", limit, command)))
end

-- Like start_apart, but the process uses the same broker as this one.
function support.start(chunk, seconds)
  support.needs_processes()
  return support.start_apart(chunk, seconds)
end

-- Runs a Flux command and returns its output.
function support.flux(command)
  support.needs_processes()
  local pipe = assert(io.popen("flux " .. command .. " 2>&1"))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

return support
