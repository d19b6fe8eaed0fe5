/* KVS directories of C code in Lua. */
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

/* What `require "kvs"` calls: pushes the module's table. */
int luaopen_kvs (lua_State *L);

/* Push a directory, which is Lua's from then on: it is destroyed when the
 * userdata is collected, or at once when it can not be pushed. Returns 1; for
 * a null `dir`, or one without a handle, 2, with nil and an error text pushed.
 * May raise Lua's memory error.
 */
int lua_push_kvsdir (lua_State *L, flux_kvsdir_t *dir);

/* The same, of a directory that stays the caller's: Lua takes a reference. */
int lua_push_kvsdir_external (lua_State *L, flux_kvsdir_t *dir);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_KVS_LUA_H */
