-- Turns the bytes of an input into API calls: they choose the functions, objects and
-- arguments, and collections and closes in between. The arguments of this chunk are
-- the modules, a table of functions of calls.rs, and the input. Any call may fail, but
-- none may crash, hang, or raise an "internal error".

local flux, kvs, native, data = ...

local unpack = table.unpack or unpack
local at = 0
-- The number of calls left, including those made in handlers and coroutines.
local left = 200
-- The number of blocking reactor runs left.
local waits = 2

local function byte()
  at = at + 1
  return data:byte(at) or 0
end

local function below(n)
  return byte() % n
end

local function choose(choices)
  return choices[below(#choices) + 1]
end

-- Objects to call methods on, by the name of their class. At most four of each.
local pool

local function forget_all()
  pool = {
    ["FLUX.handle"] = {},
    ["CMB.zmsgi"] = {},
    ["CMB.kvsdir"] = {},
    ["FLUX.watcher"] = {},
    ["FLUX.kz"] = {},
    ["function"] = {},
    thread = {},
    table = {},
  }
end
forget_all()

local function class_of(value)
  if type(value) ~= "userdata" then
    return type(value)
  end
  local metatable = debug.getmetatable(value)
  return metatable and metatable.__name
end

local function keep(...)
  for n = 1, select("#", ...) do
    local value = select(n, ...)
    local kept = pool[class_of(value)]
    if kept then
      kept[below(4) + 1] = value
    end
  end
  return ...
end

-- Values that are wrong or unusual as arguments. A table { pool = CLASS } stands for
-- an object of this class from the pool.
local ODD = {
  false,
  0,
  -1,
  1.5,
  2 ^ 53,
  2 ^ 63,
  1 / 0,
  0 / 0,
  "",
  "\0",
  "a\0b",
  "\255",
  "%s%d",
  "%",
  "..",
  ("long"):rep(300),
  "1",
  " 0x2 ",
  "1.5",
  "5x",
  print,
  io.stdout,
  flux.NULL,
  coroutine.create(function() end),
}
for name in pairs(pool) do
  ODD[#ODD + 1] = { pool = name }
end

local function kept(class)
  local known = {}
  for n = 1, 4 do
    known[#known + 1] = pool[class][n]
  end
  if #known == 0 then
    return nil
  end
  return known[below(#known) + 1]
end

local function odd()
  local value = choose(ODD)
  if type(value) == "table" then
    return kept(value.pool)
  end
  return value
end

-- Mostly an object of the class, sometimes any odd value.
local function object(class)
  if below(24) == 7 then
    return odd()
  end
  return kept(class)
end

local TEXTS = { "a", "a", "a", "b", "b", "a.b", "a.b", "b.a", "dir", "svc.x", "event", "event", "event.x", ".", "é" }
local ATTRIBUTES = { "size", "rank", "tbon.topo", "a" }

local function text()
  if below(16) == 9 then
    return odd()
  end
  return choose(TEXTS)
end

local value

local TABLES = {
  function()
    return {}
  end,
  function()
    return { name = "size" }
  end,
  function()
    return { service = "svc" }
  end,
  function()
    return { topic = "event.x", flags = 0, payload = { n = 1 } }
  end,
  function()
    return { topic = "event" }
  end,
  function()
    return { key = text(), flags = below(128) * 4, namespace = "primary" }
  end,
  function()
    local dirent = { type = choose { "val", "dir", "symlink", "dirref", "x" }, ver = 1, data = choose { "eHg=", {}, { target = "a" } } }
    return { namespace = "primary", flags = 0, ops = flux.json.array { { key = text(), flags = choose { 0, 32 }, dirent = dirent } } }
  end,
  function()
    return { namespace = choose { "other", "primary" }, rootref = "sha1-" .. ("0"):rep(40), owner = -1, flags = 0, rootseq = below(4) }
  end,
  function()
    return { matchtag = below(8) }
  end,
  function()
    return { value(), value(), [below(4)] = value(), x = value() }
  end,
  function()
    local t = { n = 1 }
    t.t = t
    return t
  end,
  function()
    local raise = function()
      error { "a metamethod" }
    end
    return setmetatable({ x = 1 }, { __index = raise, __newindex = raise, __pairs = raise, __len = raise })
  end,
}

function value()
  local n = below(8)
  if n < 3 then
    return below(100)
  elseif n < 5 then
    return text()
  elseif n == 5 then
    return odd()
  end
  return choose(TABLES)()
end

local function payload()
  local n = below(16)
  if n == 0 then
    return odd()
  elseif n < 4 then
    return nil
  end
  return choose(TABLES)()
end

local TOPICS = {
  "broker.ping", "attr.get", "attr.set", "attr.list", "kvs.lookup", "kvs.lookup-plus", "kvs.commit", "kvs.getroot", "kvs.stats-get",
  "kvs.namespace-create", "kvs.namespace-remove", "kvs.namespace-list", "kvs.wait-version", "kvs-watch.lookup",
  "kvs-watch.cancel", "service.add", "service.remove", "event.subscribe", "event.unsubscribe", "event.publish",
  "log.append", "log.dmesg", "svc.x", "svc.y", "svc.x", "barrier.enter", "no.such", "svc", "x",
}

local function topic()
  if below(16) == 5 then
    return odd()
  end
  return choose(TOPICS)
end

local function nodeid()
  -- With a second thread, a call without a timeout could wait for ever.
  local n = native.is_single_threaded and below(8) or 4 + below(3)
  if n < 3 then
    return nil
  elseif n == 3 then
    return choose { 0, 1, 2, -1, -2, flux.NODEID_UPSTREAM, 1e10 }
  elseif n < 6 then
    return { timeout = 0 }
  elseif n == 6 then
    return { timeout = 1e-9, nodeid = below(3) }
  end
  return odd()
end

local act

local HANDLERS = {
  function() end,
  function()
    act()
  end,
  function()
    act()
    act()
  end,
  function()
    act()
    return -1
  end,
  function()
    error "raised"
  end,
  function()
    error { "raised" }
  end,
  function()
    error()
  end,
  function()
    coroutine.yield(1)
  end,
  function(...)
    keep(...)
    act()
  end,
  function(...)
    for n = 1, select("#", ...) do
      local it = select(n, ...)
      if type(it) == "userdata" and it.remove then
        it:remove()
      end
    end
  end,
  function(f)
    f:close()
  end,
  function(f, msg)
    msg:respond { n = below(10) }
    msg:respond_error(2, "again")
  end,
  function()
    forget_all()
    collectgarbage()
  end,
  function(_, _, watcher)
    watcher.handler = nil
  end,
  function(w)
    w.handler = print == nil
  end,
}

local function handler()
  local n = below(40)
  if n == 0 then
    return odd()
  elseif n == 1 then
    return setmetatable({}, { __call = HANDLERS[2] })
  end
  return choose(HANDLERS)
end

local SIGNALS = { 28, 23, 17, 18, 2, 3, 9, 19, 0, 64, 65, -1, 1e10, "x" }

-- The calls: a class, a method, and a function for each argument.
local function fields(make)
  return function()
    if below(32) == 3 then
      return odd()
    end
    return make()
  end
end

local function number(n)
  return function()
    return below(16) == 0 and odd() or below(n)
  end
end

local HANDLE, MESSAGE, DIR, WATCHER, KZ = "FLUX.handle", "CMB.zmsgi", "CMB.kvsdir", "FLUX.watcher", "FLUX.kz"

local CALLS = {
  { HANDLE, "rpc", topic, payload, nodeid },
  { HANDLE, "send", topic, payload, nodeid },
  { HANDLE, "sendevent", payload, text },
  { HANDLE, "sendevent", text },
  { HANDLE, "subscribe", text },
  { HANDLE, "unsubscribe", text },
  { HANDLE, "getattr", function() return below(8) == 0 and odd() or choose(ATTRIBUTES) end },
  { HANDLE, "log", number(9), text },
  { HANDLE, "kvs_put", text, value },
  { HANDLE, "kvs_put", text, value },
  { HANDLE, "kvs_get", text },
  { HANDLE, "kvs_commit" },
  { HANDLE, "kvs_commit" },
  { HANDLE, "kvs_unlink", text },
  { HANDLE, "kvs_symlink", text, text },
  { HANDLE, "kvs_type", text },
  { HANDLE, "kvsdir", text },
  { HANDLE, "kvsdir" },
  { HANDLE, "kz_open", text, function() return choose { "r", "w", "x" } end },
  { HANDLE, "reactor", function() return "nowait" end },
  { HANDLE, "reactor", function() return "nowait" end },
  { HANDLE, "reactor_stop" },
  { HANDLE, "reactor_stop_error", text },
  {
    HANDLE,
    "msghandler",
    fields(function()
      return { pattern = choose { "*", "svc.*", "event*", "[", "?", text() }, handler = handler(), msgtypes = choose { {}, { 1 }, { 2 }, { 4 }, { 15 }, { "x" } }, rolemask = choose { 1, 7, 0 } }
    end),
  },
  {
    HANDLE,
    "msghandler",
    fields(function()
      return { pattern = "*", handler = handler() }
    end),
  },
  {
    HANDLE,
    "timer",
    fields(function()
      return { timeout = choose { 0, 0, 1e-6, 1e300, odd() }, oneshot = choose { true, false }, handler = handler() }
    end),
  },
  {
    HANDLE,
    "fdwatcher",
    fields(function()
      return { fd = choose { native.reader(), native.writer(), -1, 1e6 }, events = choose { "r", "w", "rw", 7, "x" }, handler = handler() }
    end),
  },
  {
    HANDLE,
    "iowatcher",
    fields(function()
      return { fd = choose { native.reader(), native.reader(), -1, 1e6 }, handler = handler() }
    end),
  },
  {
    HANDLE,
    "iowatcher",
    fields(function()
      return { key = text(), handler = handler(), kz_flags = choose { {}, { "nofollow" }, { "x" } } }
    end),
  },
  {
    HANDLE,
    "statwatcher",
    fields(function()
      return { path = choose { "/proc/self/stat", "/", "", "/no such" }, interval = choose { 0, 0.01, -1 }, handler = handler() }
    end),
  },
  {
    HANDLE,
    "sighandler",
    fields(function()
      return { sigmask = { choose(SIGNALS), choose(SIGNALS) }, handler = handler() }
    end),
  },
  {
    HANDLE,
    "kvswatcher",
    fields(function()
      return { key = text(), isdir = choose { false, true }, handler = handler() }
    end),
  },
  { MESSAGE, "respond", payload },
  { MESSAGE, "respond", payload },
  { MESSAGE, "respond_error", number(40), text },
  { DIR, "keys" },
  { DIR, "commit" },
  { DIR, "unlink", text },
  { WATCHER, "remove" },
  { WATCHER, "remove" },
  { KZ, "write", text },
  { KZ, "read" },
  { KZ, "close" },
}

-- Calls that wait for an event.
local WAITING = {
  { HANDLE, "recv", number(6) },
  { HANDLE, "recv" },
  { HANDLE, "recvmsg" },
  { HANDLE, "recvmsg", number(6) },
  { HANDLE, "recv_event" },
  { HANDLE, "barrier", text, number(3) },
  { DIR, "watch", text },
  { DIR, "watch", text, value },
  { DIR, "watch_dir" },
}

local function call_method(calls)
  local call = choose(calls)
  local self = object(call[1])
  local arguments, count = {}, #call - 2
  for n = 1, count do
    arguments[n] = call[n + 2]()
  end
  if self == nil then
    return
  end
  keep(self[call[2]](self, unpack(arguments, 1, count)))
end

-- A blocking run of the reactor. A repeating timer stops it, again if a handler
-- starts another run. The timeout is mostly too short to sleep, because sleeping
-- would take most of the time of the fuzzer.
local function run_waiting()
  local f = object(HANDLE)
  if waits == 0 or f == nil then
    return
  end
  waits = waits - 1
  local guard = f:timer { timeout = below(64) == 1 and 0.02 or 1e-6, oneshot = false, handler = f.reactor_stop }
  pcall(f.reactor, f, choose { nil, "once", "once" })
  if guard then
    guard:remove()
  end
end

local FLAGS = { 0, 1, 2, 16, 4, 12, 68, 196, 132, 260, 512, 1284 }

-- Requests with mostly valid payloads for the services of the embedded broker.
local REQUESTS = {
  function()
    return "broker.ping", { seq = below(9), pad = text() }
  end,
  function()
    return "attr.get", { name = choose(ATTRIBUTES) }
  end,
  function()
    return "attr.set", { name = text(), value = text() }
  end,
  function()
    return choose { "kvs.lookup", "kvs-watch.lookup" }, { key = text(), namespace = choose { "primary", "other" }, flags = choose(FLAGS) }
  end,
  function()
    local dirent = choose {
      flux.NULL,
      { type = "val", ver = 1, data = "eHg=" },
      { type = "dir", ver = 1, data = { x = { type = "val", ver = 1, data = "" } } },
      { type = "symlink", ver = 1, data = { target = text(), namespace = choose { "primary", "other" } } },
      { type = "dirref", ver = 1, data = { "sha1-" } },
    }
    local op = { key = text(), flags = choose { 0, 0, 32 }, dirent = dirent }
    return "kvs.commit", { namespace = choose { "primary", "other" }, flags = 0, ops = flux.json.array { op } }
  end,
  function()
    return choose { "kvs.getroot", "kvs.namespace-remove" }, { namespace = choose { "primary", "other" } }
  end,
  function()
    -- The root of an empty namespace.
    local root = "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91"
    return "kvs.namespace-create", { namespace = "other", rootref = root, owner = -1, flags = 0 }
  end,
  function()
    return "kvs.wait-version", { namespace = "primary", rootseq = below(4) }
  end,
  function()
    return choose { "service.add", "service.add", "service.remove" }, { service = "svc" }
  end,
  function()
    return "svc.x", { n = 1 }
  end,
  function()
    return "event.publish", { topic = "event.x", flags = 0, payload = { n = 1 } }
  end,
  function()
    return choose { "kvs.stats-get", "kvs-watch.stats-get", "kvs.namespace-list", "attr.list", "log.dmesg" }, {}
  end,
}

local function request()
  local f = object(HANDLE)
  local topic, payload = choose(REQUESTS)()
  if f ~= nil then
    keep(f[choose { "rpc", "send" }](f, topic, payload, nodeid()))
  end
end

local FIELDS = { "type", "tag", "data", "payload", "errnum", "matchtag", "nodeid", "userid", "rolemask", "streaming", "rank", "size", "arity", "handler", "x" }

-- Actions other than method calls.
local OTHERS = {
  function()
    keep(flux.new(choose { "embed://", "embed://", "embed://fuzz?size=2&rank=1", "embed://fuzz?size=2", "loop://", "embed://?size=x", odd() }))
  end,
  function()
    local dir = object(DIR)
    if dir ~= nil then
      keep(dir[text()])
    end
  end,
  function()
    local dir = object(DIR)
    if dir ~= nil then
      dir[text()] = value()
    end
  end,
  function()
    local it = object(choose { HANDLE, MESSAGE, WATCHER })
    if it ~= nil then
      keep(it[choose(FIELDS)])
    end
  end,
  function()
    local it = object(choose { WATCHER, WATCHER, HANDLE, MESSAGE, KZ })
    if it ~= nil then
      it[choose(FIELDS)] = choose { handler, odd }()
    end
  end,
  function()
    keep(flux.assert(choose { value, odd }(), odd(), odd(), odd()))
  end,
  function()
    flux.strerror(choose { below, odd }(134))
  end,
  function()
    local next = object "function"
    for _ = 1, next and 3 or 0 do
      next()
    end
  end,
  function()
    local text = flux.json.encode(value())
    keep(flux.json.decode(text, choose { { null = flux.NULL }, {} }))
  end,
  function()
    tostring(object(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ }))
  end,
  -- Drop an object from the pool, so that it becomes garbage.
  function()
    pool[choose { HANDLE, MESSAGE, DIR, WATCHER, KZ }][below(4) + 1] = nil
  end,
  function()
    if below(2) == 0 then
      return forget_all()
    end
    local f = object(HANDLE)
    if f ~= nil then
      f:close()
    end
  end,
  -- Call a method of one class on an object of any class.
  function()
    local class = object(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ })
    local call, self = choose(CALLS), object(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ })
    local metatable = debug.getmetatable(class)
    local method = metatable and metatable[call[2]]
    if method and call[2] ~= "reactor" then
      keep(method(self, value(), value()))
    end
  end,
  -- Call the finalizer of an object that is still in use.
  function()
    local it = object(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ })
    local metatable = debug.getmetatable(it)
    if type(it) == "userdata" and metatable.__gc then
      metatable.__gc(it)
    end
  end,
  -- Call a method while an object has the metatable of another class.
  function()
    local it, other = kept(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ }), kept(choose { HANDLE, MESSAGE, DIR, WATCHER, KZ })
    if it ~= nil and other ~= nil then
      local own = debug.getmetatable(it)
      debug.setmetatable(it, debug.getmetatable(other))
      pcall(call_method, CALLS)
      debug.setmetatable(it, own)
    end
  end,
  function()
    coroutine.wrap(function()
      act()
      act()
    end)()
  end,
  function()
    pool.thread[below(4) + 1] = coroutine.create(function()
      act()
      coroutine.yield()
      act()
    end)
  end,
  function()
    local thread = kept "thread"
    if thread then
      coroutine.resume(thread)
    end
  end,
  function()
    native.write_to_pipe(choose { "line\n", "two\nlines", "x" })
  end,
  function()
    native.close_end(below(2))
  end,
  function()
    native.signal(choose { 28, 23, 17, 18 })
  end,
  run_waiting,
  run_waiting,
}

local function call()
  local n = below(16)
  if n < 8 then
    call_method(CALLS)
  elseif n == 8 then
    call_method(native.is_single_threaded and WAITING or CALLS)
  elseif n < 11 then
    request()
  else
    choose(OTHERS)()
  end
end

function act()
  if left == 0 then
    return
  end
  left = left - 1
  local collects = below(32)
  if collects == 1 then
    collectgarbage()
  elseif collects < 6 then
    collectgarbage "step"
  end
  local ok, err = pcall(call)
  if not ok and type(err) == "string" and err:find "internal error" then
    native.abort_with(err)
  end
end

pool[HANDLE][1] = flux.new(choose { "embed://", "embed://", "embed://fuzz?size=2", "loop://" })
pool[HANDLE][2] = flux.new "embed://"
while at < #data and left > 0 do
  act()
end
