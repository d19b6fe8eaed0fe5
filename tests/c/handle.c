/* A program that passes its own handle and messages to Lua and runs the reactor
 * itself. The handle is a loopback, so the program needs no Flux instance.
 */
#include <errno.h>
#include <stdlib.h>

#include <flux/core.h>

#include "check.h"
#include "script.h"

#include "flux-lua.h"
#include "jansson-lua.h"
#include "kvs-lua.h"
#include "lutil.h"
#include "zmsg-lua.h"

static void set_handle (lua_State *L, flux_t *h)
{
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    lua_setglobal (L, "f");
}

static void identity (void)
{
    lua_State *L = new_state ();
    flux_t *h = flux_open ("loop://", 0);
    flux_t *other = flux_open ("loop://", 0);

    /* The module is not loaded yet. */
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    CHECK (lua_push_flux_handle_external (L, h) == 1);
    CHECK (lua_push_flux_handle_external (L, other) == 1);
    CHECK (lua_gettop (L) == 3);
    CHECK (lua_rawequal (L, 1, 2) && !lua_rawequal (L, 1, 3));
    CHECK (lua_get_flux_handle (L, 1) == h && lua_get_flux_handle (L, -1) == other);
    CHECK (lua_get_flux_handle (L, 4) == NULL);
    CHECK (lua_gettop (L) == 3);
    lua_settop (L, 0);

    lua_pushcfunction (L, luaopen_flux);
    CHECK (lua_pcall (L, 0, 1, 0) == 0);
    lua_setglobal (L, "flux");
    set_handle (L, h);
    CHECK (holds (L, "return tostring (f) == 'flux handle (external)'"));
    CHECK (holds (L, "local m = f:send ('a.b', { x = 1 }) return m > 0"));
    CHECK (holds (L, "local msg = f:recvmsg () return msg.tag == 'a.b' and msg.data.x == 1"));

    /* An unused userdata is collected, and the next push makes a new one. */
    CHECK (holds (L, "w = setmetatable ({ f }, { __mode = 'v' }) f = nil return true"));
    lua_gc (L, LUA_GCCOLLECT, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (holds (L, "return w[1] == nil"));
    set_handle (L, h);
    CHECK (holds (L, "f:close () return not pcall (f.send, f, 'a.b')"));
    lua_getglobal (L, "f");
    CHECK (lua_get_flux_handle (L, -1) == NULL);
    lua_settop (L, 0);
    set_handle (L, h);
    CHECK (holds (L, "return f:send ('a.b') > 0 and f:recvmsg ().tag == 'a.b'"));

    CHECK (lua_push_flux_handle_external (L, NULL) == 2);
    CHECK (lua_isnil (L, -2));
    CHECK (strcmp (lua_tostring (L, -1), "Invalid argument") == 0);
    lua_close (L);

    /* Lua has released its references, but the handles are still open. */
    CHECK (flux_matchtag_alloc (h) != FLUX_MATCHTAG_NONE);
    flux_close (other);
    flux_close (h);
}

static void reactor (void)
{
    lua_State *L = new_state ();
    flux_t *h = flux_open ("loop://", 0);
    flux_msg_t *msg = flux_request_encode ("some.topic", "{\"n\":7}");

    set_handle (L, h);
    CHECK (holds (L,
                  "seen, ticks = {}, 0\n"
                  "w = setmetatable ({ f }, { __mode = 'v' })\n"
                  "f:msghandler { pattern = 'some.*', handler = function (f, msg, mh)\n"
                  "    seen[#seen + 1] = msg.data.n\n"
                  "    same = f == w[1]\n"
                  "    mh:remove ()\n"
                  "    error ('raised by a handler')\n"
                  "end }\n"
                  "f:timer { timeout = 1, oneshot = false, handler = function (f, timer)\n"
                  "    ticks = ticks + 1\n"
                  "    collectgarbage ()\n"
                  "    if ticks == 3 then timer:remove () end\n"
                  "end }\n"
                  "f = nil\n"
                  "return true"));
    lua_gc (L, LUA_GCCOLLECT, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (holds (L, "return w[1] ~= nil"));
    CHECK (flux_send (h, msg, 0) == 0);
    /* The reactor goes on after the handler's error and ends once no watcher is
     * left.
     */
    CHECK (flux_reactor_run (flux_get_reactor (h), 0) == 0);
    CHECK (holds (L, "return #seen == 1 and seen[1] == 7 and same and ticks == 3"));
    lua_gc (L, LUA_GCCOLLECT, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (holds (L, "return w[1] == nil"));

    /* A negative number stops the reactor with an error. */
    set_handle (L, h);
    CHECK (holds (L, "f:timer { timeout = 1, handler = function () return -1 end } return true"));
    CHECK (flux_reactor_run (flux_get_reactor (h), 0) < 0);

    /* Closing the state removes the watchers that are left. */
    CHECK (holds (L,
                  "f:timer { timeout = 1, oneshot = false, handler = function () end }\n"
                  "f = nil\n"
                  "return true"));
    lua_close (L);
    CHECK (flux_reactor_run (flux_get_reactor (h), FLUX_REACTOR_NOWAIT) == 0);
    flux_msg_destroy (msg);
    flux_close (h);
}

/* A hook that limits the number of instructions: it raises an error. */
static int limits_reached;

static void limit (lua_State *L, lua_Debug *ar)
{
    (void)ar;
    limits_reached++;
    lua_sethook (L, NULL, 0, 0);
    luaL_error (L, "too many instructions");
}

/* When C code runs the reactor, handlers get the hook of the main thread. */
static void hooks (void)
{
    lua_State *L = new_state ();
    flux_t *h = flux_open ("loop://", 0);

    set_handle (L, h);
    CHECK (holds (L,
                  "if jit then jit.off () end\n"
                  "local function busy () while true do end end\n"
                  "coroutine.wrap (function () f:timer { timeout = 1, handler = busy } end) ()\n"
                  "return true"));
    lua_sethook (L, limit, LUA_MASKCOUNT, 1000);
    CHECK (flux_reactor_run (flux_get_reactor (h), 0) == 0);
    CHECK (limits_reached == 1);
    CHECK (lua_gethook (L) == NULL);
    CHECK (lua_gettop (L) == 0);
    lua_close (L);
    flux_close (h);
}

/* A put that is not committed yet keeps the handle's userdata alive. */
static void puts_are_kept (void)
{
    lua_State *L = new_state ();
    flux_t *h = flux_open ("loop://", 0);

    set_handle (L, h);
    CHECK (holds (L,
                  "f:kvs_put ('a', 1)\n"
                  "w = setmetatable ({ f }, { __mode = 'v' })\n"
                  "f = nil\n"
                  "return true"));
    lua_gc (L, LUA_GCCOLLECT, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (holds (L, "return w[1] ~= nil"));
    lua_close (L);
    flux_close (h);
}

/* A callback for m:respond(): returns its argument, the topic and the payload.
 * It returns -1 without an argument, and raises an error for "raise".
 */
static int respond (lua_State *L, struct zmsg_info *zi, const char *json_str, void *arg)
{
    const char *topic = NULL;

    CHECK (flux_msg_get_topic (*zmsg_info_zmsg (zi), &topic) == 0);
    if (arg == NULL)
        return -1;
    if (strcmp (arg, "raise") == 0)
        return luaL_error (L, "raised by the callback");
    /* The script's arguments to m:respond() are on the stack. */
    CHECK (lua_isuserdata (L, 1) && lua_gettop (L) <= 2);
    lua_pushstring (L, arg);
    lua_pushstring (L, topic);
    lua_pushstring (L, json_str);
    return 3;
}

/* The same for m:respond_error(): returns its argument, the errno and the text. */
static int respond_error (lua_State *L,
                          struct zmsg_info *zi,
                          int errnum,
                          const char *errstr,
                          void *arg)
{
    CHECK (*zmsg_info_zmsg (zi) != NULL);
    if (arg == NULL)
        return -1;
    if (strcmp (arg, "raise") == 0)
        return luaL_error (L, "raised by the callback");
    lua_pushstring (L, arg);
    lua_pushinteger (L, errnum);
    lua_pushstring (L, errstr);
    return 3;
}

/* Makes a message from a request that is destroyed afterwards. */
static struct zmsg_info *request (const char *topic, const char *payload, int type)
{
    flux_msg_t *msg = flux_request_encode (topic, payload);
    struct zmsg_info *zi = zmsg_info_create (&msg, type);
    const char *copied = NULL;

    CHECK (zi != NULL);
    CHECK (*zmsg_info_zmsg (zi) != msg);
    /* The function has copied the message. */
    flux_msg_destroy (msg);
    CHECK (flux_msg_get_topic (*zmsg_info_zmsg (zi), &copied) == 0);
    CHECK (strcmp (copied, topic) == 0);
    return zi;
}

static void set_message (lua_State *L, struct zmsg_info *zi)
{
    CHECK (lua_push_zmsg_info (L, zi) == 1);
    lua_setglobal (L, "m");
}

static void messages (void)
{
    lua_State *L = new_state ();
    struct zmsg_info *zi;
    flux_msg_t *msg;

    CHECK (l_zmsg_info_register_metatable (L) == 1 && lua_istable (L, -1));
    luaL_getmetatable (L, "CMB.zmsgi");
    CHECK (lua_rawequal (L, -1, -2));
    lua_settop (L, 0);

    set_message (L, request ("a.b", "{\"x\":[1]}", FLUX_MSGTYPE_REQUEST));
    CHECK (holds (L, "return m.type == 'request' and m.tag == 'a.b' and m.data.x[1] == 1"));
    CHECK (holds (L, "return m.matchtag == 0 and tostring (m) == 'flux request a.b'"));
    CHECK (holds (L,
                  "local n, e = m.errnum\n"
                  "return n == nil"));
    CHECK (holds (L,
                  "for _, payload in ipairs { {}, false } do\n"
                  "    local n, e, errnum, detail = m:respond (payload or nil)\n"
                  "    assert (n == nil and e == 'zmsg_info_respond: Not implemented', e)\n"
                  "    assert (errnum == 38, errnum)\n"
                  "    assert (detail:find 'no response callback', detail)\n"
                  "end\n"
                  "return true"));
    CHECK (holds (L,
                  "local n, e, errnum = m:respond_error (1)\n"
                  "return n == nil and e:find 'no callback for error responses' and errnum == 38"));

    zi = request ("a.b", NULL, FLUX_MSGTYPE_EVENT);
    CHECK (zmsg_info_register_resp_cb (zi, respond, (void *)"arg") == 0);
    set_message (L, zi);
    CHECK (holds (L, "return m.type == 'event' and m.data == nil"));
    CHECK (holds (L,
                  "local a, b, c, d = m:respond { n = 1 }\n"
                  "return a == 'arg' and b == 'a.b' and c == '{\"n\":1}' and d == nil"));
    CHECK (holds (L,
                  "local a, b, c, d = m:respond ()\n"
                  "return a == 'arg' and b == 'a.b' and c == '{}' and d == nil"));
    CHECK (holds (L, "return select (3, m:respond (nil)) == '{}'"));
    CHECK (holds (L,
                  "local n, e = m:respond { 1, 2 }\n"
                  "return n == nil and e == 'Invalid argument'"));
    CHECK (holds (L,
                  "local n, e = m:respond_error (5, 'text')\n"
                  "return n == nil and e:find 'zmsg_info_register_resp_error_cb'"));
    CHECK (zmsg_info_register_resp_cb (zi, respond, NULL) == 0);
    CHECK (holds (L,
                  "local n, e, errnum, detail = m:respond {}\n"
                  "assert (n == nil and e == 'zmsg_info_respond: Not implemented', e)\n"
                  "assert (errnum == 38 and detail:find 'returned %-1', detail)\n"
                  "return true"));
    CHECK (zmsg_info_register_resp_cb (zi, respond, (void *)"raise") == 0);
    CHECK (holds (L,
                  "local ok, e = pcall (m.respond, m, {})\n"
                  "return not ok and e:find 'raised by the callback'"));

    /* Pushing a message twice makes two userdata that share it. */
    zi = request ("twice", NULL, FLUX_MSGTYPE_REQUEST);
    CHECK (lua_push_zmsg_info (L, zi) == 1);
    set_message (L, zi);
    lua_settop (L, 0);
    lua_gc (L, LUA_GCCOLLECT, 0);
    CHECK (holds (L, "return m.tag == 'twice'"));

    set_message (L, request ("no.json", "no JSON", FLUX_MSGTYPE_RESPONSE));
    CHECK (holds (L,
                  "local n, e = m.data, select (2, pcall (function () return m.data end))\n"
                  "return m.type == 'response' and m.payload == 'no JSON' and n == nil"));
    set_message (L, request ("all", NULL, FLUX_MSGTYPE_ANY));
    CHECK (holds (L, "return m.type == 'all'"));

    msg = flux_msg_create (FLUX_MSGTYPE_RESPONSE);
    CHECK (zmsg_info_create (&msg, FLUX_MSGTYPE_RESPONSE) == NULL && errno == EPROTO);
    CHECK (flux_msg_set_topic (msg, "failed") == 0 && flux_msg_set_errnum (msg, ENOENT) == 0);
    set_message (L, zmsg_info_create (&msg, FLUX_MSGTYPE_RESPONSE));
    CHECK (holds (L, "return m.errnum == 2 and m.data == nil"));
    flux_msg_destroy (msg);
    msg = NULL;
    CHECK (zmsg_info_create (&msg, FLUX_MSGTYPE_RESPONSE) == NULL);
    CHECK (zmsg_info_create (NULL, FLUX_MSGTYPE_RESPONSE) == NULL);
    CHECK (lua_push_zmsg_info (L, NULL) == 2 && lua_isnil (L, -2));

    /* Values that C code has on the stack stay there. */
    lua_settop (L, 0);
    lua_getglobal (L, "tostring");
    CHECK (lua_push_zmsg_info (L, request ("a.b", NULL, FLUX_MSGTYPE_EVENT)) == 1);
    CHECK (lua_gettop (L) == 2 && lua_pcall (L, 1, 1, 0) == 0);
    CHECK (strcmp (lua_tostring (L, 1), "flux event a.b") == 0);
    CHECK (lua_push_zmsg_info (L, NULL) == 2 && lua_gettop (L) == 3);
    CHECK (lua_push_flux_handle_external (L, NULL) == 2 && lua_gettop (L) == 5);
    errno = EPERM;
    CHECK (l_pushresult (L, -1) == 2 && lua_gettop (L) == 7);
    CHECK (strcmp (lua_tostring (L, 1), "flux event a.b") == 0);
    lua_close (L);
}

static void error_responses (void)
{
    lua_State *L = new_state ();
    struct zmsg_info *zi = request ("a.b", NULL, FLUX_MSGTYPE_REQUEST);

    CHECK (zmsg_info_register_resp_error_cb (zi, respond_error, (void *)"arg") == 0);
    set_message (L, zi);
    CHECK (holds (L,
                  "local a, b, c, d = m:respond_error (71, 'two numbers')\n"
                  "return a == 'arg' and b == 71 and c == 'two numbers' and d == nil"));
    CHECK (holds (L,
                  "local a, b, c = m:respond_error (2)\n"
                  "return a == 'arg' and b == 2 and c == nil"));
    CHECK (holds (L,
                  "local n, e = m:respond_error (2, 'a\\0b')\n"
                  "return n == nil and e == 'Invalid argument'"));
    CHECK (holds (L, "return not pcall (m.respond_error, m, 0)"));
    CHECK (holds (L, "return not pcall (m.respond_error, m)"));
    CHECK (holds (L,
                  "local n, e, errnum, detail = m:respond ()\n"
                  "return n == nil and detail:find 'zmsg_info_register_resp_cb'"));
    CHECK (zmsg_info_register_resp_error_cb (zi, respond_error, NULL) == 0);
    CHECK (holds (L,
                  "local n, e, errnum = m:respond_error (2)\n"
                  "return n == nil and e:find 'returned %-1' and errnum == 38"));
    CHECK (zmsg_info_register_resp_error_cb (zi, respond_error, (void *)"raise") == 0);
    CHECK (holds (L,
                  "local ok, e = pcall (m.respond_error, m, 2)\n"
                  "return not ok and e:find 'raised by the callback'"));
    CHECK (zmsg_info_register_resp_error_cb (zi, NULL, NULL) == 0);
    CHECK (holds (L,
                  "local n, e = m:respond_error (2)\n"
                  "return n == nil and e:find 'no callback'"));
    errno = 0;
    CHECK (zmsg_info_register_resp_error_cb (NULL, respond_error, NULL) == -1);
    CHECK (errno == EINVAL);
    lua_close (L);
}

/* zmsg_info_create() accepts a const message, which message handlers have, a
 * message, and the address of one.
 */
static void const_messages (void)
{
    lua_State *L = new_state ();
    flux_msg_t *msg = flux_request_encode ("some.topic", "{\"n\":7}");
    const flux_msg_t *seen = msg;
    struct zmsg_info *(*create) (flux_msg_t **, int) = zmsg_info_create;

    set_message (L, zmsg_info_create (seen, FLUX_MSGTYPE_REQUEST));
    CHECK (holds (L, "return m.tag == 'some.topic' and m.data.n == 7"));
    set_message (L, zmsg_info_create (msg, FLUX_MSGTYPE_REQUEST));
    CHECK (holds (L, "return m.data.n == 7"));
    set_message (L, zmsg_info_create (&msg, FLUX_MSGTYPE_REQUEST));
    CHECK (holds (L, "return m.data.n == 7"));
    set_message (L, create (&msg, FLUX_MSGTYPE_REQUEST));
    CHECK (holds (L, "return m.data.n == 7"));
    set_message (L, zmsg_info_create_from (seen, FLUX_MSGTYPE_EVENT));
    CHECK (holds (L, "return m.type == 'event' and m.data.n == 7"));
    errno = 0;
    CHECK (zmsg_info_create_from (NULL, FLUX_MSGTYPE_EVENT) == NULL && errno == EINVAL);
    flux_msg_destroy (msg);
    lua_close (L);
}

static const struct part parts[] = {
    { "identity", identity },
    { "reactor", reactor },
    { "hooks", hooks },
    { "puts_are_kept", puts_are_kept },
    { "messages", messages },
    { "error_responses", error_responses },
    { "const_messages", const_messages },
    { NULL, NULL },
};

int main (int argc, char **argv)
{
    return run_parts (parts, argc, argv);
}
