--- Module `kvs`: what can be done with a KVS directory, as functions.
-- `kvs.keys(dir)` is `dir:keys()` whatever names the directory holds.
--
-- The functions are in flux-lua's module `flux`. Inside a Flux instance, Lua may
-- find flux-core's own module of that name, which has none of them. If that was
-- built for another Lua it even crashes this one, so the file is looked at
-- before it is loaded.

-- The files that the templates of a path find as `flux`, and their templates.
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

-- flux-lua's flux.so exports this function.
local function is_ours(module)
  local file = assert(io.open(module.name, "rb"))
  local text = file:read "*a"
  file:close()
  return text:find("luaopen_kvs", 1, true) ~= nil
end

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
