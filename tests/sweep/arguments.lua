-- Arguments of the wrong kind: each raises an error that names the argument.
local flux, kvs = require "flux", require "kvs"
local f = assert(flux.new(uri))
local function raises(text, fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok)
  if _VERSION == "Lua 5.5" and err:find "^[%a_]+%.[%a_]+$" then
    -- Lua 5.5: when luaL_argerror runs out of memory for its text, it raises the value
    -- on top of the stack, which is the function's name.
    err = "not enough memory"
  end
  if type(err) ~= "string" or not err:find(text) then
    error(err, 0)
  end
end
local w = assert(f:timer { timeout = 60000, handler = print })
raises("string expected", flux.new, true)
raises("number expected", flux.exitstatus, "x")
raises("string expected", f.rpc, f, 42)
raises("flux handle expected", f.rpc, w, "x")
raises("table expected", f.rpc, f, "x", 1)
raises("no such option", f.rpc, f, "x", {}, { nosuch = 1 })
raises("a timeout is", f.rpc, f, "x", {}, { timeout = -1 })
raises("nodeid", f.rpc, f, "x", {}, { nodeid = "x" })
raises("at %.a", f.rpc, f, "x", { a = print })
raises("not UTF%-8", f.rpc, f, "\255")
raises("an integer from", f.recv, f, -1)
raises("number expected", f.recv, f, "x")
raises("string expected", f.subscribe, f)
raises("a level is", f.log, f, "nosuch", "x")
raises("string expected", f.getattr, f)
raises("an integer from", f.barrier, f, "x", 0)
raises("string expected", f.kvs_put, f, {}, 1)
raises("value expected", f.kvs_put, f, "x")
raises("field 'timeout'", f.timer, f, { timeout = -1, handler = print })
raises("field 'handler'", f.timer, f, { timeout = 1, handler = 1 })
raises("field 'fd'", f.fdwatcher, f, { fd = "x", handler = print })
raises("field 'events'", f.fdwatcher, f, { fd = 0, handler = print, events = "x" })
raises("field 'interval'", f.statwatcher, f, { path = "x", handler = print, interval = -1 })
raises("field 'path'", f.statwatcher, f, { path = true, handler = print })
raises("field 'rolemask'", f.msghandler, f, { pattern = "x", handler = print, rolemask = "x" })
raises("did you mean 'oneshot'", f.timer, f, { timeout = 1, handler = print, one_shot = true })
raises("field 'oneshot'", f.timer, f, { timeout = 1, handler = print, oneshot = 1 })
raises("the name of a field must not be nil or NaN", function()
  w[nil] = 1
end)
raises("flux watcher expected", w.remove, f)
raises("payload goes first", f.sendevent, f, "x", {})
raises("payload goes first", f.sendevent, f, "x%s", setmetatable({}, { __tostring = print }), {})
raises("field 'mine'", function()
  f.mine = 1
end)
raises("field 'rank'", function()
  f.rank = 1
end)
raises("number expected", flux.strerror, "x")
raises("^a: b$", flux.assert, nil, "a", 2, "b")
raises("^assertion failed!$", flux.assert, nil)
raises("string expected", flux.json.decode, true)
raises("table expected", flux.json.decode, "1", 1)
raises("value expected", flux.json.encode)
raises("table expected", flux.json.array, 1)
raises("metatable", flux.json.array, setmetatable({}, {}))
raises("kvsdir expected", kvs.keys, f)
f:close()
raises("closed", f.rpc, f, "x")
raises("closed", function()
  return f.rank
end)
return true
