rockspec_format = "3.0"
package = "flux-lua"
version = "scm-1"
source = {
  url = "git+https://github.com/flux-framework/flux-lua.git",
}
description = {
  summary = "Lua bindings for the Flux resource manager, with an embedded broker",
  detailed = [[
RPC, messages, events, barriers and the KVS of Flux from Lua: a drop-in
replacement for the C bindings of flux-core, and a broker inside the process
to learn and test without Flux. Needs cargo to build, and nothing of Flux.]],
  homepage = "https://github.com/flux-framework/flux-lua",
  license = "LGPL-3.0-or-later",
}
dependencies = {
  "lua >= 5.1, < 5.6",
}
build = {
  type = "command",
  -- The feature is named after the Lua that LuaRocks serves.
  build_command = [[
LUA_INCDIR="$(LUA_INCDIR)" cargo build --release --lib --target-dir target \
  --no-default-features \
  --features `"$(LUA)" -e 'print(jit and "luajit" or (_VERSION:gsub("%D+(%d).(%d)", "lua%1%2")))'` &&
  cp target/release/libflux.so target/release/flux.so]],
  install = {
    lib = { "target/release/flux.so" },
    lua = { kvs = "lua/kvs.lua" },
    bin = { ["flux-lua"] = "lua/flux-lua.lua" },
  },
}
