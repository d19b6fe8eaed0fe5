-- What the chapters need of Flux: handles that are closed and keys that are
-- removed when a test ends, other ranks, other processes.

local flux = require "flux"
local spec = require "spec"

local support = {}

support.uri = os.getenv "FLUX_URI" or ""
-- Whether flux.new() opens the embedded broker; else a real instance runs.
support.is_embedded = support.uri:find "^embed://" ~= nil

-- How many times longer things take here than they do by themselves: set by
-- who runs this under something like valgrind. Limits and gaps are multiplied.
local instrumented = tonumber(os.getenv "SPEC_INSTRUMENTED")
support.slowdown = instrumented or 1

-- How many seconds pass before a test counts as hung. It is that long because
-- the machine may be busy: nothing else depends on how fast things are.
support.patience = 300 * support.slowdown

-- Kilobytes of the process that are in memory, or nil where the system does
-- not tell, or where what watches this process has memory of its own in it.
function support.resident()
  local status = not instrumented and io.open "/proc/self/status"
  if not status then
    return nil
  end
  local text = status:read "*a"
  status:close()
  return tonumber(text:match "VmRSS:%s*(%d+)")
end

-- A handle for the length of the test.
function support.open(uri)
  local f = spec.ok(flux.new(uri))
  spec.after(function()
    f:close()
  end)
  return f
end

-- A handle at another rank. Skips the test where there is no such rank.
function support.open_at(rank)
  local f = support.open()
  if f.size <= rank then
    spec.skip(("needs %d ranks, and there are %d"):format(rank + 1, f.size))
  end
  local answer = spec.ok(f:rpc("attr.get", { name = "local-uri" }, rank))
  return support.open(answer.value)
end

local counter = 0
local run_id = ("%d-%s"):format(os.time(), tostring({}):match "0x(%x+)" or "0")

-- A name that nothing else has.
function support.unique(name)
  counter = counter + 1
  return ("spec-%s-%d-%s"):format(name, counter, run_id)
end

-- A handle, and a KVS key that is removed, with all below it, after the test.
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

-- Put values below a key and commit them.
function support.put(f, key, values)
  for name, value in pairs(values) do
    spec.ok(f:kvs_put(key .. "." .. name, value))
  end
  spec.ok(f:kvs_commit())
end

-- Store bytes that need not be JSON, given in base64, as `flux kvs put` does.
function support.put_raw(f, key, base64)
  local dirent = { type = "val", ver = 1, data = base64 }
  local op = { key = key, flags = 0, dirent = dirent }
  spec.ok(f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = { op } }))
end

-- A second handle, at another rank if one is given, that offers a service of a
-- name of its own.
function support.service(rank)
  local server = rank and support.open_at(rank) or support.open()
  local name = support.unique "service"
  spec.ok(server:rpc("service.add", { service = name }))
  return server, name
end

-- The methods that the handle's tests know, with arguments that fit.
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

-- A timer that ends the handle's reactor with an error when the test hangs.
local function guard(f)
  return spec.ok(f:timer {
    timeout = 1000 * support.patience,
    handler = function()
      f:reactor_stop_error "the test takes too long"
    end,
  })
end

-- Run the handle's reactor until a handler stops it. That it returns a number,
-- which is given back.
function support.run(f)
  local timer = guard(f)
  local active, why = f:reactor()
  timer:remove()
  return spec.type(spec.ok(active, why), "number")
end

-- Run the handle's reactor until `is_done` says so, and then for a few turns
-- more: a handler that is called once too often is called in one of them.
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

-- Run the handle's reactor for so many milliseconds, times the slowdown. What
-- must not happen may be looked for by this, and nothing that must.
function support.pass(f, milliseconds)
  spec.ok(f:timer {
    timeout = milliseconds * support.slowdown,
    handler = function()
      f:reactor_stop()
    end,
  })
  return support.run(f)
end

-- Do this once in the handle's reactor, a little later.
function support.soon(f, action)
  return spec.ok(f:timer { timeout = 5, handler = action })
end

-- What the handle's reactor raises.
function support.raised(f, ...)
  local results = { pcall(f.reactor, f, ...) }
  if results[1] then
    error(("nothing was raised, and the reactor returned %s, %s"):format(results[2], results[3]))
  end
  return results[2]
end

