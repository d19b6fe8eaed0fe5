--- Module `kvs`: what can be done with a KVS directory, as functions.
-- `kvs.keys(dir)` is `dir:keys()` whatever names the directory holds.
return require "flux".kvs
