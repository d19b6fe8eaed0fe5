-- Run the chapters of the specification, or those named:
-- lua run.lua [rpc.lua ...]. FLUX_URI decides the back end.

local CHAPTERS = {
  "module.lua",
  "handle.lua",
  "rpc.lua",
  "event.lua",
  "message.lua",
  "reactor.lua",
  "msghandler.lua",
  "timer.lua",
  "statwatcher.lua",
  "fdwatcher.lua",
  "iowatcher.lua",
  "sighandler.lua",
  "loop.lua",
  "kvs.lua",
  "kvsdir.lua",
  "kvswatcher.lua",
  "kz.lua",
  "barrier.lua",
  "json.lua",
  "bad_input.lua",
  "growth.lua",
  "lifetime.lua",
}

local directory = arg[0]:match "^(.*/)" or "./"
-- Not by package.path: a chapter and module kvs are both called kvs.lua.
for _, name in ipairs { "spec", "support" } do
  package.preload[name] = assert(loadfile(directory .. name .. ".lua"))
end

local flux = require "flux"
if type(flux.version) ~= "function" then
  io.stderr:write "the module found is another one: it has no flux.version\n"
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
for _, chapter in ipairs(#arg > 0 and arg or CHAPTERS) do
  spec.run(directory .. chapter)
end
print(("%d passed, %d failed, %d skipped"):format(spec.passed, spec.failed, spec.skipped))
io.stdout:flush()
if spec.failed > 0 then
  os.exit(1)
end
-- Else by its end, as os.exit would not close the state, in 5.1 not even if asked.
