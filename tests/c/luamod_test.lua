-- Loads luamod.c into a broker and checks that its script works.
-- Arguments: the module, its script, and the directory of flux.so.
local flux = require "flux"
local module, script, where = ...

local function run (command)
    local pipe = io.popen (command .. " 2>&1; echo $?")
    local said = pipe:read "*a"
    pipe:close ()
    local output, status = said:match "^(.-)(%d+)%s*$"
    assert (status == "0", command .. ": " .. output)
    return output
end

local load = table.concat ({ "flux module load", module, script, where }, " ")
local f = assert (flux.new ())

for round = 1, 2 do
    run (load)
    local answer = assert (f:rpc ("luamod.echo", { n = round }))
    assert (answer.data.n == round and answer.rank == f.rank)
    assert (answer.is_same)
    local deadline = os.time () + 300
    repeat
        assert (os.time () < deadline, "the timer has stopped")
    until assert (f:rpc ("luamod.echo")).ticks > answer.ticks
    assert (f:rpc ("luamod.rpc").seq == 1)

    -- A handler that raises an error does not end the module.
    assert (f:rpc ("luamod.raise"))
    assert (f:rpc ("luamod.echo", { n = 3 }).data.n == 3)
    local log = run "flux dmesg"
    assert (log:find ("raised by a message handler", 1, true), log)
    assert (log:find ("raised by a timer", 1, true), log)

    assert (run "flux module list":find "luamod")
    run "flux module remove luamod"
    assert (not run "flux module list":find "luamod")
    local n, text = f:rpc ("luamod.echo")
    assert (n == nil and text == "Function not implemented", text)
    run "flux dmesg -C"
end

-- A script that fails ends the module and is reported in the log.
assert (not pcall (run, "flux module load " .. module .. " /nonexistent.lua"))
assert (run "flux dmesg":find ("cannot open /nonexistent.lua", 1, true))
print "the module works"
