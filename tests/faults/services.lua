-- Calls to services of broker modules that are removed.

local fault = dofile(arg[0]:match "^(.*/)" .. "fault.lua")
local flux = require "flux"

local case = arg[1]
local f = assert(flux.new())
local cases = {}

-- Every case waits for a module that the test removes.

function cases.rpc_to_the_kvs()
  local request = { rootseq = 1e6, namespace = "primary" }
  return f:rpc("kvs.wait-version", request)
end

function cases.recv_from_the_kvs()
  local request = { rootseq = 1e6, namespace = "primary" }
  return f:recv(assert(f:send("kvs.wait-version", request)))
end

function cases.kvs_watch()
  return flux.kvs.watch(assert(f:kvsdir()), "fault-never")
end

function cases.watch_dir()
  assert(f:kvs_put("fault-dir.a", 1) and f:kvs_commit())
  return assert(f:kvsdir "fault-dir"):watch_dir()
end

-- The watcher gets the error, and then the reactor has nothing left to wait for.
function cases.kvswatcher()
  local told
  assert(f:kvs_put("fault-key", 1) and f:kvs_commit())
  assert(f:kvswatcher {
    key = "fault-key",
    handler = function(_, _, errnum)
      told = errnum or told
    end,
  })
  local active, err, errnum = f:reactor()
  if active then
    return nil, "errno " .. told, told
  end
  return nil, err, errnum
end

function cases.iowatcher_of_a_key()
  local told
  assert(f:kz_open("fault-stream", "w"))
  assert(f:iowatcher {
    key = "fault-stream",
    handler = function(_, data, err)
      told = told or err
    end,
  })
  local active, err, errnum = f:reactor()
  return nil, active and told or err, errnum
end

fault.ready()
local results = { cases[case]() }
if type(results[1]) == "table" and results[1].errnum then
  -- recv returns an error response as a table. Convert it to nil and a text.
  results = { nil, "errno " .. results[1].errnum, results[1].errnum }
end
fault.expect_failure(case, function()
  return fault.unpack(results, 1, 3)
end)
fault.say "closed"
f:close()
fault.done()
