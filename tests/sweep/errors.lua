-- Calls that fail at run time: nil and a text.
local flux = require "flux"
local f = assert(flux.new(uri))
local function fails(text, ...)
  local result, err = ...
  assert(result == nil)
  if type(err) ~= "string" or not err:find(text, 1, true) then
    error(err, 0)
  end
end
-- Always a plain search: where Lua 5.2 has no memory to match a pattern, it reports
-- "too many captures".
local function has(detail, text)
  assert(detail:find(text, 1, true))
end
fails("Invalid argument", flux.new "embed://?nosuch=1")
fails("Invalid argument", flux.new "embed://?size=1&rank=5")
fails("", flux.new "nosuch://x")
fails("Invalid argument", f:rpc("broker.ping", { 1, 2 }))
fails("Function not implemented", f:rpc "nosuch")
fails("No route to host", f:rpc("broker.ping", {}, 77))
fails("No such file or directory", f:getattr "nosuch")
fails("Invalid args", f:subscribe("%d", {}))
fails("string.format", f:sendevent({}, "%d", "x"))
fails("string.format", f:log("info", "%d", {}))
fails("string.format", f:kvsdir("%d", {}))
fails("No such file or directory", f:unsubscribe "never")
local _, _, _, detail = f:subscribe "a.*"
has(detail, "'a.' stands for")
_, _, _, detail = f:rpc ""
has(detail, "the topic is empty")
assert(f:kvs_put("errors.pending", 1))
_, _, _, detail = f:kvs_get "errors.pending"
has(detail, "'errors.pending' is put")
_, _, _, detail = f:kvsdir "errors"
has(detail, "'errors.pending' is put")
assert(f:kvs_symlink("errors.link", "errors"))
assert(f:kvs_unlink "errors")
assert(f:kvs_put(".", 1))
_, _, _, detail = f:kvs_commit()
has(detail, "is the root")
fails("No such file or directory", f:kvs_get "errors.none")
fails("No such file or directory", f:kvsdir "errors.none")
fails("", f:kvs_get "a..b")
fails("Expected table", f:timer(1))
fails("No such file or directory", f:getattr(5))
fails("timeout", f:timer {})
fails("handler", f:timer { timeout = 1 })
fails("pattern", f:msghandler {})
fails("typemask", f:msghandler { pattern = "x", handler = print, msgtypes = { "x" } })
fails("path", f:statwatcher {})
fails("fd", f:fdwatcher {})
fails("fd or key", f:iowatcher { handler = print })
fails("kz_flags", f:iowatcher { key = "x", handler = print, kz_flags = { "x" } })
fails("sigmask", f:sighandler {})
fails("invalid", f:sighandler { sigmask = { "x" }, handler = print })
fails("key", f:kvswatcher {})
fails("Bad file descriptor", f:fdwatcher { fd = 99999, handler = print })
fails("mode", f:kz_open("x", "z"))
fails("", flux.exitstatus(0x1ffff))
fails("Protocol error", f:rpc("attr.set", { name = 1 }))
return true
