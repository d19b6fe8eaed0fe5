/* A broker module that runs a Lua script and then the reactor:
 *     flux module load ./luamod.so SCRIPT [ARG...]
 * The script gets the broker module's handle as the global `handle`, and its
 * arguments as `...`.
 */
#include <errno.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "flux-lua.h"

/* Runs the script, which registers its handlers on `h`. */
static int run_script (lua_State *L, flux_t *h, int argc, char **argv)
{
    int i;

    if (argc < 1) {
        flux_log (h, LOG_ERR, "no script is given");
        errno = EINVAL;
        return -1;
    }
    if (lua_push_flux_handle_external (L, h) != 1) {
        flux_log (h, LOG_ERR, "%s", lua_tostring (L, -1));
        return -1;
    }
    lua_setglobal (L, "handle");
    if (luaL_loadfile (L, argv[0]) == 0) {
        for (i = 1; i < argc; i++)
            lua_pushstring (L, argv[i]);
        if (lua_pcall (L, argc - 1, 0, 0) == 0)
            return 0;
    }
    flux_log (h, LOG_ERR, "%s", lua_tostring (L, -1));
    errno = EINVAL;
    return -1;
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
    /* The script's handlers must be removed before the handle is closed. */
    lua_close (L);
    return rc;
}
