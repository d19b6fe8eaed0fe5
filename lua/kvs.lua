--- Module `kvs`: the methods of KVS directories, as functions.
-- `kvs.keys(dir)` calls the method `keys` even if the directory has a key of that name.
--
-- The functions are part of flux-lua's module `flux`. Inside a Flux instance, Lua may find
-- flux-core's own module of that name, which lacks them. A module that was built for
-- another Lua can even crash the interpreter. So this checks the file before it loads it.

-- Finds module `flux` in a path. Returns a list of the files, with their templates.
local function find(path)
  local found = {}
  for template in path:gmatch "[^;]+" do
    local name = template:gsub("%?", "flux")
    local file = io.open(name, "rb")
    if file then
      file:close()
      found[#found + 1] = { name = name, template = template }
    end
  end
  return found
end

-- Whether a file is flux-lua's flux.so, which exports the function luaopen_kvs.
local function is_ours(module)
  local file = assert(io.open(module.name, "rb"))
  local text = file:read "*a"
  file:close()
  return text:find("luaopen_kvs", 1, true) ~= nil
end

-- Raises an error that says how to put flux-lua's folders first. `found` is the name of the
-- other module.
local function refuse(found)
  local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" or "."
  local ours = here:gsub("/share/", "/lib/") .. "/?.so"
  for _, module in ipairs(find(package.cpath)) do
    if is_ours(module) then
      ours = module.template
      break
    end
  end
  error(([[
module 'kvs' of flux-lua needs flux-lua's module 'flux', but Lua finds another one first:
	%s
Flux puts its own folders first. Put those of flux-lua before them:
	export FLUX_LUA_CPATH_PREPEND='%s'
	export FLUX_LUA_PATH_PREPEND='%s/?.lua'
This takes effect in 'flux start' and 'flux run'. Inside an instance, start the script with 'flux env'.]]):format(found, ours, here), 0)
end

if not package.loaded.flux and not package.preload.flux then
  local found = find(package.path)[1] or find(package.cpath)[1]
  if found and not is_ours(found) then
    refuse(found.name)
  end
end

local flux = require "flux"
if not flux.kvs then
  local found = find(package.path)[1] or find(package.cpath)[1]
  refuse(found and found.name or "package.preload.flux")
end
return flux.kvs
