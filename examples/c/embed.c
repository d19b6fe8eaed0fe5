/* A program that embeds Lua and gives its scripts the modules `flux` and
 * `kvs`:
 *     FLUX_URI=embed:// ./embed embed.lua World
 */
#include <stdio.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include <flux-lua.h>
#include <kvs-lua.h>

/* Make `require` use the library that this program is linked with, whatever
 * LUA_CPATH is.
 */
static void preload (lua_State *L, const char *name, lua_CFunction open)
{
    lua_getglobal (L, "package");
    lua_getfield (L, -1, "preload");
    lua_pushcfunction (L, open);
    lua_setfield (L, -2, name);
    lua_pop (L, 2);
}

/* A function of this program that the script calls. */
static int shout (lua_State *L)
{
    lua_pushfstring (L, "%s!", luaL_checkstring (L, 1));
    return 1;
}

int main (int argc, char **argv)
{
    lua_State *L = luaL_newstate ();
    int failed;
    int i;

    if (L == NULL || argc < 2) {
        fprintf (stderr, "usage: %s SCRIPT [ARG...]\n", argv[0]);
        return 2;
    }
    luaL_openlibs (L);
    preload (L, "flux", luaopen_flux);
    preload (L, "kvs", luaopen_kvs);
    lua_register (L, "shout", shout);

    failed = luaL_loadfile (L, argv[1]);
    for (i = 2; !failed && i < argc; i++)
        lua_pushstring (L, argv[i]);
    if (failed || lua_pcall (L, argc - 2, 0, 0)) {
        fprintf (stderr, "%s: %s\n", argv[0], lua_tostring (L, -1));
        failed = 1;
    }
    lua_close (L);
    return failed ? 1 : 0;
}
