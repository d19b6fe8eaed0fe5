-- Run by luamod.c in a broker module. The first argument is the directory of flux.so.
local where = ...
package.cpath = where .. "/?.so"

local flux = require "flux"
local known = setmetatable ({ handle }, { __mode = "v" })

-- Loading the module again gives the same classes, and objects made before still work.
package.loaded.flux = nil
local again = require "flux"
assert (again ~= flux and again.NULL == flux.NULL)
assert (getmetatable (handle) == getmetatable (flux.new "embed://"))

local ticks = 0
handle:timer { timeout = 5, oneshot = false, handler = function () ticks = ticks + 1 end }
handle:timer { timeout = 5, handler = function () error "raised by a timer" end }

local function serve (name, handler)
    handle:msghandler {
        pattern = "luamod." .. name,
        msgtypes = { flux.MSGTYPE_REQUEST },
        handler = handler,
    }
end

serve ("echo", function (f, msg, mh)
    collectgarbage ()
    assert (msg:respond {
        data = msg.data,
        rank = f.rank,
        ticks = ticks,
        is_same = f == known[1],
    })
end)

serve ("raise", function (f, msg)
    msg:respond {}
    error "raised by a message handler"
end)

serve ("rpc", function (f, msg)
    local answer = assert (f:rpc ("broker.ping", { seq = 1 }))
    msg:respond { seq = answer.seq }
end)

-- The handle of the C code and the objects on it stay alive without references in Lua.
handle = nil
collectgarbage ()
collectgarbage ()
