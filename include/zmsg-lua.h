/* Messages of C code in Lua, and how they are responded to. */
#ifndef HAVE_ZMSG_LUA_H
#define HAVE_ZMSG_LUA_H

#include <lua.h>
#include <jansson.h>
#include <flux/core.h>

#ifdef __cplusplus
extern "C" {
#endif

struct zmsg_info;

/* Called by `msg:respond (table)`. Returns how many of the values that it has
 * pushed are what the call returns; -1 makes that nil and an error text.
 */
typedef int (*zi_resp_f) (lua_State *L,
                          struct zmsg_info *zi,
                          const char *json_str,
                          void *arg);

/* A copy of `*msg`, which Lua is to see as a message of type `type`. NULL when
 * the message has no topic, or memory is short.
 */
struct zmsg_info *zmsg_info_create (flux_msg_t **msg, int type);

/* Without a callback the message can not be responded to. Returns 0. */
int zmsg_info_register_resp_cb (struct zmsg_info *zi, zi_resp_f f, void *arg);

/* The copy, which stays the zmsg_info's, and is not to be changed. */
flux_msg_t **zmsg_info_zmsg (struct zmsg_info *zi);

/* Push the metatable of messages and return 1. */
int l_zmsg_info_register_metatable (lua_State *L);

/* Push the message, which is Lua's from then on: it is freed when the userdata
 * is collected, or at once when it can not be pushed. Returns 1; for a null
 * `zi` 2, with nil and an error text pushed. May raise Lua's memory error.
 */
int lua_push_zmsg_info (lua_State *L, struct zmsg_info *zi);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_ZMSG_LUA_H */
