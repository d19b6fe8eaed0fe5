-- Sets package.path and package.cpath of the flux-lua command. The Lua that is
-- compiled into the command looks for modules below /usr/local only. With this
-- it finds those of the distribution too, as the distribution's own
-- interpreter does.

-- Debian's name of the folders for this kind of machine, "x86_64-linux-gnu".
local multiarch = ...
local version = _VERSION:match "%d+%.%d+"

-- Lua 5.1 and LuaJIT look in the current folder first, later ones last.
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

-- The path of the environment, else the default. As in Lua, the first `;;`
-- stands for the default. The flux command adds one to each path that ends
-- with one, and Lua would leave the rest as empty templates: they go.
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
