-- Reads a job from the KVS and prints its history.
--
--   flux-lua examples/kvs.lua JOBID       a job of the instance: ƒ2oLkTLb, f2oLkTLb, 12345 or 0x3039
--   flux-lua --embedded examples/kvs.lua  without a job id: reads a small directory that it makes
local flux = require "flux"
local kvs = require "kvs"

local F58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

-- Converts the digits of a job id to the job's KVS directory, or nil. An id has 64 bits,
-- more than the numbers of some Luas hold, so it is computed in four parts of 16 bits.
local function directory(digits, alphabet)
  local parts = { 0, 0, 0, 0 }
  for digit in digits:gmatch "." do
    local place = alphabet:find(digit, 1, true)
    if not place then return nil end
    local carry = place - 1
    for n = 4, 1, -1 do
      local value = parts[n] * #alphabet + carry
      parts[n] = value % 65536
      carry = math.floor(value / 65536)
    end
    if carry > 0 then return nil end
  end
  return string.format("job.%04x.%04x.%04x.%04x", parts[1], parts[2], parts[3], parts[4])
end

-- Converts a job id, in any form that Flux prints, to the job's KVS directory.
local function job_directory(id)
  if id:match "^job%.[%x.]+$" then return id end
  local f58 = id:match "^ƒ(.+)" or id:match "^f(.+)"
  local hex = id:match "^0x(.+)"
  if f58 then return directory(f58, F58) end
  if hex then return directory(hex:lower(), "0123456789abcdef") end
  return id ~= "" and directory(id, "0123456789") or nil
end

-- Describes how a process ended, from its wait status.
local function ending(status)
  local how, number, core = flux.exitstatus(status)
  local signal = how ~= "exited" and flux.signal[number]
  return how .. " " .. (signal or number) .. (core and ", " .. core or "")
end

-- Parses an eventlog, which has one JSON object per line. A log of a single line is a JSON
-- value, which the KVS methods have already decoded.
local function events(log)
  if type(log) == "table" then return { log } end
  local list = {}
  for line in (log or ""):gmatch "[^\n]+" do list[#list + 1] = flux.assert(flux.json.decode(line)) end
  return list
end

local function show_job(id)
  local f = flux.assert(flux.new())
  local key = job_directory(id)
  if not key then
    io.stderr:write("'", id, "' is no job id\n")
    os.exit(1)
  end
  local job, err, errno = f:kvsdir(key)
  if not job then
    local what = errno == flux.errno.ENOENT and "there is no job " or "cannot read job "
    io.stderr:write(what, id, ": ", key, ": ", err, "\n")
    os.exit(1)
  end

  -- A directory can be indexed like a table.
  print("job " .. id .. ", in " .. key)
  print("command: " .. table.concat(job.jobspec.tasks[1].command, " "))
  local resources = job.R -- nil until resources are allocated
  if resources then print("nodes: " .. table.concat(resources.execution.nodelist, ",")) end

  local start
  for _, event in ipairs(events(job.eventlog)) do
    start = start or event.timestamp
    local context = event.context or {}
    local more = ""
    if event.name == "finish" then
      more = ": " .. ending(context.status)
    elseif event.name == "exception" then
      more = ": " .. context.type .. ": " .. (context.note or "")
    end
    print(string.format("%9.3f s  %s%s", event.timestamp - start, event.name, more))
  end
end

local function show_example()
  print "no JOBID given: this directory is made for the example, on an embedded broker"
  local f = flux.assert(flux.new "embed://")
  for rank, status in ipairs { 0, 0, 256, 9 } do
    flux.assert(f:kvs_put(string.format("example.%d.exit_status", rank - 1), status))
  end
  flux.assert(f:kvs_put("example.state", "complete"))
  flux.assert(f:kvs_commit())

  local example = flux.assert(f:kvsdir "example")
  print("state: " .. example.state)
  for name in kvs.keys(example) do
    if tonumber(name) then -- tasks have numbers as names
      local task = example[name]
      print("task " .. name .. ": " .. ending(task.exit_status))
    end
  end
end

if arg[1] then
  show_job(arg[1])
else
  show_example()
end
