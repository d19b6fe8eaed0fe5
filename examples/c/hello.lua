-- Run by hello.c in a broker. The service `hello` answers:
--   flux-lua -e 'print(require "flux".new():rpc("hello.greet", { name = "World" }).text)'
local flux = require "flux"

local greeting = ... or "Hello"

handle:msghandler {
  pattern = "hello.greet",
  msgtypes = { flux.MSGTYPE_REQUEST },
  handler = function(f, msg)
    if not msg.data or type(msg.data.name) ~= "string" then
      msg:respond_error(22, "hello.greet wants { name = STRING }")
      return
    end
    msg:respond { text = greeting .. " " .. msg.data.name, rank = f.rank }
  end,
}
