-- Runs the chapters of the specification: lua run.lua [[--except] rpc.lua ...].
-- Without arguments it runs all chapters. FLUX_URI selects the back end.

local CHAPTERS = {
  "module.lua",
  "handle.lua",
  "rpc.lua",
  "event.lua",
  "message.lua",
  "reactor.lua",
  "msghandler.lua",
  "msghandler_fields.lua",
  "responding.lua",
  "timer.lua",
  "statwatcher.lua",
  "fdwatcher.lua",
  "iowatcher.lua",
  "sighandler.lua",
  "hooks.lua",
  "loop.lua",
  "kvs.lua",
  "kvsdir.lua",
  "kvswatcher.lua",
  "kz.lua",
  "barrier.lua",
  "json.lua",
  "examples.lua",
  "constructors.lua",
  "coercion.lua",
  "bad_input.lua",
  "growth.lua",
  "lifetime.lua",
}

-- Returns the chapters that the command line selects.
local function chosen()
  if arg[1] ~= "--except" then
    return #arg > 0 and arg or CHAPTERS
  end
  local is_left_out, chapters = {}, {}
  for n = 2, #arg do
    is_left_out[arg[n]] = true
  end
  for _, chapter in ipairs(CHAPTERS) do
    if not is_left_out[chapter] then
      chapters[#chapters + 1] = chapter
    end
  end
  assert(#chapters == #CHAPTERS - (#arg - 1), "an argument of --except is not a chapter")
  return chapters
end

local directory = arg[0]:match "^(.*/)" or "./"
-- Load by path: package.path would find kvs.lua, the chapter, for module kvs.
for _, name in ipairs { "spec", "support" } do
  package.preload[name] = assert(loadfile(directory .. name .. ".lua"))
end

local flux = require "flux"
if type(flux.version) ~= "function" then
  io.stderr:write "the loaded module is not flux-lua: it has no flux.version\n"
  os.exit(2)
end
local version, libflux, lua = flux.version()
print(("flux-lua %s for %s, libflux-core %s, on %s"):format(
  version,
  lua,
  libflux or "not found",
  os.getenv "FLUX_URI" or "Flux's default"
))

local spec = require "spec"
for _, chapter in ipairs(chosen()) do
  spec.run(directory .. chapter)
end
print(("%d passed, %d failed, %d skipped"):format(spec.passed, spec.failed, spec.skipped))
io.stdout:flush()
if spec.failed > 0 then
  os.exit(1)
end
-- No os.exit after success: it would not close the Lua state, and Lua 5.1 cannot be told to.
