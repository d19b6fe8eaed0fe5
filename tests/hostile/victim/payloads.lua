-- Malformed or unusual payloads as responses to rpc and to recv.

local cases = require "cases"
local support = require "support"

local test, ask = support.test, support.ask
local f, service = support.f, support.service

for _, case in ipairs(cases) do
  local name, n, expect = case[1], case[2], case[3]
  local title = n > 0 and name .. " " .. n or name
  test("rpc gets payload " .. title, function()
    expect(ask("respond", name, n))
  end)
  test("recv gets payload " .. title, function()
    local tag = assert(f:send(("%s.respond.%s.%d"):format(service, name, n), {}))
    expect(f:recv(tag))
  end)
end
