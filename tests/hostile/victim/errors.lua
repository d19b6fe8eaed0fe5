-- Error responses with invalid error numbers, and with texts of any size and content.

local support = require "support"

local test, check, equal, refused = support.test, support.check, support.equal, support.refused
local ask = support.ask
local f, service, is_embedded, MIB = support.f, support.service, support.is_embedded, support.MIB

-- Error numbers and their texts.
local ERRNUMS = {
  { 1, "Operation not permitted" },
  { 4, "Interrupted system call" },
  { 11, "Resource temporarily unavailable" },
  { 110, "Connection timed out" },
  { 9999, "Unknown error 9999" },
  { 2147483647, "Unknown error 2147483647" },
  { -1, "Unknown error -1" },
  { -2147483648, "Unknown error -2147483648" },
}

local TEXTS = {
  none = function(detail) equal(detail, nil) end,
  empty = function(detail) check(detail == nil or detail == "", "a text", detail) end,
  mebibyte = function(detail) equal(detail, ("x"):rep(MIB)) end,
  percent = function(detail) equal(detail, "%s%n%d%1$*2$x") end,
  control = function(detail) equal(detail, "line\r\n\27[2Jline") end,
}

for _, case in ipairs(ERRNUMS) do
  local errnum, text = case[1], case[2]
  for name, expect in pairs(TEXTS) do
    test(("rpc gets error %.0f, text %s"):format(errnum, name), function()
      -- On a real instance the text is a C string and ends at the first NUL.
      local wanted = is_embedded and expect or function(detail)
        check(detail == nil or #detail <= MIB, "too long", detail)
      end
      wanted(refused(text, errnum, ask("fail", name, ("%.0f"):format(errnum))))
    end)
  end
  test(("recv gets error %.0f"):format(errnum), function()
    local tag = f:send(("%s.fail.percent.%.0f"):format(service, errnum), {})
    local response = assert(f:recv(tag))
    equal(response.errnum, errnum)
    equal(response.errstr, "%s%n%d%1$*2$x")
  end)
end

for _, name in ipairs { "not-utf8", "nul" } do
  test("rpc gets an error text of " .. name, function()
    local value, err, code, detail = ask("fail", name, 5)
    if code == 95 and is_embedded then
      support.skip()
    end
    detail = refused("Input/output error", 5, value, err, code, detail)
    check(detail == nil or #detail < 30, "too long", detail)
  end)
end

test("an error text is not used as a format", function()
  local ok, said = pcall(function()
    assert(ask("fail", "percent", 5))
  end)
  check(not ok and tostring(said):find("Input/output error", 1, true), "the error text is missing", said)
end)
