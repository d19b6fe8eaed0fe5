-- What luamod.c runs in a broker module. Its first argument is where this
-- module's shared object is.
local where = ...
package.cpath = where .. "/?.so"

local flux = require "flux"
local known = setmetatable ({ handle }, { __mode = "v" })

-- A second load is the same module, and what the first one made works on.
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

-- C code's handle, and what is registered on it, need no reference here.
handle = nil
collectgarbage ()
collectgarbage ()
