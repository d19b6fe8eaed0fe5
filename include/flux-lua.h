/* Flux handles shared between C code and Lua scripts. */
#ifndef HAVE_FLUX_LUA_H
#define HAVE_FLUX_LUA_H

#include <lua.h>

/* The headers of Flux are optional. A program without them can call
 * luaopen_flux(), and its scripts can use the embedded broker (`embed://`).
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

/* Push the userdata of `h` and return 1. Each call with the same `h` pushes
 * the same userdata.
 *
 * Ownership: Lua takes a reference on `h`, and drops it when the userdata is
 * collected. The caller keeps its own reference.
 *
 * Reactor: the caller runs it. Message handlers and watchers that a script
 * registers on the handle are called then, until they are removed or the
 * lua_State is closed.
 *
 * Threads: use `h` and `L` on one thread. Close `L` on that thread, before the
 * last flux_close() of `h`.
 *
 * Errors: on failure, push nil and an error text, and return 2. May raise
 * Lua's memory error.
 */
int lua_push_flux_handle_external (lua_State *L, flux_t *h);

/* Return the flux_t of the Lua handle at `index`. Return NULL if the value is
 * not a handle, if the handle is closed, or if it has no flux_t: handles of
 * the embedded broker and of the module's own `loop://` have none. `index` is
 * any acceptable index. Never raises, and does not change the stack.
 *
 * Ownership: the flux_t belongs to the Lua handle. Do not flux_close() it. It
 * is valid until a script closes the handle or Lua collects it, so keep the
 * value on the stack or in the registry. To use the flux_t for longer, take a
 * reference with flux_incref(), and drop it with flux_close().
 *
 * Threads: use the flux_t only on the thread that runs `L`.
 *
 * The script and the C code share one queue of messages: if one of them
 * receives a message, the other does not.
 */
flux_t *lua_get_flux_handle (lua_State *L, int index);

/* Push the table of the module `flux` and return 1. `require "flux"` calls
 * this lua_CFunction. Put it into `package.preload.flux` to make `require` use
 * this copy of the module instead of searching for one. Raises an error if the
 * module cannot work with the Lua of `L`.
 */
int luaopen_flux (lua_State *L);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_FLUX_LUA_H */
