-- Sets package.path and package.cpath of the flux-lua command. By default, the Lua in the
-- command looks for modules only below /usr/local. This adds the folders of the
-- distribution, which the distribution's own interpreter uses.

-- Debian's name for this kind of machine, such as "x86_64-linux-gnu".
local multiarch = ...
local version = _VERSION:match "%d+%.%d+"

-- Makes a path of the folders and of `here`, the templates of the current folder. Those
-- come first in Lua 5.1 and LuaJIT, and last in later versions.
local function default(here, folders)
  local templates = {}
  for _, folder in ipairs(folders) do
    templates[#templates + 1] = folder:gsub("5%.x", version)
  end
  for n, template in ipairs(here) do
    table.insert(templates, version == "5.1" and n or #templates + 1, template)
  end
  return table.concat(templates, ";")
end

local here = { "./?.lua" }
if version > "5.2" then
  here[2] = "./?/init.lua"
end

if rawget(_G, "jit") then
  here[2] = "/usr/local/share/luajit-2.1/?.lua"
  here[3] = "/usr/share/luajit-2.1/?.lua"
end

local default_path = default(here, {
  "/usr/local/share/lua/5.x/?.lua",
  "/usr/local/share/lua/5.x/?/init.lua",
  "/usr/local/lib/lua/5.x/?.lua",
  "/usr/local/lib/lua/5.x/?/init.lua",
  "/usr/share/lua/5.x/?.lua",
  "/usr/share/lua/5.x/?/init.lua",
  -- Fedora and openSUSE
  "/usr/lib64/lua/5.x/?.lua",
  "/usr/lib64/lua/5.x/?/init.lua",
})

local default_cpath = default({ "./?.so" }, {
  "/usr/local/lib/lua/5.x/?.so",
  -- Debian
  "/usr/lib/" .. multiarch .. "/lua/5.x/?.so",
  -- Fedora and openSUSE
  "/usr/lib64/lua/5.x/?.so",
  "/usr/lib/lua/5.x/?.so",
  "/usr/local/lib/lua/5.x/loadall.so",
})

-- Returns the path of an environment variable, or the default. As in Lua, the first `;;`
-- stands for the default path. Empty templates are removed: the flux command appends `;;`
-- even to a path that ends with it.
local function path(name, default)
  local text = version > "5.1" and os.getenv(name .. "_" .. version:gsub("%.", "_")) or os.getenv(name)
  if not text then
    return default
  end
  local before, after = text:match "^(.-);;(.*)$"
  if before then
    text = before .. ";" .. default .. ";" .. after
  end
  local templates = {}
  for template in text:gmatch "[^;]+" do
    templates[#templates + 1] = template
  end
  return table.concat(templates, ";")
end

package.path = path("LUA_PATH", default_path)
package.cpath = path("LUA_CPATH", default_cpath)
