/* Makes Lua's allocations fail while a program passes its handle, messages and
 * KVS directories to Lua. It runs in a Flux instance.
 */
#include <flux/core.h>

#include "check.h"
#include "out_of_memory.h"

#include "flux-lua.h"
#include "kvs-lua.h"
#include "zmsg-lua.h"

/* Global, since a memory error of Lua jumps over the functions that use them. */
static flux_t *h;
static flux_msg_t *msg;
static flux_kvsdir_t *dir;
static flux_kvsdir_t *dir_without_handle;

static int handles (lua_State *L)
{
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    CHECK (lua_rawequal (L, 1, 2));
    CHECK (lua_get_flux_handle (L, 1) == h);
    CHECK (lua_push_flux_handle_external (L, NULL) == 2 && lua_isnil (L, 3));
    lua_pushboolean (L, 1);
    return 1;
}

static int respond (lua_State *L, struct zmsg_info *zi, const char *json_str, void *arg)
{
    CHECK (*zmsg_info_zmsg (zi) != NULL);
    lua_pushstring (L, json_str);
    lua_pushfstring (L, "an answer of %s, a text that no other string equals", (char *)arg);
    return 2;
}

static int respond_error (lua_State *L, struct zmsg_info *zi, int errnum, const char *errstr, void *arg)
{
    CHECK (*zmsg_info_zmsg (zi) != NULL && errnum == 71);
    lua_pushfstring (L, "an error of %s, a text that no other string equals: %s", (char *)arg, errstr);
    return 1;
}

static int messages (lua_State *L)
{
    struct zmsg_info *zi = zmsg_info_create (&msg, FLUX_MSGTYPE_REQUEST);

    CHECK (zmsg_info_register_resp_cb (zi, respond, (void *)"C's") == 0);
    CHECK (zmsg_info_register_resp_error_cb (zi, respond_error, (void *)"C's") == 0);
    CHECK (lua_push_zmsg_info (L, zi) == 1);
    CHECK (lua_push_zmsg_info (L, zi) == 1 && !lua_rawequal (L, 1, 2));
    CHECK (lua_push_zmsg_info (L, NULL) == 2 && lua_isnil (L, 3));
    lua_settop (L, 2);
    CHECK (l_zmsg_info_register_metatable (L) == 1);
    CHECK (lua_getmetatable (L, 1) && lua_rawequal (L, -1, -2));
    lua_settop (L, 2);

    lua_getfield (L, 1, "respond");
    lua_pushvalue (L, 2);
    lua_getfield (L, 1, "data");
    CHECK (lua_istable (L, -1));
    lua_call (L, 2, 2);
    CHECK (strcmp (lua_tostring (L, -2), "{\"n\":[1,2]}") == 0);
    CHECK (strncmp (lua_tostring (L, -1), "an answer of C's", 16) == 0);
    lua_settop (L, 2);

    lua_getfield (L, 1, "respond_error");
    lua_pushvalue (L, 2);
    lua_pushinteger (L, 71);
    lua_pushliteral (L, "two numbers");
    lua_call (L, 3, 1);
    CHECK (strncmp (lua_tostring (L, -1), "an error of C's", 15) == 0);
    lua_pushboolean (L, 1);
    return 1;
}

static int directories (lua_State *L)
{
    CHECK (lua_push_kvsdir (L, flux_kvsdir_copy (dir)) == 1);
    CHECK (lua_push_kvsdir_external (L, dir) == 1);
    CHECK (lua_push_kvsdir (L, NULL) == 2 && lua_isnil (L, 3));
    lua_settop (L, 2);
    CHECK (lua_push_kvsdir (L, flux_kvsdir_copy (dir_without_handle)) == 2 && lua_isnil (L, 3));
    lua_settop (L, 2);
    CHECK (lua_push_kvsdir_external (L, dir_without_handle) == 2 && lua_isnil (L, 3));
    CHECK (luaL_callmeta (L, 1, "__tostring") && luaL_callmeta (L, 2, "__tostring"));
    CHECK (strcmp (lua_tostring (L, -1), "top") == 0 && lua_rawequal (L, -1, -2));
    lua_pushboolean (L, 1);
    return 1;
}

/* The functions that are tested. */
static const struct subject {
    const char *name;
    lua_CFunction function;
} subjects[] = {
    { "handles", handles },
    { "messages", messages },
    { "directories", directories },
};

/* Runs a function in a new state. With `is_short` each of its allocations fails
 * in turn. Returns how many failed.
 */
static long try_with_an_instance (lua_CFunction function, int is_short)
{
    const char *listing = "{\"data\":{\"a\":{\"data\":\"\",\"type\":\"val\",\"ver\":1}},"
                          "\"type\":\"dir\",\"ver\":1}";
    long tried = 0;

    h = flux_open (NULL, 0);
    msg = flux_request_encode ("some.topic", "{\"n\":[1,2]}");
    dir = flux_kvsdir_create (h, NULL, "top", listing);
    dir_without_handle = flux_kvsdir_create (NULL, NULL, "top", listing);
    CHECK (h != NULL && msg != NULL && dir != NULL && dir_without_handle != NULL);
    if (failures == 0)
        tried = is_short ? short_of_memory (function) : call_refused (function, REFUSE_ONE, 0);
    flux_kvsdir_destroy (dir_without_handle);
    flux_kvsdir_destroy (dir);
    flux_msg_destroy (msg);
    /* Lua has released its references. */
    flux_close (h);
    return tried;
}

int main (void)
{
    size_t i;

    for (i = 0; i < sizeof (subjects) / sizeof (subjects[0]); i++) {
        const struct subject *subject = &subjects[i];
        size_t before;
        long tried;

        /* This makes the allocations that are made once in a process. */
        try_with_an_instance (subject->function, 0);
        before = bytes_in_use ();
        tried = try_with_an_instance (subject->function, 1);
        CHECK (bytes_in_use () == before);
        CHECK (tried > 20);
        printf ("%s: %ld allocations refused\n", subject->name, tried);
        if (failures > 0)
            break;
    }
    return failures == 0 ? 0 : 1;
}
