-- What the scripts that meet a fault have in common: how they talk to whoever
-- makes it happen, and what may come of a call that meets it.

local module = os.getenv "FAULT_MODULE"
if not package.preload.flux then
  package.preload.flux = assert(package.loadlib(module, "luaopen_flux"))
end

local fault = { unpack = table.unpack or unpack }

function fault.say(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.stdout:flush()
end

-- Say that all is ready, and wait until the fault may come.
function fault.ready()
  fault.say "ready"
  assert(io.read "*l" == "go")
end

-- What was returned is nil and a text, with the errno where Flux has one.
function fault.check(what, ok, ...)
  local first, err, errnum = ...
  if not ok then
    error(("%s raised %s"):format(what, tostring(first)), 0)
  end
  if first ~= nil or type(err) ~= "string" or err == "" then
    error(("%s returned %s, %s"):format(what, tostring(first), tostring(err)), 0)
  end
  if errnum ~= nil and (type(errnum) ~= "number" or errnum <= 0) then
    error(("%s has the errno %s"):format(what, tostring(errnum)), 0)
  end
  return err
end

-- Make the call that waits, and say what it ended with: nil and a text.
function fault.meet(what, call)
  fault.say("ended", fault.check(what, pcall(call)))
end

function fault.done()
  fault.say "done"
end

return fault
