-- KVS directories and module kvs.
local flux, kvs = require "flux", require "kvs"
local f = assert(flux.new(uri))
f:kvs_put("sweep.a", 1)
f:kvs_put("sweep.b.c", { "x" })
f:kvs_put("sweep.b.d", "y")
assert(f:kvs_commit())
local dir = assert(f:kvsdir("%s", "sweep"))
assert(tostring(dir) == "sweep")
assert(dir.a == 1 and dir["b.c"][1] == "x" and dir.b.d == "y")
assert(select(2, dir.none) == nil and dir.none == nil)
local names = {}
for name in dir:keys() do
  names[#names + 1] = name
end
table.sort(names)
assert(table.concat(names, " ") == "a b")
names = {}
for name in kvs.keys(assert(f:kvsdir())) do
  names[#names + 1] = name
end
assert(#names >= 1)
dir.new, dir.a = { n = 1 }, nil
assert(dir:unlink "b.d")
assert(dir:commit())
assert(dir.new.n == 1 and dir.a == nil)
dir.more = 2
assert(kvs.commit(dir))
assert(kvs.unlink(dir, "more"))
assert(kvs.commit(dir))
assert(dir:watch "new".n == 1)
assert(kvs.watch(dir, "new", { n = 2 }).n == 1)
assert(not pcall(function()
  dir.new = print
end))
-- pairs calls __pairs in some Lua versions only, so call it directly.
assert(not pcall(getmetatable(dir).__pairs, dir))
assert(select(2, f:kvsdir "sweep.none") == "No such file or directory")
-- watch_dir fails at once if there is no such directory.
assert(f:kvs_unlink "sweep.b")
local gone = assert(f:kvsdir "sweep.b")
assert(f:kvs_commit())
assert(select(2, gone:watch_dir()) == "No such file or directory")
f:close()
for _, module in ipairs { kvs, flux.kvs } do
  assert(type(module.keys(dir)) == "function")
  for _, name in ipairs { "commit", "unlink", "watch", "watch_dir" } do
    local ok, err = pcall(module[name], dir, "x")
    assert(not ok)
    if not err:find "closed" then
      error(err, 0)
    end
  end
end
return true
