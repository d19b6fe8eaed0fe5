/* The module's own C code, compiled into a host: what Rust does for it in the
 * module is done here, so that sanitizers see all of it.
 */
#include <lua.h>

#include "../../src/capi/lutil.c"

static int push_failure (lua_State *L,
                         const char *text,
                         size_t length,
                         const void *caller)
{
    (void)caller;
    lua_pushnil (L);
    lua_pushlstring (L, text, length);
    return 2;
}

__attribute__ ((constructor))
static void at_load (void)
{
    flux_lua_push_failure = push_failure;
}