-- Run the reactors of all these handles by turns until `is_done` says so.
function support.run_all(handles, is_done)
  local deadline = os.time() + support.patience
  while not is_done() do
    spec.ok(os.time() < deadline, "the test takes too long")
    for _, f in ipairs(handles) do
      spec.ok(f:reactor "nowait")
    end
  end
end

-- A handler of the topics that match.
function support.handle(f, pattern, msgtypes, handler)
  return spec.ok(f:msghandler { pattern = pattern, msgtypes = msgtypes, handler = handler })
end

-- Stop the reactor at a response to the method, which is noted in the table given back.
function support.answer_of(f, topic)
  local answer = {}
  support.handle(f, topic, { flux.MSGTYPE_RESPONSE }, function(_, msg, mh)
    answer.errnum, answer.data, answer.text = msg.errnum, msg.data, msg.payload
    mh:remove()
    f:reactor_stop()
  end)
  return answer
end

-- Call a method in the reactor of the handle that offers it too.
function support.call(f, topic, payload)
  local answer = support.answer_of(f, topic)
  spec.ok(f:send(topic, payload))
  support.run(f)
  return answer
end

-- A handle that is subscribed to a topic of its own.
function support.subscribed()
  local f = support.open()
  local topic = support.unique "event"
  spec.returns({ 0 }, f:subscribe(topic))
  return f, topic
end

-- Run the reactor until all events that were sent before have been handled.
function support.drain(f)
  local fence = support.unique "fence"
  f:subscribe(fence)
  support.handle(f, fence, { flux.MSGTYPE_EVENT }, function(_, _, mh)
    mh:remove()
    f:reactor_stop()
  end)
  f:sendevent(fence)
  support.run(f)
  f:unsubscribe(fence)
end

-- A path that nothing is at; whatever is there after the test is removed.
function support.path()
  local path = os.tmpname()
  os.remove(path)
  spec.after(function()
    os.remove(path)
  end)
  return path
end

-- Write a file, or more of one with mode "a".
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

-- The descriptors that this process has open: what each number stands for, as
-- "lr-x /path". Without the pipe that they are read from.
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

-- The number of the descriptor of what was opened at `path`.
function support.descriptor(mode, path)
  for fd, what in pairs(descriptors()) do
    if what == mode .. " " .. path then
      return fd
    end
  end
  error("no descriptor is open at " .. path)
end

-- Start a command: the pipe of its output, and that one's descriptor.
function support.popen(command)
  local before = descriptors()
  local pipe = assert(io.popen(command))
  for fd, what in pairs(descriptors()) do
    if what:find "^lr%-x pipe:" and before[fd] ~= what then
      return pipe, fd
    end
  end
  error "the pipe has no descriptor"
end

-- How many descriptors are open.
function support.count_descriptors()
  local count = 0
  for _ in pairs(descriptors()) do
    count = count + 1
  end
  return count
end

-- Both ends of a pipe: a file to read, its descriptor, and a file that writes
-- at once, whose descriptor follows.
function support.fifo()
  needs_shell()
  local path = support.path()
  os.execute("mkfifo " .. support.quote(path))
  -- Opening one end waits for the other; for both it does not.
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

-- Send this process a signal.
function support.kill(name)
  needs_shell()
  -- Not by os.execute, which ignores some signals as long as it runs.
  io.popen("kill -" .. name .. " $PPID"):close()
end

support.unpack = table.unpack or unpack
support.load = loadstring or load

-- A word of a shell's command line.
function support.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The command that this Lua was started by.
local function interpreter()
  local first = 0
  while arg[first - 1] do
    first = first - 1
  end
  return arg[first]
end

-- Skip the test where no other process can take part in it.
function support.needs_processes()
  if support.is_embedded then
    spec.skip "an embedded broker is in one process"
  end
  if not io.popen then
    spec.skip "this Lua starts no processes"
  end
end

-- Start a process that runs this chunk, and return the pipe of its output.
-- Reading it to its end waits for the process, which is ended after so many
-- seconds, times the slowdown, or when it hangs. On an embedded broker it has one of its own.
-- `environment`: assignments of the shell's, for it alone.
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

-- The same, with this one's broker.
function support.start(chunk, seconds)
  support.needs_processes()
  return support.start_apart(chunk, seconds)
end

-- Run a command of Flux's and return its output.
function support.flux(command)
  support.needs_processes()
  local pipe = assert(io.popen("flux " .. command .. " 2>&1"))
  local output = pipe:read "*a"
  pipe:close()
  return output
end

return support
