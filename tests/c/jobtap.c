/* A jobtap plugin that asks a Lua function whether to accept a job. The function
 * gets the jobspec; it returns nothing, or the reason to reject the job.
 */
#include <stdlib.h>

#include <flux/core.h>
#include <flux/jobtap.h>
#include <jansson.h>
#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

static int validate (flux_plugin_t *p,
                     const char *topic,
                     flux_plugin_arg_t *args,
                     void *data)
{
    lua_State *L = data;
    json_t *jobspec;
    char *text;
    int rc = 0;

    (void)topic;
    if (flux_plugin_arg_unpack (args, FLUX_PLUGIN_ARG_IN, "{s:o}", "jobspec", &jobspec) < 0
        || !(text = json_dumps (jobspec, JSON_COMPACT)))
        return flux_jobtap_reject_job (p, args, "no jobspec");
    lua_settop (L, 0);
    lua_getglobal (L, "validate");
    lua_pushstring (L, text);
    free (text);
    if (lua_pcall (L, 1, 1, 0) != 0 || lua_isstring (L, -1))
        rc = flux_jobtap_reject_job (p, args, "%s", lua_tostring (L, -1));
    return rc;
}

static void destroy (void *data)
{
    lua_close (data);
}

int flux_plugin_init (flux_plugin_t *p)
{
    lua_State *L = luaL_newstate ();
    const char *script = NULL;

    if (!L)
        return -1;
    luaL_openlibs (L);
    if (flux_plugin_aux_set (p, NULL, L, destroy) < 0
        || flux_plugin_conf_unpack (p, "{s:s}", "script", &script) < 0)
        return -1;
    if (luaL_loadfile (L, script) || lua_pcall (L, 0, 0, 0)) {
        flux_log (flux_jobtap_get_flux (p), LOG_ERR, "%s", lua_tostring (L, -1));
        return -1;
    }
    return flux_plugin_add_handler (p, "job.validate", validate, L);
}
