-- A small test harness in plain Lua. A test is a sentence and a function; each
-- failure prints one line. support.lua has the helpers that need Flux, and
-- run.lua runs the chapters.

local spec = { passed = 0, failed = 0, skipped = 0 }

-- Source name of the current chapter, such as "@dir/rpc.lua". Failures report it.
local chapter = "?"
-- Cleanup functions of the current test. The last one registered runs first.
local deferred = {}

-- Metatable of the error that ends a test early: a failed check or a skip.
local Ended = {}

local function is_verbose()
  return os.getenv "SPEC_VERBOSE" ~= nil
end

-- Returns the file and line of the chapter that is being executed.
local function where()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return chapter:match "[^/@]*$"
    end
    if info.source == chapter and info.currentline > 0 then
      return chapter:match "[^/@]*$" .. ":" .. info.currentline
    end
    level = level + 1
  end
end

local function fail(...)
  error(setmetatable({ message = string.format(...), where = where() }, Ended), 0)
end

-- Formats a value for a failure message.
local function show(value, depth)
  if type(value) == "string" then
    return (string.format("%q", value):gsub("\\\n", "\\n"))
  end
  if type(value) ~= "table" or (depth or 0) > 3 then
    return tostring(value)
  end
  local fields = {}
  for k, v in pairs(value) do
    fields[#fields + 1] = "[" .. show(k) .. "]=" .. show(v, (depth or 0) + 1)
  end
  table.sort(fields)
  return "{" .. table.concat(fields, ", ") .. "}"
end
spec.show = show

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

-- Fails the test unless `value` is true. Returns all of its arguments.
function spec.ok(value, why, ...)
  if not value then
    fail("expected a true value, got %s (%s)", show(value), tostring(why))
  end
  return value, why, ...
end

function spec.equal(got, want)
  if got ~= want then
    fail("expected %s, got %s", show(want), show(got))
  end
end

-- Like equal, but compares tables by content.
function spec.same(got, want)
  if not same(got, want) then
    fail("expected %s, got %s", show(want), show(got))
  end
end

-- Checks that a call returned exactly these values: spec.returns({ 0 }, f:subscribe "x").
function spec.returns(want, ...)
  local got = { n = select("#", ...), ... }
  want.n = want.n or #want
  if not same(got, want) then
    fail("expected the results %s, got %s", show(want), show(got))
  end
end

function spec.type(value, want)
  if type(value) ~= want then
    fail("expected a %s, got %s", want, show(value))
  end
  return value
end

function spec.matches(text, pattern)
  if type(text) ~= "string" or not text:find(pattern) then
    fail("expected a text that matches %s, got %s", show(pattern), show(text))
  end
end

-- Errno texts that have the same number on every system.
local ERRNO = {
  ["No such file or directory"] = 2,
  ["File exists"] = 17,
  ["Not a directory"] = 20,
  ["Is a directory"] = 21,
  ["Invalid argument"] = 22,
}

-- Checks that a call returned nil and this text, or any text if `text` is nil. Only
-- an errno and a detail text may follow. Returns the errno and the detail.
function spec.fails(text, ...)
  local count = select("#", ...)
  local result, err, errnum, detail = ...
  if result ~= nil or count < 2 or count > 4 then
    fail("expected nil, %s; got %s", show(text or "err"), show { ... })
  end
  if type(err) ~= "string" or err == "" or (text and err ~= text) then
    fail("expected nil, %s; got nil, %s", show(text or "err"), show(err))
  end
  local is_errno = errnum == nil or (type(errnum) == "number" and errnum > 0 and errnum % 1 == 0)
  if not is_errno or (ERRNO[err] and errnum ~= ERRNO[err]) then
    fail("expected the errno of %s, got %s", show(err), show(errnum))
  end
  if detail ~= nil and type(detail) ~= "string" then
    fail("expected the detail to be a string, got %s", show(detail))
  end
  return errnum, detail
end

-- Checks that the call raises an error that matches the pattern. Returns the error.
function spec.raises(pattern, body, ...)
  local results = { pcall(body, ...) }
  if results[1] then
    fail("expected an error that matches %s, got %s", show(pattern), show(results[2]))
  end
  spec.matches(results[2], pattern)
  return results[2]
end

-- Checks that the call fails in a regular way: it raises an error text, or returns
-- nil and a text. Returns the text.
function spec.refuses(body, ...)
  local results = { pcall(body, ...) }
  local text = results[2]
  if results[1] then
    if text ~= nil then
      fail("expected an error or nil, err; got %s", show(text))
    end
    text = results[3]
  end
  if type(text) ~= "string" or text == "" then
    fail("expected the text of an error, got %s", show(text))
  end
  if text:find "panic" or text:find "internal error" then
    fail("expected an error for the script, got %s", show(text))
  end
  return text
end

-- Ends a test that cannot run in this environment.
function spec.skip(reason)
  error(setmetatable({ skipped = reason }, Ended), 0)
end

-- Registers a function that runs after the test, whether it passes or fails.
function spec.after(action)
  deferred[#deferred + 1] = action
end

local function caught(err)
  if getmetatable(err) == Ended then
    return err
  end
  local message = tostring(err)
  if is_verbose() then
    message = debug.traceback(message, 2)
  end
  return { message = message, where = where() }
end

-- Writes the name of the current test to the file SPEC_CURRENT. A runner that kills
-- a hanging test can then name it.
local function note_current(sentence)
  local path = os.getenv "SPEC_CURRENT"
  local file = path and io.open(path, "w")
  if file then
    file:write(chapter:match "[^/@]*$", ": ", sentence, "\n")
    file:close()
  end
  if is_verbose() then
    io.stderr:write(chapter:match "[^/@]*$", ": ", sentence, "\n")
  end
end

local function run_deferred()
  local ok, err = true, nil
  while #deferred > 0 do
    local done, why = xpcall(table.remove(deferred), caught)
    if not done then
      ok, err = false, why
    end
  end
  return ok, err
end

function spec.test(sentence, body)
  note_current(sentence)
  local ok, err = xpcall(body, caught)
  local cleaned, why = run_deferred()
  if ok and not cleaned then
    ok, err = false, why
  end
  local file = chapter:match "[^/@]*$"
  if ok then
    spec.passed = spec.passed + 1
  elseif err.skipped then
    spec.skipped = spec.skipped + 1
    print(("skip %s: %s: %s"):format(file, sentence, err.skipped))
  else
    spec.failed = spec.failed + 1
    print(("FAIL %s: %s: %s"):format(err.where, sentence, (err.message:gsub("\n", "\\n"))))
  end
  io.stdout:flush()
end

-- Runs the file of a chapter. An error outside of a test counts as a failed test.
function spec.run(path)
  chapter = "@" .. path
  local body, why = loadfile(path)
  if not body then
    body = function()
      error(why, 0)
    end
  end
  local ok, err = xpcall(body, caught)
  if not ok then
    spec.failed = spec.failed + 1
    print(("FAIL %s: the chapter ends early: %s"):format(err.where, tostring(err.message)))
  end
end

return spec
