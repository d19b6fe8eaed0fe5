-- Rejects jobs that run a command called `refused`.
local flux = require "flux"

function validate(text)
  local jobspec = flux.json.decode(text)
  local command = jobspec.tasks[1].command[1]
  if command == "refused" then
    return ("%s may not run %s"):format((select(3, flux.version())), command)
  end
end
