/* A broker module whose services are written in Lua:
 *     flux module load ./hello.so $PWD/hello.lua [ARG...]
 * The script gets its arguments in `...`, and the module's handle in the
 * global variable `handle`. The message handlers and watchers that it
 * registers run in the module's reactor.
 */
#include <errno.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include <flux/core.h>
#include <flux-lua.h>
#include <kvs-lua.h>

/* Make `require` use the library that this module is linked with. The broker's
 * LUA_CPATH may lead to another one.
 */
static void preload (lua_State *L, const char *name, lua_CFunction open)
{
    lua_getglobal (L, "package");
    lua_getfield (L, -1, "preload");
    lua_pushcfunction (L, open);
    lua_setfield (L, -2, name);
    lua_pop (L, 2);
}

/* On failure an error message is on top of the stack. */
static int run_script (lua_State *L, flux_t *h, int argc, char **argv)
{
    int i;

    if (argc < 1) {
        lua_pushliteral (L, "usage: flux module load ./hello.so SCRIPT [ARG...]");
        return -1;
    }
    preload (L, "flux", luaopen_flux);
    preload (L, "kvs", luaopen_kvs);
    if (lua_push_flux_handle_external (L, h) != 1)
        return -1;
    lua_setglobal (L, "handle");
    if (luaL_loadfile (L, argv[0]) != 0)
        return -1;
    for (i = 1; i < argc; i++)
        lua_pushstring (L, argv[i]);
    return lua_pcall (L, argc - 1, 0, 0) == 0 ? 0 : -1;
}

int mod_main (flux_t *h, int argc, char **argv)
{
    lua_State *L = luaL_newstate ();
    int rc;

    if (L == NULL) {
        errno = ENOMEM;
        return -1;
    }
    luaL_openlibs (L);
    rc = run_script (L, h, argc, argv);
    if (rc == 0)
        rc = flux_reactor_run (flux_get_reactor (h), 0);
    else {
        flux_log (h, LOG_ERR, "%s", lua_tostring (L, -1));
        errno = EINVAL;
    }
    /* The broker closes `h` after this. Closing the state first removes the
     * message handlers and watchers of the script.
     */
    lua_close (L);
    return rc;
}
