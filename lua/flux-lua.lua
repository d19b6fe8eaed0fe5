-- The flux-lua command: runs scripts that use Flux.
-- The binary contains this program, a Lua interpreter and the modules. As installed
-- by LuaRocks, this program runs in the interpreter that LuaRocks uses.

local USAGE = [=[
Usage: flux-lua [OPTIONS] [SCRIPT [ARGS...]]
Run a Lua script that uses the modules 'flux' and 'kvs'.

  --embedded   without Flux: flux.new() opens a broker in this process
               (the same as FLUX_URI=embed:// in the environment)
  -e CHUNK     run CHUNK, before SCRIPT if there is one; may be repeated
  -v           print the versions and exit
  -h, --help   print this and exit
  --           end of the options
  -            read the script from standard input

Without CHUNK and SCRIPT, flux-lua reads standard input: line by line from a
terminal, else as a script.]=]

local unpack = table.unpack or unpack
local load = loadstring or load

local function pack(...) return { n = select("#", ...), ... } end

-- Parses the command line. Options end at the name of the script. Returns a table of
-- options, or nil and an error text.
local function parse(args)
  local options = { chunks = {} }
  local i = 1
  while args[i] do
    local option = args[i]
    if option == "--embedded" then
      options.embedded = true
    elseif option == "-e" then
      i = i + 1
      if not args[i] then return nil, "'-e' needs an argument" end
      options.chunks[#options.chunks + 1] = args[i]
    elseif option == "-v" then
      options.version = true
    elseif option == "-h" or option == "--help" then
      options.help = true
    elseif option == "--" then
      options.script = args[i + 1] and i + 1
      return options
    elseif option:match("^%-.") then
      return nil, "no such option: " .. option .. "\n" .. USAGE
    else
      options.script = i
      return options
    end
    i = i + 1
  end
  return options
end

-- Implements --embedded. The binary has set FLUX_URI. Lua itself cannot set it, so this
-- changes the default of flux.new.
local function embed()
  if os.getenv("FLUX_URI") == "embed://" then return end
  local flux = require "flux"
  local new = flux.new
  flux.new = function(uri) return new(uri or "embed://") end
end

local function versions()
  local version, libflux, lua = require "flux".version()
  return ("flux-lua %s (%s, libflux-core %s)"):format(version, lua, libflux or "not found")
end

-- Adds a traceback of the script to an error message. The stack levels below the script
-- belong to this program and are cut off.
local function traceback(message)
  if type(message) ~= "string" then return message end
  return (debug.traceback(message, 2):gsub("\n[^\n]*%[C%]: in function 'xpcall'.*", ""))
end

-- Calls a loaded chunk. Returns its packed results, after true, or nil and the error
-- message.
local function run(chunk, ...)
  local args = pack(...)
  local results = pack(xpcall(function() return chunk(unpack(args, 1, args.n)) end, traceback))
  if results[1] then return results end
  return nil, tostring(results[2])
end

local function run_script(args, position)
  local name = args[position]
  local chunk, err = loadfile(name ~= "-" and name or nil)
  if not chunk then return nil, err end
  -- As in Lua's own interpreter, the script is at 0, its arguments follow from 1, and the
  -- rest of the command line has negative indices.
  arg = {}
  for i = 0, #args do arg[i - position] = args[i] end
  return run(chunk, unpack(args, position + 1))
end

local function is_terminal()
  local status = os.execute("test -t 0")
  return status == true or status == 0
end

-- Compiles a line as an expression. If that fails, compiles it as a statement.
local function load_line(line)
  local chunk = load("return " .. line, "=stdin")
  if chunk then return chunk end
  return load(line, "=stdin")
end

local function read_lines()
  print(versions())
  print("flux = require \"flux\"; end with Control-D")
  flux = require "flux"
  local pending = ""
  while true do
    io.write(pending == "" and "> " or ">> ")
    io.flush()
    local line = io.read()
    if not line then
      print()
      return true
    end
    pending = pending .. (pending == "" and line:gsub("^=", "") or "\n" .. line)
    local chunk, err = load_line(pending)
    if chunk then
      pending = ""
      local results, failure = run(chunk)
      if not results then
        io.stderr:write(failure, "\n")
      elseif results.n > 1 then
        print(unpack(results, 2, results.n))
      end
    elseif not err:match("<eof>'?$") then -- an error at the end means an incomplete statement
      pending = ""
      io.stderr:write(err, "\n")
    end
  end
end

local function main(args)
  local options, err = parse(args)
  if not options then return nil, err end
  if options.help or options.version then
    print(options.help and USAGE or versions())
    return true
  end
  if options.embedded then embed() end
  for _, text in ipairs(options.chunks) do
    local chunk, wrong = load(text, "=(command line)")
    if not chunk then return nil, wrong end
    local done, failure = run(chunk)
    if not done then return nil, failure end
  end
  if options.script then return run_script(args, options.script) end
  if #options.chunks > 0 then return true end
  if is_terminal() then return read_lines() end
  return run_script({ [0] = args[0], "-" }, 1)
end

local done, failure = main(arg)
if not done then
  io.stderr:write("flux-lua: ", failure, "\n")
  os.exit(1)
end
