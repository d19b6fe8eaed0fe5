-- Shared by the scripts that run into a fault: the dialogue with the test that causes
-- the fault, and checks of how a call ends.

local module = os.getenv "FAULT_MODULE"
if not package.preload.flux then
  package.preload.flux = assert(package.loadlib(module, "luaopen_flux"))
end

local fault = { unpack = table.unpack or unpack }

function fault.say(...)
  io.write(table.concat({ ... }, " "), "\n")
  io.stdout:flush()
end

-- Reports that the script is ready, and waits until the test causes the fault.
function fault.ready()
  fault.say "ready"
  assert(io.read "*l" == "go")
end

-- Checks that a call returned nil, a text, and a valid errno if any. Returns the text.
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

-- Makes a call that waits, checks that it fails, and reports the error.
function fault.expect_failure(what, call)
  fault.say("ended", fault.check(what, pcall(call)))
end

function fault.done()
  fault.say "done"
end

return fault
