-- Watchers of a stream in the KVS.
local flux = require "flux"
local f, g = assert(flux.new(uri)), assert(flux.new(uri))
local kz = assert(g:kz_open("sweep.stream", "w"))
assert(kz:write "first")
local seen, ended = {}, 0
assert(f:iowatcher {
  key = "sweep.stream",
  kz_flags = { "nofollow" },
  handler = function(_, data, err)
    assert(err == nil)
    ended = ended + (data and 0 or 1)
  end,
})
assert(f:reactor() == 0)
assert(ended == 1)
assert(f:iowatcher {
  key = "sweep.stream",
  handler = function(_, data, err)
    assert(err == nil)
    seen[#seen + 1] = data or "end"
    if #seen == 1 then
      assert(kz:write "second")
    elseif #seen == 2 then
      kz:close()
    end
  end,
})
assert(f:reactor() == 0)
assert(table.concat(seen, " ") == "first second end")
local failed
assert(g:kvs_put("sweep.value", 1))
assert(g:kvs_commit())
assert(f:iowatcher {
  key = "sweep.value",
  handler = function(_, _, err)
    failed = err
  end,
})
assert(f:reactor() == 0)
assert(failed == "Not a directory", failed)
return true
