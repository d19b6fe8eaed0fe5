/* KVS directories shared between C code and Lua scripts. */
#ifndef HAVE_KVS_LUA_H
#define HAVE_KVS_LUA_H

#include <lua.h>
#include <lauxlib.h>

#include "flux-lua.h"

/* Without the headers of Flux: see flux-lua.h. */
#ifdef FLUX_LUA_WITHOUT_FLUX_CORE
typedef struct flux_kvsdir flux_kvsdir_t;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Push the table of the module `kvs` and return 1. `require "kvs"` calls this
 * lua_CFunction. Put it into `package.preload.kvs`, as with luaopen_flux().
 */
int luaopen_kvs (lua_State *L);

/* Push the userdata of a directory and return 1.
 *
 * Ownership: Lua takes over the caller's reference. It destroys the directory
 * when the userdata is collected, or at once on failure.
 *
 * Errors: if `dir` is NULL or has no handle, push nil and an error text, and
 * return 2. May raise Lua's memory error.
 *
 * Threads: as for lua_push_flux_handle_external().
 */
int lua_push_kvsdir (lua_State *L, flux_kvsdir_t *dir);

/* The same, but the caller keeps its reference, and Lua takes another one. */
int lua_push_kvsdir_external (lua_State *L, flux_kvsdir_t *dir);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_KVS_LUA_H */
