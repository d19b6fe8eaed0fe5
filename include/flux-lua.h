/* Flux handles shared between C code and Lua scripts. */
#ifndef HAVE_FLUX_LUA_H
#define HAVE_FLUX_LUA_H

#include <lua.h>

/* A program that only calls luaopen_flux() needs no headers of Flux: the
 * script can use the embedded broker (`embed://`).
 */
#if defined __has_include
#if !__has_include (<flux/core.h>)
#define FLUX_LUA_WITHOUT_FLUX_CORE 1
#endif
#endif
#ifdef FLUX_LUA_WITHOUT_FLUX_CORE
typedef struct flux_handle flux_t;
#else
#include <flux/core.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Push the userdata of `h` and return 1. The same `h` gives the same userdata
 * each time. Lua takes a reference on `h`, and drops it when the userdata is
 * collected.
 *
 * The reactor stays the caller's: message handlers and watchers that a script
 * registers on the handle run when the caller runs it. They live until they
 * are removed or the lua_State is closed. Close the lua_State before the last
 * flux_close() of `h`, on the thread that uses `h`.
 *
 * On failure, push nil and an error text, and return 2. May raise Lua's memory
 * error.
 */
int lua_push_flux_handle_external (lua_State *L, flux_t *h);

/* Return the flux_t of the Lua handle at `index`, or NULL if the value there
 * is not a handle, is a closed handle, or is a handle of the embedded broker
 * or of the module's own `loop://`, which have no flux_t. Never raises, and
 * leaves the stack as it was. `index` is any acceptable index.
 *
 * The flux_t belongs to the Lua handle: do not flux_close() it. It is valid
 * until a script closes the handle or Lua collects it, so keep the value on
 * the stack or in the registry. To keep the flux_t for longer, take a
 * reference with flux_incref(), and give it back with flux_close(). Use it
 * only on the thread that runs `L`.
 *
 * The script and the C code share one queue of messages: a message that one of
 * them receives is gone for the other.
 */
flux_t *lua_get_flux_handle (lua_State *L, int index);

/* Push the table of the module `flux` and return 1. This is the lua_CFunction
 * that `require "flux"` calls. Put it into `package.preload.flux` so that
 * `require` uses this copy of the module and does not search for one.
 */
int luaopen_flux (lua_State *L);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_FLUX_LUA_H */
