-- A subject of the benchmark: lua cases.lua SUBJECT does what it is told on
-- standard input and answers each line by one:
--
--   open CASE [SIZE]   ready OPERATIONS BYTES | none
--   check              is TEXT
--   settle             settled KIB
--   run N              ran NANOSECONDS KIB
--
-- OPERATIONS and BYTES are those of one round, N the rounds to make. KIB is the
-- process's memory, after a collection or at its most. What fails: error TEXT.

local directory = arg[0]:match "^(.*/)" or "./"
local subject = arg[1]

local measured = {}

-- Processor time of this process, in nanoseconds.
function measured.now()
  return os.clock() * 1e9
end

-- KiB of it that are in memory; 0 where the system does not tell.
function measured.resident()
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
  groups[name] = load_group(subject, directory, measured)
end

-- A case's name begins with its group's: "json decode twitter".
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
  return ("settled %d"):format(measured.resident())
end

function commands.run(argument)
  if case.without_collector then
    collectgarbage "stop"
  end
  local before = measured.now()
  local peak = case.run(tonumber(argument))
  local took = measured.now() - before
  collectgarbage "restart"
  return ("ran %.0f %d"):format(took, peak or measured.resident())
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
