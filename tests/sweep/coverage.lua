-- Tells the host about every function of the modules and classes, and about every
-- call of one. The host checks that all of them are called.
local host = host
if jit then
  jit.off()
end
local flux, kvs = require "flux", require "kvs"

local function wrap(class, functions)
  for name, fn in pairs(functions) do
    if type(fn) == "function" then
      local full = class .. "." .. name
      host.list(full)
      functions[name] = function(...)
        host.note(full)
        -- A computed field counts as a function.
        local field = select(2, ...)
        if name == "__index" and type(field) == "string" then
          host.note(class .. "." .. field)
        end
        return fn(...)
      end
    end
  end
end

local classes = 0
for name, class in pairs(debug.getregistry()) do
  if type(name) == "string" and (name:find "^FLUX%." or name:find "^CMB%.") then
    wrap(name, class)
    classes = classes + 1
  end
end
assert(classes == 7, classes)
wrap("flux", flux)
wrap("flux.json", flux.json)
wrap("flux.kvs", flux.kvs)
wrap("kvs", kvs)
return true
