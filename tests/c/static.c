/* A program with Lua linked in statically. It runs a chunk and prints its first
 * result or its error.
 */
#include <stdio.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

int main (int argc, char **argv)
{
    lua_State *L = luaL_newstate ();
    const char *said;

    if (!L || argc < 2)
        return 1;
    luaL_openlibs (L);
    if (luaL_loadstring (L, argv[1]) == 0)
        (void)lua_pcall (L, 0, 1, 0);
    said = lua_tostring (L, -1);
    puts (said ? said : "no string");
    lua_close (L);
    return 0;
}
