-- Keys of the KVS.
local flux = require "flux"
local f = assert(flux.new(uri))
assert(f:kvs_put("sweep.text", "some text"))
assert(f:kvs_put("sweep.list", { 1, 2, { a = { b = 1.5 } } }))
assert(f:kvs_put("sweep.dir.deep.key", true))
assert(f:kvs_put(42, 7))
assert(f:kvs_symlink("sweep.link", "sweep.text"))
assert(f:kvs_commit())
assert(f:kvs_commit())
assert(f:kvs_get "sweep.text" == "some text")
assert(f:kvs_get("sweep.list")[3].a.b == 1.5)
assert(f:kvs_get(42) == 7)
assert(f:kvs_get "sweep.link" == "some text")
local kind, value = f:kvs_type "sweep.text"
assert(kind == "file" and value == "some text")
kind, value = f:kvs_type "sweep.dir"
assert(kind == "dir" and tostring(value) == "sweep.dir")
kind, value = f:kvs_type "sweep.link"
assert(kind == "symlink" and value == "sweep.text")
assert(select(2, f:kvs_type "sweep.none") == "No such file or directory")
assert(select(2, f:kvs_get "sweep.none") == "No such file or directory")
assert(select(2, f:kvs_get "sweep.dir") == "Is a directory")
local dirent = { type = "val", ver = 1, data = "aGVsbG8=" }
local op = { key = "sweep.bare", flags = 0, dirent = dirent }
assert(f:rpc("kvs.commit", { namespace = "primary", flags = 0, ops = { op } }))
assert(f:kvs_get "sweep.bare" == "hello")
assert(f:kvs_unlink "sweep.text")
assert(f:kvs_put("sweep.list", nil))
assert(f:kvs_commit())
assert(f:kvs_get "sweep.text" == nil and f:kvs_get "sweep.list" == nil)
-- A put of a value that JSON cannot hold leaves the pending transaction as it was.
assert(f:kvs_put("sweep.kept", 1))
assert(not pcall(f.kvs_put, f, "sweep.never", print))
assert(f:kvs_commit())
assert(f:kvs_get "sweep.kept" == 1)
return true
