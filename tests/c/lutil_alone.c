/* Compiles the module's own C code into a test program, so that sanitizers can
 * check it. This file stands in for the Rust function that the code calls.
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
