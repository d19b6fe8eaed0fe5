-- Walk a job's tasks in the KVS and print how each of them ended.
--
--   flux-lua --embedded examples/kvs.lua [JOBID]
local flux = require "flux"
local kvs = require "kvs"

local id = tonumber(arg[1]) or 1

local f, err = flux.new()
if not f then error(err, 0) end

-- Jobs are kept here as scripts of old kept them: lwj.ID.RANK.exit_status.
-- So that there is one to look at, make it where it is missing.
if not f:kvsdir("lwj.%d", id) then
  for rank, status in ipairs { 0, 0, 256, 9 } do
    f:kvs_put(string.format("lwj.%d.%d.exit_status", id, rank - 1), status)
  end
  f:kvs_put(string.format("lwj.%d.state", id), "complete")
  assert(f:kvs_commit())
end

-- A directory is indexed like a table.
local lwj = assert(f:kvsdir("lwj.%d", id))
if lwj.state ~= "complete" then
  print("job " .. id .. " is " .. tostring(lwj.state))
  os.exit(1)
end

for taskid in kvs.keys(lwj) do
  if tonumber(taskid) then -- other names are no tasks
    local task = lwj[taskid] -- a name in a variable goes in brackets
    local how, code, core = flux.exitstatus(task.exit_status)
    print(string.format("task %s %s %d%s", taskid, how, code, core and ", " .. core or ""))
  end
end
