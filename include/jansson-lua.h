/* Conversion between Lua values and JSON, as jansson objects or as text. */
#ifndef HAVE_JANSSON_LUA
#define HAVE_JANSSON_LUA

#include <lua.h>
#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Push the Lua value for JSON's null (flux.NULL): a table cannot hold nil. The
 * functions below decode null to nil.
 */
void lua_push_json_null (lua_State *L);

/* Return 1 if the value at `index` is flux.NULL, else 0. */
int lua_is_json_null (lua_State *L, int index);

/* Push the value of `o`, or nil if `o` is NULL, and return 1. `o` stays the
 * caller's. On failure, push nothing and return -1, with errno set: ELOOP if
 * `o` is nested deeper than 1000 levels, ENOSYS if the process has no
 * libjansson. May raise Lua's memory error.
 */
int json_object_to_lua (lua_State *L, json_t *o);

/* Push the value of a JSON text and return 1. If it is not JSON, push nothing
 * and return -1, with errno set to EINVAL. May raise Lua's memory error.
 */
int json_object_string_to_lua (lua_State *L, const char *json_str);

/* Store a new reference on the JSON value of the Lua value at `index` in `*v`,
 * and return 0. On failure, leave `*v` as it was and return -1, with errno set:
 * EINVAL for nil, no value, and values that JSON cannot hold, ELOOP if it is
 * nested deeper than 1000 levels, ENOSYS if the process has no libjansson.
 */
int lua_value_to_json (lua_State *L, int index, json_t **v);

/* The same as compact JSON text, which the caller must free(). It needs no
 * libjansson, and nesting that is too deep is EINVAL.
 */
int lua_value_to_json_string (lua_State *L, int index, char **json_str);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_JANSSON_LUA */
