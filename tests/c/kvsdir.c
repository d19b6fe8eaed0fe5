/* A program that passes its own KVS directories to Lua. It runs in a Flux
 * instance.
 */
#include <stdlib.h>

#include <flux/core.h>

#include "check.h"
#include "script.h"

#include "flux-lua.h"
#include "kvs-lua.h"

/* Commits a value, which is JSON. */
static void put (flux_t *h, const char *key, const char *value)
{
    flux_kvs_txn_t *txn = flux_kvs_txn_create ();
    flux_future_t *f;

    CHECK (flux_kvs_txn_put (txn, 0, key, value) == 0);
    f = flux_kvs_commit (h, NULL, 0, txn);
    CHECK (f != NULL && flux_future_get (f, NULL) == 0);
    flux_future_destroy (f);
    flux_kvs_txn_destroy (txn);
}

/* Looks up a directory, which the caller must destroy. */
static flux_kvsdir_t *look_up (flux_t *h, const char *key)
{
    flux_future_t *f = flux_kvs_lookup (h, NULL, FLUX_KVS_READDIR, key);
    const flux_kvsdir_t *dir = NULL;
    flux_kvsdir_t *copy;

    CHECK (f != NULL && flux_kvs_lookup_get_dir (f, &dir) == 0);
    copy = flux_kvsdir_copy (dir);
    flux_future_destroy (f);
    return copy;
}

static void directories (flux_t *h)
{
    lua_State *L = new_state ();
    flux_kvsdir_t *dir;
    flux_kvsdir_t *shared;

    put (h, "top.a", "1");
    put (h, "top.b.c", "\"text\"");

    /* The module is not loaded yet. Lua becomes the owner of the directory. */
    CHECK (lua_push_kvsdir (L, look_up (h, "top")) == 1);
    lua_setglobal (L, "dir");
    CHECK (holds (L, "return tostring (dir) == 'top'"));
    CHECK (holds (L, "return dir.a == 1 and dir['b.c'] == 'text' and dir.b.c == 'text'"));
    CHECK (holds (L,
                  "local names = {}\n"
                  "for name in dir:keys () do names[#names + 1] = name end\n"
                  "table.sort (names)\n"
                  "return table.concat (names, ' ') == 'a b'"));

    /* A value that is set in the directory is committed with C code's handle. */
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    lua_setglobal (L, "f");
    CHECK (holds (L,
                  "dir.new = { 1, 2 }\n"
                  "assert (f:kvs_commit ())\n"
                  "return f:kvs_get ('top.new')[2] == 2"));
    CHECK (holds (L, "dir = nil f = nil return true"));

    /* C code stays the owner of this directory and uses it afterwards. */
    shared = look_up (h, "top");
    CHECK (lua_push_kvsdir_external (L, shared) == 1);
    lua_setglobal (L, "dir");
    CHECK (holds (L, "return #dir.new == 2 and dir:unlink 'new' and dir:commit ()"));
    CHECK (holds (L, "dir = nil return true"));
    lua_gc (L, LUA_GCCOLLECT, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (strcmp (flux_kvsdir_key (shared), "top") == 0);
    CHECK (flux_kvsdir_exists (shared, "new"));
    CHECK (lua_push_kvsdir_external (L, shared) == 1);
    flux_kvsdir_destroy (shared);
    lua_setglobal (L, "dir");
    CHECK (holds (L, "return dir.new == nil and dir.a == 1"));

    CHECK (lua_push_kvsdir (L, NULL) == 2 && lua_isnil (L, -2));
    CHECK (strcmp (lua_tostring (L, -1), "No such file or directory") == 0);
    CHECK (lua_push_kvsdir_external (L, NULL) == 2 && lua_isnil (L, -2));
    dir = flux_kvsdir_create (NULL, NULL, "none", "{\"data\":{},\"type\":\"dir\",\"ver\":1}");
    CHECK (dir != NULL);
    CHECK (lua_push_kvsdir (L, dir) == 2 && lua_isnil (L, -2));
    CHECK (strcmp (lua_tostring (L, -1), "Invalid argument") == 0);
    lua_settop (L, 0);

    /* Values that C code has on the stack stay there. */
    lua_getglobal (L, "tostring");
    CHECK (lua_push_kvsdir (L, look_up (h, "top")) == 1 && lua_gettop (L) == 2);
    CHECK (lua_push_kvsdir (L, NULL) == 2 && lua_gettop (L) == 4);
    lua_settop (L, 2);
    CHECK (lua_pcall (L, 1, 1, 0) == 0 && strcmp (lua_tostring (L, 1), "top") == 0);
    lua_settop (L, 0);

    lua_pushcfunction (L, luaopen_kvs);
    CHECK (lua_pcall (L, 0, 1, 0) == 0);
    lua_setglobal (L, "kvs");
    CHECK (holds (L, "return kvs.keys (dir) () ~= nil"));
    lua_close (L);
}

int main (void)
{
    flux_t *h = flux_open (NULL, 0);

    if (h == NULL) {
        perror ("flux_open");
        return 2;
    }
    directories (h);
    /* Lua has released its references, but the handle is still open. */
    put (h, "top.after", "1");
    flux_close (h);
    return failures == 0 ? 0 : 1;
}
