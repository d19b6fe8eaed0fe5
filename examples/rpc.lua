-- Calls a service and prints every field of its response.
--
--   flux-lua --embedded examples/rpc.lua [SERVICE.METHOD [NODEID]]
local flux = require "flux"

local topic = arg[1] or "kvs.stats-get"
local nodeid = tonumber(arg[2]) or flux.NODEID_ANY

local f = flux.assert(flux.new())
local answer = flux.assert(f:rpc(topic, nil, nodeid))

-- Prints the fields of a table in order. Nested tables are indented below their name.
local function show(fields, indent)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value = fields[name]
    if type(value) == "table" then
      print(indent .. name .. ":")
      show(value, indent .. "  ")
    else
      print(indent .. name .. " = " .. tostring(value))
    end
  end
end

print(topic .. " answered:")
show(answer, "  ")
