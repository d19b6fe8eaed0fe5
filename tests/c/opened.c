/* A program that uses the flux_t of a handle that its script opened. It runs in
 * a Flux instance.
 */
#include <flux/core.h>

#include "check.h"
#include "script.h"

#include "flux-lua.h"

static int ping (flux_t *h)
{
    flux_future_t *f = flux_rpc_pack (h, "broker.ping", FLUX_NODEID_ANY, 0, "{s:i}", "seq", 7);
    int seq = -1;

    CHECK (flux_rpc_get_unpack (f, "{s:i}", "seq", &seq) == 0);
    flux_future_destroy (f);
    return seq;
}

static void ticked (flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg)
{
    (void)r;
    (void)w;
    (void)revents;
    ++*(int *)arg;
}

static void ponged (flux_future_t *f, void *arg)
{
    CHECK (flux_rpc_get_unpack (f, "{s:i}", "seq", (int *)arg) == 0);
    flux_future_destroy (f);
}

/* C code's continuation runs while the script runs the reactor and handles its
 * own messages.
 */
static void call_in_reactor (lua_State *L, flux_t *h)
{
    flux_future_t *f = flux_rpc_pack (h, "broker.ping", FLUX_NODEID_ANY, 0, "{s:i}", "seq", 9);
    int seq = -1;

    CHECK (flux_future_then (f, -1., ponged, &seq) == 0);
    CHECK (holds (L,
                  "local seq\n"
                  "f:msghandler {\n"
                  "    pattern = 'broker.ping',\n"
                  "    msgtypes = { flux.MSGTYPE_RESPONSE },\n"
                  "    handler = function (f, msg, mh)\n"
                  "        seq = msg.data.seq\n"
                  "        mh:remove ()\n"
                  "    end,\n"
                  "}\n"
                  "f:send ('broker.ping', { seq = 10 })\n"
                  "f:reactor ()\n"
                  "return seq == 10"));
    CHECK (seq == 9);
}

int main (void)
{
    lua_State *L = new_state ();
    flux_watcher_t *timer;
    flux_t *h;
    uint32_t rank = 42;
    int ticks = 0;

    lua_pushcfunction (L, luaopen_flux);
    CHECK (lua_pcall (L, 0, 1, 0) == 0);
    lua_setglobal (L, "flux");
    CHECK (holds (L, "f = assert (flux.new ()) return true"));
    lua_getglobal (L, "f");
    h = lua_get_flux_handle (L, -1);
    CHECK (h != NULL && lua_gettop (L) == 1);
    if (h == NULL)
        return 1;
    CHECK (h == lua_get_flux_handle (L, 1));
    CHECK (flux_get_rank (h, &rank) == 0 && rank == 0);
    CHECK (ping (h) == 7);

    /* Lua and C code send requests and make watchers on the same handle. */
    CHECK (holds (L, "tag = f:send ('broker.ping', { seq = 8 }) return true"));
    CHECK (ping (h) == 7);
    CHECK (holds (L, "return f:recv (tag).seq == 8"));
    timer = flux_timer_watcher_create (flux_get_reactor (h), 0.001, 0., ticked, &ticks);
    flux_watcher_start (timer);
    CHECK (holds (L,
                  "local ticked\n"
                  "f:timer { timeout = 50, handler = function () ticked = true end }\n"
                  "f:reactor ()\n"
                  "return ticked"));
    CHECK (ticks == 1);
    flux_watcher_destroy (timer);
    call_in_reactor (L, h);

    /* The flux_t stays open while C code holds a reference. */
    flux_incref (h);
    CHECK (holds (L, "f:close () return true"));
    CHECK (lua_get_flux_handle (L, 1) == NULL);
    lua_close (L);
    CHECK (ping (h) == 7);
    flux_close (h);
    return failures == 0 ? 0 : 1;
}
