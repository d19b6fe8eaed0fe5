/* A plugin that links its own Lua. It runs chunks, and calls functions that the
 * module exports.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

static lua_State *L;

/* Runs a chunk. Returns its first result or its error, as a string. */
const char *plugin_run (const char *chunk)
{
    if (!L) {
        L = luaL_newstate ();
        luaL_openlibs (L);
    }
    lua_settop (L, 0);
    if (luaL_loadstring (L, chunk) == 0)
        (void)lua_pcall (L, 0, 1, 0);
    return lua_tostring (L, -1);
}

/* Calls json_object_string_to_lua() of the shared object `module` with "42".
 * Returns the number that it pushes, or errno if it fails. No script has to have
 * required the module before.
 */
int plugin_decode (const char *module)
{
    int (*decode) (lua_State *L, const char *text);
    void *handle = dlopen (module, RTLD_NOW | RTLD_LOCAL);
    int number = -1;

    if (!handle || !(decode = dlsym (handle, "json_object_string_to_lua")))
        return -1;
    (void)plugin_run ("return nil");
    lua_settop (L, 0);
    errno = 0;
    number = decode (L, "42") < 0 ? errno : (int)lua_tonumber (L, -1);
    return number;
}

/* Calls lua_pusherror() of the shared object `module`. Returns the text that it
 * pushes.
 */
const char *plugin_error (const char *module)
{
    int (*pusherror) (lua_State *L, char *fmt, ...);
    void *handle = dlopen (module, RTLD_NOW | RTLD_LOCAL);

    if (!handle || !(pusherror = dlsym (handle, "lua_pusherror")))
        return NULL;
    (void)plugin_run ("return nil");
    lua_settop (L, 0);
    (void)pusherror (L, (char *)"%s %d", "error", 7);
    return lua_tostring (L, -1);
}

/* Closes this plugin's Lua state. */
void plugin_close (void)
{
    if (L)
        lua_close (L);
    L = NULL;
}
