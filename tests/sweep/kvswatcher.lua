-- Watchers of KVS keys.
local flux = require "flux"
local f, g = assert(flux.new(uri)), assert(flux.new(uri))
local function commit(key, value)
  assert(g:kvs_put(key, value))
  assert(g:kvs_commit())
end
local seen = {}
assert(f:kvswatcher {
  key = "sweep.key",
  handler = function(w, value, errnum)
    seen[#seen + 1] = value and value.n or errnum
    if #seen == 1 then
      commit("sweep.key", { n = 20 })
    elseif #seen == 2 then
      commit("sweep.key", nil)
    elseif #seen == 3 then
      w:remove()
    end
  end,
})
assert(f:reactor() == 0)
assert(table.concat(seen, " ") == "2 20 2")
commit("sweep.dir.a", 1)
local names = {}
assert(f:kvswatcher {
  key = "sweep.dir",
  isdir = true,
  handler = function(w, dir)
    for name in dir:keys() do
      names[#names + 1] = name
    end
    if #names == 1 then
      commit("sweep.dir.b", 2)
    else
      w:remove()
    end
  end,
})
assert(f:reactor() == 0)
assert(#names == 3)
assert(select(2, f:kvswatcher { key = "sweep.dir", handler = print }) == "Is a directory")
-- dir:watch returns an existing value at once.
local dir = assert(f:kvsdir "sweep.dir")
assert(dir:watch("a") == 1)
return true
