/* Handles of C code in Lua: what flux.so exports beside its module. */
#ifndef HAVE_FLUX_LUA_H
#define HAVE_FLUX_LUA_H

#include <lua.h>
#include <flux/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Push the handle's userdata, the same one each time, and return 1. Lua takes
 * a reference on `h`. Its reactor stays the caller's: message handlers and
 * watchers that scripts register on the handle run when the caller runs that,
 * and are alive until they are removed or the lua_State is closed, which must
 * come before the last flux_close() of `h`.
 *
 * Returns 2, with nil and an error text pushed, when it can not. May raise
 * Lua's memory error.
 */
int lua_push_flux_handle_external (lua_State *L, flux_t *h);

/* What `require "flux"` calls: pushes the module's table. */
int luaopen_flux (lua_State *L);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_FLUX_LUA_H */
