-- Loads examples/c/hello.c into a broker. Arguments: the module and its script.
local flux = require "flux"
local module, script = ...

local function run (command)
    local pipe = io.popen (command .. " 2>&1; echo $?")
    local said = pipe:read "*a"
    pipe:close ()
    local output, status = said:match "^(.-)(%d+)%s*$"
    return status == "0", output
end

local f = assert (flux.new ())

assert (run (table.concat ({ "flux module load", module, script, "Salut" }, " ")))
local answer = assert (f:rpc ("hello.greet", { name = "World" }))
assert (answer.text == "Salut World" and answer.rank == 0, answer.text)
local n, text, errnum, detail = f:rpc "hello.greet"
assert (n == nil and errnum == 22 and detail == "hello.greet wants { name = STRING }", detail)
assert (run "flux module remove hello")
assert (select (2, f:rpc "hello.greet") == "Function not implemented")

-- A script that cannot run is reported in the broker's log.
assert (not run ("flux module load " .. module .. " /nonexistent.lua"))
assert (select (2, run "flux dmesg"):find ("cannot open /nonexistent.lua", 1, true))
assert (not run ("flux module load " .. module))
assert (select (2, run "flux dmesg"):find ("usage: flux module load", 1, true))
print "the module serves"
