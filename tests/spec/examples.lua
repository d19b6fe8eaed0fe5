-- Runs the programs in examples/, each in its own process.

local flux = require "flux"
local spec = require "spec"
local support = require "support"

local test, equal = spec.test, spec.equal

local examples = arg[0]:match "^(.*/)" .. "../../examples/"

-- Runs an example. Returns its output and its exit status, such as "exited 0".
local function run(name, argument)
  local words = argument and ("%q"):format(argument) or "nil"
  local path = ("%q"):format(examples .. name)
  local process = support.start_apart(([[
    arg = { [0] = %s, %s }
    io.stdout:setvbuf "no"
    local exit = os.exit
    function os.exit(code)
      print("exited " .. tostring(code))
      exit(code)
    end
    dofile(%s)
    os.exit(0)
  ]]):format(path, words, path))
  local output = process:read "*a"
  process:close()
  local text, ending = output:match "^(.-)(exited %S+)\n$"
  return text or output, ending
end

test("examples that need no arguments run to the end", function()
  for _, name in ipairs { "tour.lua", "rpc.lua", "events.lua", "kvs.lua" } do
    local output, ending = run(name)
    if ending ~= "exited 0" then
      equal(name .. ": " .. output, "no error")
    end
  end
end)

test("kvs.lua without a job id leaves the KVS unchanged", function()
  local f = support.open()
  local names = {}
  for name in f:kvsdir():keys() do
    names[name] = true
  end
  local output = run "kvs.lua"
  spec.matches(output, "made for the example")
  spec.matches(output, "task 2: exited 1\ntask 3: killed SIGKILL\n$")
  for name in f:kvsdir():keys() do
    spec.ok(names[name], name .. " was left behind")
  end
end)

test("kvs.lua reports a job that does not exist", function()
  for id, key in pairs {
    ["12345"] = "job.0000.0000.0000.3039",
    ["0x3039"] = "job.0000.0000.0000.3039",
    ["f4fr"] = "job.0000.0000.0000.3039",
    ["ƒ4fr"] = "job.0000.0000.0000.3039",
    ["18446744073709551615"] = "job.ffff.ffff.ffff.ffff",
    ["job.0000.0000.0000.3039"] = "job.0000.0000.0000.3039",
  } do
    local output, ending = run("kvs.lua", id)
    equal(output, ("there is no job %s: %s: No such file or directory\n"):format(id, key))
    equal(ending, "exited 1")
  end
end)

test("kvs.lua reports an argument that is not a job id", function()
  for _, id in ipairs { "", "x", "f", "ƒ0", "0x", "12a", "-1", "18446744073709551616", "lwj.1" } do
    local output, ending = run("kvs.lua", id)
    equal(output, ("'%s' is no job id\n"):format(id))
    equal(ending, "exited 1")
  end
end)

test("kvs.lua shows a job for every form of its id", function()
  support.needs_processes()
  local id = support.flux("submit --wait-event=clean sh -c 'exit 3'"):match "%S+"
  local shown
  for _, form in ipairs { "f58", "f58plain", "dec", "hex", "kvs" } do
    local given = support.flux(("job id --to=%s %s"):format(form, id)):match "%S+"
    local output, ending = run("kvs.lua", given)
    equal(ending, "exited 0")
    local key = support.flux("job id --to=kvs " .. id):match "%S+"
    spec.ok(output:find(("job %s, in %s\n"):format(given, key), 1, true), output)
    spec.matches(output, "\ncommand: sh %-c exit 3\n")
    spec.matches(output, "\nnodes: %S+\n")
    spec.matches(output, "0%.000 s  submit\n")
    spec.matches(output, "s  finish: exited 3\n")
    local rest = output:match "\n(.*)$"
    equal(rest, shown or rest)
    shown = rest
  end
end)
