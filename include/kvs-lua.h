/* KVS directories shared between C code and Lua scripts. */
#ifndef HAVE_KVS_LUA_H
#define HAVE_KVS_LUA_H

#include <lua.h>
#include <lauxlib.h>

#include "flux-lua.h"

/* As in flux-lua.h. */
#ifdef FLUX_LUA_WITHOUT_FLUX_CORE
typedef struct flux_kvsdir flux_kvsdir_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Push the table of the module `kvs` and return 1: the lua_CFunction that
 * `require "kvs"` calls. See luaopen_flux().
 */
int luaopen_kvs (lua_State *L);

/* Push the userdata of a directory and return 1. The directory belongs to Lua
 * from then on: it is destroyed when the userdata is collected, and at once on
 * failure. If `dir` is NULL or has no handle, push nil and an error text, and
 * return 2. May raise Lua's memory error.
 */
int lua_push_kvsdir (lua_State *L, flux_kvsdir_t *dir);

/* The same for a directory that stays the caller's. Lua takes a reference. */
int lua_push_kvsdir_external (lua_State *L, flux_kvsdir_t *dir);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_KVS_LUA_H */
