rockspec_format = "3.0"
package = "flux-lua"
version = "0.1.0-1"
source = {
  url = "git+https://github.com/flux-framework/flux-lua.git",
  tag = "v0.1.0",
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
  -- The feature is named after the Lua that LuaRocks serves. That is LuaJIT
  -- where its headers are set, and where its interpreter is, whose headers
  -- build.rs finds by itself if LuaRocks has those of Lua 5.1 for it.
  build_command = [[
lua=`"$(LUA)" -e 'print(jit and "luajit" or (_VERSION:gsub("%D+(%d).(%d)", "lua%1%2")))'` &&
include="$(LUA_INCDIR)" &&
if test -e "$include/luajit.h"; then
  lua=luajit
elif test "$lua" = luajit; then
  include=
fi &&
LUA_INCDIR="$include" cargo build --release --lib --target-dir target \
  --no-default-features --features "$lua" &&
cp target/release/libflux.so target/release/flux.so]],
  install = {
    lib = { "target/release/flux.so" },
    lua = { kvs = "lua/kvs.lua" },
    bin = { ["flux-lua"] = "lua/flux-lua.lua" },
  },
}
