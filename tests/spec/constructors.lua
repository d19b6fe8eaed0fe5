-- The tables that reactor objects are created from: misspelled fields, boolean
-- fields, and the error for a missing table.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal, raises = spec.test, spec.equal, spec.raises

-- Returns each constructor with a valid table and its optional fields.
local function constructors()
  local _, fd = support.fifo()
  local handler = function() end
  return {
    { name = "timer", given = { timeout = 60000, handler = handler }, optional = { oneshot = true } },
    { name = "msghandler", given = { pattern = "x", handler = handler }, optional = { msgtypes = { 1 }, rolemask = 1 } },
    { name = "statwatcher", given = { path = "/", handler = handler }, optional = { interval = 1 } },
    { name = "fdwatcher", given = { fd = fd, handler = handler }, optional = { events = "r" } },
    { name = "iowatcher", given = { fd = fd, handler = handler }, optional = { kz_flags = {} } },
    { name = "iowatcher", given = { key = "x", handler = handler }, optional = { kz_flags = {} } },
    { name = "sighandler", given = { sigmask = { 10 }, handler = handler }, optional = {} },
    { name = "kvswatcher", given = { key = "x", handler = handler }, optional = { isdir = false } },
  }
end

-- Creates an object and removes it at once.
local function make(f, name, fields)
  local w = spec.ok(f[name](f, fields))
  w:remove()
  return w
end

local function copy(fields, without)
  local copied = {}
  for name, value in pairs(fields) do
    copied[name] = name ~= without and value or nil
  end
  return copied
end

