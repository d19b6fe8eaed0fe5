/* Conversions between Lua values and JSON, as jansson objects or as text. Use
 * the objects on the thread that runs `L`, and do not change one during a
 * call.
 */
#ifndef HAVE_JANSSON_LUA
#define HAVE_JANSSON_LUA

#include <lua.h>
#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Push flux.NULL, the Lua value that is encoded as JSON's null: a table cannot
 * contain nil. (The functions below decode null to nil.)
 */
void lua_push_json_null (lua_State *L);

/* Return 1 if the value at `index` is flux.NULL, else 0. */
int lua_is_json_null (lua_State *L, int index);

/* Push the value of `o` and return 1. If `o` is NULL, push nil. The caller
 * keeps its reference on `o`. On failure, push nothing and return -1, with
 * errno set: ELOOP if `o` is nested deeper than 1000 levels, ENOSYS if the
 * process has no libjansson. May raise Lua's memory error.
 */
int json_object_to_lua (lua_State *L, json_t *o);

/* Push the value of a JSON text and return 1. If the text is not JSON, push
 * nothing and return -1, with errno set to EINVAL. May raise Lua's memory
 * error.
 */
int json_object_string_to_lua (lua_State *L, const char *json_str);

/* Convert the Lua value at `index` to JSON, store a new reference in `*v`, and
 * return 0. The caller drops the reference with json_decref(). On failure,
 * leave `*v` as it was and return -1, with errno set: EINVAL for nil, for no
 * value and for values that JSON does not have, ELOOP if the value is nested
 * deeper than 1000 levels, ENOMEM, ENOSYS if the process has no libjansson.
 */
int lua_value_to_json (lua_State *L, int index, json_t **v);

/* Convert the Lua value at `index` to compact JSON text, store it in
 * `*json_str`, and return 0. The caller frees the text with free(). On
 * failure, leave `*json_str` as it was and return -1, with errno set to EINVAL
 * (also if the value is nested too deeply) or ENOMEM. Needs no libjansson.
 */
int lua_value_to_json_string (lua_State *L, int index, char **json_str);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_JANSSON_LUA */
