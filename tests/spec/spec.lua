-- A test harness in plain Lua: a test is a sentence and a function, and each
-- one that fails is a line. What tests need of Flux is in support.lua;
-- run.lua runs the chapters.

local spec = { passed = 0, failed = 0, skipped = 0 }

-- The source of the chapter that runs ("@dir/rpc.lua"), where a failure is said to be.
local chapter = "?"
-- What is to be done when the test that runs has ended, the last first.
local deferred = {}

-- What ends a test before its end: a check that does not hold, or a skip.
local Ended = {}

local function is_verbose()
  return os.getenv "SPEC_VERBOSE" ~= nil
end

-- The line of the chapter that is at work.
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

-- The value as a failure shows it.
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

-- Fail the test unless `value` is true; it is given back, with all that follows.
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

-- As equal, tables by what is in them.
function spec.same(got, want)
  if not same(got, want) then
    fail("expected %s, got %s", show(want), show(got))
  end
end

-- That a call returned just these values: spec.returns({ 0 }, f:subscribe "x").
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

-- Errno texts that have one number everywhere.
local ERRNO = {
  ["No such file or directory"] = 2,
  ["File exists"] = 17,
  ["Not a directory"] = 20,
  ["Is a directory"] = 21,
  ["Invalid argument"] = 22,
}

-- That a call returned nil and this text (any, for nil), and after it nothing
-- but an errno and a text of the service's own, which are given back.
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
    fail("expected a text of the service's, got %s", show(detail))
  end
  return errnum, detail
end

-- That the call raises a text that matches, which is given back.
function spec.raises(pattern, body, ...)
  local results = { pcall(body, ...) }
  if results[1] then
    fail("expected an error that matches %s, got %s", show(pattern), show(results[2]))
  end
  spec.matches(results[2], pattern)
  return results[2]
end

-- That the call neither gives a result nor fails in a way of its own: it
-- raises a text, or returns nil and one.
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

-- End the test, which cannot be done here.
function spec.skip(reason)
  error(setmetatable({ skipped = reason }, Ended), 0)
end

-- Do this when the test has ended, however it ends.
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

-- Where to write what runs, so that whoever stops a run knows.
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

-- Run a chapter's file; one that ends with an error is a failed test.
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