-- Returns misspellings of a name: one wrong letter, other case, or underscores.
local function typos(name)
  local all = { "_" .. name, name .. "_", name:upper(), name:sub(1, 1):upper() .. name:sub(2) }
  for at = 1, #name do
    local before, letter, after = name:sub(1, at - 1), name:sub(at, at), name:sub(at + 1)
    all[#all + 1] = before .. after
    all[#all + 1] = before .. letter .. letter .. after
    all[#all + 1] = before .. "_" .. letter .. after
    all[#all + 1] = before .. letter .. "x" .. after
    if #name > 2 then
      all[#all + 1] = before .. "x" .. after
    end
    if after ~= "" then
      all[#all + 1] = before .. after:sub(1, 1) .. letter .. after:sub(2)
    end
  end
  return all
end

-- Returns misspellings of a name with two wrong letters.
local function two_letter_typos(name)
  local all = {}
  for at = 1, #name - 1 do
    all[#all + 1] = name:sub(1, at - 1) .. name:sub(at + 2)
    all[#all + 1] = name:sub(1, at - 1) .. "xy" .. name:sub(at + 2)
    all[#all + 1] = name:sub(1, at) .. "xy" .. name:sub(at + 1)
  end
  return all
end

-- Checks that the constructor refuses the misspelled field and suggests the right one.
local function refuses_typo(f, constructor, fields, typo, field)
  if fields[typo] ~= nil or typo == field or typo == "" then
    return
  end
  fields[typo] = 1
  local text = ("unknown field '%s' (did you mean '%s'?)"):format(typo, field)
  local ok, err = pcall(f[constructor.name], f, fields)
  spec.ok(not ok and err:find(text, 1, true), ("%s{ %s } for %s: %s"):format(constructor.name, typo, field, tostring(err)))
  fields[typo] = nil
end

test("a field with one wrong letter is refused and the right name is suggested", function()
  local f = support.open()
  for _, constructor in ipairs(constructors()) do
    for field in pairs(constructor.optional) do
      for _, typo in ipairs(typos(field)) do
        refuses_typo(f, constructor, copy(constructor.given), typo, field)
      end
    end
    for field in pairs(constructor.given) do
      for _, typo in ipairs(typos(field)) do
        refuses_typo(f, constructor, copy(constructor.given, field), typo, field)
      end
    end
  end
  equal(f:reactor "nowait", 0)
end)

test("a field of five letters or more with two wrong letters is refused too", function()
  local f = support.open()
  for _, constructor in ipairs(constructors()) do
    for _, fields in ipairs { constructor.given, constructor.optional } do
      for field in pairs(fields) do
        for _, typo in ipairs(#field >= 5 and two_letter_typos(field) or {}) do
          refuses_typo(f, constructor, copy(constructor.given, field), typo, field)
        end
      end
    end
  end
end)

test("common misspellings are refused and the right name is suggested", function()
  local f = support.open()
  for _, case in ipairs {
    { "timer", { timeout = 1, handler = print }, "one_shot", "oneshot" },
    { "timer", { timeout = 1, handler = print }, "oneShot", "oneshot" },
    { "timer", { handler = print }, "timout", "timeout" },
    { "timer", { handler = print }, "time_out", "timeout" },
    { "timer", { timeout = 1 }, "Handler", "handler" },
    { "timer", { timeout = 1 }, "hander", "handler" },
    { "msghandler", { pattern = "x", handler = print }, "msgtype", "msgtypes" },
    { "msghandler", { pattern = "x", handler = print }, "msg_types", "msgtypes" },
    { "msghandler", { pattern = "x", handler = print }, "msg_type", "msgtypes" },
    { "msghandler", { pattern = "x", handler = print }, "role_mask", "rolemask" },
    { "kvswatcher", { key = "x", handler = print }, "is_dir", "isdir" },
    { "iowatcher", { key = "x", handler = print }, "kzflags", "kz_flags" },
    { "sighandler", { handler = print }, "sigmsak", "sigmask" },
  } do
    local name, fields, typo, meant = support.unpack(case)
    fields[typo] = false
    raises("unknown field '" .. typo .. "' %(did you mean '" .. meant .. "'%?%)", f[name], f, fields)
  end
  raises("^[^ ]+ bad argument #1 to 'timer' %(unknown field 'one_shot' %(did you mean 'oneshot'%?%)%)$", function()
    f:timer { timeout = 1, handler = print, one_shot = true }
  end)
end)

test("the table may hold the script's own keys", function()
  local f = support.open()
  for _, constructor in ipairs(constructors()) do
    local fields = copy(constructor.given)
    for _, key in ipairs {
      "id", "name", "data", "count", "mykey", "user", "tag", "state", "owner", "kay", "kz", "df", "paths", "x", "",
      "timer", "watcher", "on_error", "remove_me", "a_very_long_name_of_a_field_of_a_script", "\0", "é", 1, 2, 1.5, true, print,
    } do
      fields[key] = 1
    end
    local w = make(f, constructor.name, fields)
    equal(w.mykey, 1)
    equal(w[true], 1)
    w.mykey = 2
    equal(w.mykey, 2)
  end
end)

test("a key similar to a field that is present belongs to the script", function()
  local f = support.open()
  for _, constructor in ipairs(constructors()) do
    local fields = copy(constructor.given)
    for name, value in pairs(constructor.optional) do
      fields[name] = value
    end
    for _, name in ipairs { "timeout", "handler", "oneshot", "isdir", "pattern", "events", "interval", "sigmask" } do
      if fields[name] ~= nil then
        fields["_" .. name] = 1
        fields[name:upper()] = 1
        fields[name .. "s"] = 1
      end
    end
    make(f, constructor.name, fields)
  end
end)

test("an iowatcher with fd or key accepts keys similar to the other one", function()
  local f = support.open()
  local _, fd = support.fifo()
  make(f, "iowatcher", { fd = fd, handler = print, keys = 1, Key = 1 })
  make(f, "iowatcher", { key = "x", handler = print, fds = 1, FD = 1 })
  raises("did you mean 'key'", f.iowatcher, f, { handler = print, keys = 1 })
  raises("did you mean 'fd'", f.iowatcher, f, { handler = print, fds = 1 })
end)

test("a misspelled field is found among other keys and with a metatable", function()
  local f = support.open()
  local fields = { timeout = 1, handler = print, one_shot = true }
  for n = 1, 100 do
    fields["own" .. n], fields[n] = n, n
  end
  raises("unknown field 'one_shot'", f.timer, f, fields)
  local inherited = setmetatable({ one_shot = true }, { __index = { timeout = 1, handler = print } })
  raises("unknown field 'one_shot'", f.timer, f, inherited)
  make(f, "timer", setmetatable({ one_shot = true }, { __index = { timeout = 1, handler = print, oneshot = true } }))
  make(f, "timer", setmetatable({}, { __index = { timeout = 1, handler = print, one_shot = 1 } }))
end)

test("the table may change while its metamethods return fields", function()
  local f = support.open()
  local fields = {}
  setmetatable(fields, {
    __index = function(t, name)
      for n = 1, 50 do
        rawset(t, "own_" .. name .. n, n)
      end
      collectgarbage()
      return ({ timeout = 60000, handler = print })[name]
    end,
  })
  make(f, "timer", fields)
end)

test("a debug hook may run in a constructor", function()
  local f = support.open()
  local count = 0
  spec.after(function()
    debug.sethook()
  end)
  for _, constructor in ipairs(constructors()) do
    local fields = copy(constructor.given)
    fields.mykey = 1
    debug.sethook(function()
      count = count + 1
      fields["key" .. count] = count
      collectgarbage "step"
    end, "crl", 1)
    local ok, w = pcall(f[constructor.name], f, fields)
    debug.sethook()
    spec.ok(ok, w)
    w:remove()
  end
  spec.ok(count > 0)
end)

test("a debug hook may remove the table from a constructor's stack", function()
  local f = support.open()
  spec.after(function()
    debug.sethook()
  end)
  local taken = 0
  for _, constructor in ipairs(constructors()) do
    local fields = setmetatable({ mykey = 1 }, { __index = constructor.given })
    local method = f[constructor.name]
    debug.sethook(function()
      -- Level 2 is the constructor's call itself. Look at the calls below it.
      for level = 3, 5 do
        local info = debug.getinfo(level, "f")
        if info and info.func == method and debug.setlocal(level, 2, 5) then
          taken = taken + 1
        end
      end
    end, "cr")
    local _, why = pcall(method, f, fields)
    debug.sethook()
    spec.ok(not tostring(why):find "internal error", why)
  end
  spec.ok(taken > 0)
end)

test("oneshot and isdir must be booleans", function()
  local f, key = support.kvs()
  support.put(f, key, { a = 1 })
  for _, wrong in ipairs { 0, 1, "", "true", "false", {}, print, flux.NULL } do
    raises("field 'oneshot': true or false expected", f.timer, f, { timeout = 1, handler = print, oneshot = wrong })
    raises("field 'isdir': true or false expected", f.kvswatcher, f, { key = key, handler = print, isdir = wrong })
  end
  make(f, "timer", { timeout = 60000, handler = print, oneshot = true })
  make(f, "timer", { timeout = 60000, handler = print, oneshot = false })
  make(f, "kvswatcher", { key = key, handler = print, isdir = true })
  make(f, "kvswatcher", { key = key .. ".a", handler = print, isdir = false })
end)

test("a call without a table fails with an example of the right call", function()
  local f = support.open()
  for _, constructor in ipairs(constructors()) do
    local name = constructor.name
    for _, wrong in ipairs { { 100, print }, { "x", print }, { print }, {} } do
      local _, hint = spec.fails("Expected table as 2nd argument", f[name](f, support.unpack(wrong)))
      spec.ok(hint:find("write f:" .. name .. "{ ", 1, true), hint)
      spec.matches(hint, "handler = function")
    end
  end
  local _, hint = spec.fails("Expected table as 2nd argument", f:timer(100, print))
  equal(hint, "write f:timer{ timeout = milliseconds, handler = function(f, timer) ... end }")
end)
