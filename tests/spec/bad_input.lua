-- Invalid arguments. A call raises an error that names the argument, or returns nil
-- and a text. Nothing crashes, hangs, or ends the process.

local flux = require "flux"
local kvs = require "kvs"
local spec = require "spec"
local support = require "support"

local test, equal, raises, refuses = spec.test, spec.equal, spec.raises, spec.refuses

-- Returns a handle and one object of each other class.
local function objects()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  local loop = support.open "loop://"
  loop:send("spec", { n = 1 })
  return { handle = f, message = loop:recvmsg(), dir = f:kvsdir(key), iterator = f:kvsdir(key):keys() }
end

-- Returns values that are not objects of this class.
local function wrong_selves(class)
  local selves = {
    "text",
    42,
    true,
    {},
    setmetatable({}, getmetatable(objects()[class])),
    print,
    coroutine.create(function() end),
    io.stdout,
    flux.NULL,
  }
  for name, object in pairs(objects()) do
    if name ~= class then
      selves[#selves + 1] = object
    end
  end
  return selves
end

-- Returns the functions in the metatable of an object, by name.
local function functions_of(object)
  local functions = {}
  for name, value in pairs(getmetatable(object)) do
    if type(value) == "function" then
      functions[name] = value
    end
  end
  return functions
end

test("every class has its methods in its metatable", function()
  local all = objects()
  spec.type(functions_of(all.handle).rpc, "function")
  spec.type(functions_of(all.message).respond, "function")
  spec.type(functions_of(all.dir).commit, "function")
end)

for _, class in ipairs { "handle", "message", "dir" } do
  test("every function of a " .. class .. " checks its self", function()
    for name, method in pairs(functions_of(objects()[class])) do
      for _, wrong in ipairs(wrong_selves(class)) do
        local ok, err = pcall(method, wrong, "name", 1, 2)
        -- __gc does nothing in silence: the collector could not handle an error.
        if name ~= "__gc" then
          spec.ok(not ok, name .. " accepts " .. type(wrong))
          spec.matches(err, "bad argument")
        end
      end
    end
  end)

  test("every function of a " .. class .. " refuses a call without arguments", function()
    for name, method in pairs(functions_of(objects()[class])) do
      local ok, err = pcall(method)
      if name ~= "__gc" then
        spec.ok(not ok, name .. " accepts no arguments")
        spec.matches(err, "bad argument")
      end
    end
  end)
end

test("a method called with a dot instead of a colon raises an error", function()
  local f = support.open()
  raises("bad argument #1 to 'getattr'", function()
    f.getattr "size"
  end)
end)

test("every function of module kvs checks its directory", function()
  for _, call in pairs(kvs) do
    for _, wrong in ipairs(wrong_selves "dir") do
      raises("bad argument #1", call, wrong, "a")
    end
    raises("bad argument #1", call)
  end
end)

-- Arguments that no call expects.
local ODD = {
  true,
  {},
  { 1, 2, 3 },
  { [true] = 1 },
  print,
  coroutine.create(function() end),
  io.stdout,
  flux.NULL,
  0 / 0,
  1 / 0,
  -1 / 0,
  2 ^ 63,
  -2 ^ 70,
  -1,
  1.5,
  "",
  "\0",
  "a\0b",
  "\255\254",
  ("x"):rep(70000),
  "%s%s%s%d",
  "%",
  "..",
}

-- Calls that may wait for others, whatever their arguments.
local WAITING = { recv = true, recvmsg = true, recv_event = true, watch = true, watch_dir = true, barrier = true }

test("every method of a handle survives odd arguments in every position", function()
  local f = support.open()
  for _, call in ipairs(support.handle_calls) do
    local name = call[1]
    for place = 2, WAITING[name] and 1 or 5 do
      for _, odd in ipairs(ODD) do
        local arguments = { support.unpack(call, 2) }
        for n = 1, place - 2 do
          arguments[n] = arguments[n] or (n == 2 and {} or nil)
        end
        arguments[place - 1] = odd
        local results = { pcall(f[name], f, support.unpack(arguments, 1, place - 1)) }
        spec.ok(results[1] or type(results[2]) == "string", name)
        spec.ok(not tostring(results[2]):find "internal error", results[2])
      end
    end
  end
  -- Close without a commit, so that the puts above do not take effect.
  pcall(f.close, f)
end)

test("a topic, name or key of the wrong type is an error that names the argument", function()
  local f = support.open()
  for _, name in ipairs { "rpc", "send", "getattr", "barrier" } do
    for _, wrong in ipairs { true, {}, print, io.stdout, flux.NULL } do
      raises("bad argument #2", f[name], f, wrong, 1)
    end
    raises("bad argument", f[name], f)
    raises("bad argument", f[name], f, nil)
  end
  for _, name in ipairs { "subscribe", "unsubscribe", "sendevent" } do
    for _, wrong in ipairs { true, print, io.stdout, flux.NULL } do
      raises("bad argument", f[name], f, wrong)
    end
    raises("bad argument", f[name], f)
  end
  for _, name in ipairs { "kvs_put", "kvs_get", "kvs_unlink", "kvs_symlink", "kvs_type" } do
    for _, wrong in ipairs { true, {}, print, io.stdout, flux.NULL } do
      raises("bad argument #2", f[name], f, wrong, "x")
    end
    raises("bad argument", f[name], f)
  end
  raises("bad argument", f.kvs_put, f, "spec.key")
  raises("bad argument", f.kvs_symlink, f, "spec.key")
  raises("bad argument", f.kvsdir, f, true)
end)

test("a payload that is not a table is an error that names the argument", function()
  local f = support.open()
  for _, wrong in ipairs { 42, true, "text", print, io.stdout, flux.NULL } do
    raises("bad argument #2 to 'rpc'", function()
      f:rpc("broker.ping", wrong)
    end)
    raises("bad argument #2 to 'send'", function()
      f:send("broker.ping", wrong)
    end)
  end
end)

test("an invalid nodeid is an error that names the argument", function()
  local f = support.open()
  for _, wrong in ipairs { -3, 2 ^ 32, -2 ^ 31, 2 ^ 63, 2 ^ 70, 1.5, 0 / 0, 1 / 0, "x", true, print } do
    raises("bad argument #3 to 'rpc'", function()
      f:rpc("broker.ping", {}, wrong)
    end)
    raises("bad argument #3 to 'send'", function()
      f:send("broker.ping", {}, wrong)
    end)
  end
end)

test("an invalid matchtag is an error that names the argument", function()
  local f = support.open()
  for _, wrong in ipairs { -1, 2 ^ 32, 1.5, 0 / 0, "x", true, {} } do
    raises("bad argument #1 to 'recv'", function()
      f:recv(wrong)
    end)
    raises("bad argument #1 to 'recvmsg'", function()
      f:recvmsg(wrong)
    end)
  end
end)

test("text with a NUL or invalid UTF-8 is refused", function()
  local f = support.open()
  for _, odd in ipairs { "a\0b", "\0", "\255" } do
    for _, name in ipairs { "rpc", "send", "getattr", "kvs_get", "kvs_type", "kvs_unlink" } do
      refuses(f[name], f, odd)
    end
    refuses(f.kvs_put, f, odd, 1)
    refuses(f.kvs_symlink, f, odd, "x")
    refuses(f.kvs_symlink, f, "spec.key", odd)
    refuses(f.kvsdir, f, odd)
    refuses(f.subscribe, f, odd)
    refuses(f.unsubscribe, f, odd)
    refuses(f.sendevent, f, odd)
  end
end)

test("a very long name is sent or refused", function()
  local f = support.open()
  local long = ("x"):rep(300000)
  refuses(f.rpc, f, long, {})
  refuses(f.getattr, f, long)
  refuses(f.kvs_get, f, long)
  refuses(f.unsubscribe, f, long)
  equal(spec.ok(f:rpc("broker.ping", { seq = 1 })).seq, 1)
end)

test("calling a finalizer twice by hand is harmless", function()
  local all = objects()
  for _, name in ipairs { "message", "dir", "handle" } do
    local finalize = getmetatable(all[name]).__gc
    finalize(all[name])
    finalize(all[name])
  end
  raises("closed", all.handle.getattr, all.handle, "size")
  pcall(tostring, all.handle)
  pcall(tostring, all.message)
  pcall(tostring, all.dir)
  raises("", function()
    return all.message.tag
  end)
  raises("", function()
    return all.dir.a
  end)
  collectgarbage()
  collectgarbage()
end)

test("calling a finalizer with another class's object is harmless", function()
  local all = objects()
  for _, class in pairs { "message", "dir", "handle" } do
    local finalize = getmetatable(all[class]).__gc
    for _, object in pairs(all) do
      if object ~= all[class] then
        pcall(finalize, object)
      end
    end
    for _, wrong in ipairs { io.stdout, 42, "x", {}, flux.NULL } do
      pcall(finalize, wrong)
    end
    pcall(finalize)
  end
  equal(all.message.data.n, 1)
  equal(all.dir.a, 1)
  equal(type(all.handle.rank), "number")
  io.stdout:write ""
end)

-- Opens a file that nothing else uses.
local function open_file()
  return assert(io.open(arg[0]))
end

test("swapping the metatables of objects and io files is harmless", function()
  local all = objects()
  local metatables = { getmetatable(open_file()) }
  for _, name in ipairs { "handle", "message", "dir" } do
    metatables[#metatables + 1] = getmetatable(all[name])
  end
  for _, name in ipairs { "handle", "message", "dir" } do
    local own = getmetatable(all[name])
    for _, other in ipairs(metatables) do
      -- The methods of io files trust their metatable, so leave them out.
      if other ~= own and other ~= metatables[1] then
        debug.setmetatable(all[name], other)
        for method_name, method in pairs(other) do
          if type(method) == "function" and not WAITING[method_name] then
            pcall(method, all[name], "name", 1)
          end
        end
      end
    end
    debug.setmetatable(all[name], own)
  end
  equal(all.message.data.n, 1)
  equal(all.dir.a, 1)
  equal(type(all.handle.rank), "number")
end)

test("an io file with the metatable of one of our classes is refused", function()
  local all = objects()
  for _, name in ipairs { "handle", "message", "dir" } do
    local metatable = getmetatable(all[name])
    local file = open_file()
    local own = getmetatable(file)
    debug.setmetatable(file, metatable)
    for method_name, method in pairs(metatable) do
      if type(method) == "function" then
        local ok = pcall(method, file, "name", 1)
        spec.ok(not ok or method_name == "__gc", method_name)
      end
    end
    debug.setmetatable(file, own)
    spec.ok(file:read(1))
    file:close()
  end
end)

test("objects without a metatable can be collected", function()
  -- Run in another process: these objects are never finalized, so they leak.
  local process = support.start_apart [[
    local flux = require "flux"
    local f, loop = assert(flux.new()), flux.new "loop://"
    loop:send "spec"
    for _, object in ipairs { loop:recvmsg(), f:kvsdir(), loop, f } do
      debug.setmetatable(object, nil)
    end
    f, loop = nil, nil
    collectgarbage()
    collectgarbage()
    print "collected"
  ]]
  equal(process:read "*a", "collected\n")
  process:close()
end)

test("removing a method from a class only makes that method unavailable", function()
  local f = support.open()
  local metatable = getmetatable(f)
  local original = metatable.getattr
  metatable.getattr = nil
  equal(f.getattr, nil)
  metatable.getattr = original
  equal(type(f:getattr "size"), "string")
end)

test("a format that does not fit its arguments is an error", function()
  local f = support.open()
  for _, name in ipairs { "subscribe", "unsubscribe", "sendevent", "kvsdir" } do
    refuses(f[name], f, "%d", {})
    refuses(f[name], f, "%y", 1)
    refuses(f[name], f, "%d")
  end
end)

test("a format may have two hundred arguments", function()
  local f = support.open()
  local many = {}
  for n = 1, 200 do
    many[n] = n
  end
  equal(f:subscribe(("%d"):rep(200), support.unpack(many)), 0)
  equal(f:unsubscribe(("%d"):rep(200), support.unpack(many)), 0)
end)

test("an error raised by __tostring passes through a format", function()
  local f = support.open()
  local loud = setmetatable({}, {
    __tostring = function()
      error { code = 7 }
    end,
  })
  refuses(f.sendevent, f, "%s", loud)
  equal(spec.ok(f:rpc("broker.ping", { seq = 1 })).seq, 1)
end)

test("a call from a coroutine works like any other", function()
  local f = support.open()
  local ask = coroutine.wrap(function()
    local answer = f:rpc("broker.ping", { seq = 3 })
    coroutine.yield(answer.seq)
    return f:getattr "size"
  end)
  equal(ask(), 3)
  equal(ask(), f:getattr "size")
end)

test("closing the handle from __tostring during a call raises an error", function()
  local f = spec.ok(flux.new())
  local closing = setmetatable({}, {
    __tostring = function()
      f:close()
      return "closing"
    end,
  })
  if not pcall(string.format, "%s", setmetatable({}, getmetatable(closing))) then
    spec.skip "string.format of this Lua does not call __tostring"
  end
  f = spec.ok(flux.new())
  raises("closed", f.sendevent, f, "%s", closing)
end)
