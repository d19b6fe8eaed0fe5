-- A subject of the benchmark: `lua cases.lua SUBJECT` reads commands from standard
-- input and answers each with one line. The cases are in the folder cases/.
--
--   command            answer
--   open CASE [SIZE]   ready OPERATIONS BYTES, or none
--   check              is RESULT
--   settle             settled KIB
--   run N              ran NANOSECONDS KIB
--
-- `open` loads a case; `none` means that this subject does not have it. OPERATIONS
-- is the number of operations that running the case once performs, and BYTES the
-- bytes that it processes. `check` runs the case and returns its result. `settle`
-- collects garbage and returns the memory of the process. `run` runs the case N
-- times and returns the CPU time and the largest memory seen. A command that fails
-- is answered with `error TEXT`.

local directory = arg[0]:match "^(.*/)" or "./"
local subject = arg[1]

local meter = {}

-- The CPU time of this process, in nanoseconds.
function meter.now()
  return os.clock() * 1e9
end

-- The resident memory of this process in KiB, or 0 if it is unknown.
function meter.resident()
  local status = io.open "/proc/self/status"
  if not status then
    return 0
  end
  local text = status:read "*a"
  status:close()
  return tonumber(text:match "VmRSS:%s*(%d+)")
end

local groups = {}
for _, name in ipairs { "json", "loop", "broker", "growth" } do
  local load_group = assert(loadfile(directory .. "cases/" .. name .. ".lua"))
  groups[name] = load_group(subject, directory, meter)
end

-- The name of a case starts with its group: "json decode twitter".
local function find(name)
  local group, rest = name:match "^(%a+) (.*)$"
  return assert(groups[group], "no such group: " .. name), rest
end

local case

local function collect()
  collectgarbage()
  collectgarbage()
end

local commands = {}

function commands.open(argument)
  local name, size = argument:match "^(.-) (%d+)$"
  local open, rest = find(name or argument)
  case = open(rest, tonumber(size))
  if not case then
    return "none"
  end
  return ("ready %.0f %.0f"):format(case.operations or 1, case.bytes or 0)
end

function commands.check()
  return "is " .. case.check()
end

function commands.settle()
  collect()
  return ("settled %d"):format(meter.resident())
end

function commands.run(argument)
  if case.without_collector then
    collectgarbage "stop"
  end
  local before = meter.now()
  local peak = case.run(tonumber(argument))
  local took = meter.now() - before
  collectgarbage "restart"
  return ("ran %.0f %d"):format(took, peak or meter.resident())
end

io.stdout:setvbuf "line"
for line in io.lines() do
  local command, argument = line:match "^(%a+) ?(.*)$"
  local done, answer = pcall(commands[command], argument)
  if not done then
    answer = "error " .. tostring(answer):gsub("\n", " ")
  end
  io.write(answer, "\n")
  io.flush()
end
