/* Lua values and JSON: as jansson's objects, and as text. */
#ifndef HAVE_JANSSON_LUA
#define HAVE_JANSSON_LUA

#include <lua.h>
#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

/* JSON's null as a Lua value (flux.NULL), which nil can not stand for in a
 * table. A null that is decoded becomes nil.
 */
void lua_push_json_null (lua_State *L);
int lua_is_json_null (lua_State *L, int index);

/* Push the value of `o`, which stays the caller's (nil for NULL), and return 1.
 * The stack is as it was, and -1 is returned, where `o` is nested deeper than
 * 1000 (errno ELOOP), or no libjansson is in this process (ENOSYS). May raise
 * Lua's memory error; so may the next one.
 */
int json_object_to_lua (lua_State *L, json_t *o);

/* Push the value of a JSON text and return 1; -1, with nothing pushed, if it
 * is none (errno EINVAL).
 */
int json_object_string_to_lua (lua_State *L, const char *json_str);

/* Make `*v` a new reference on the value at `index` and return 0. It is left
 * as it was, and -1 is returned, for none, nil and what can not be JSON (errno
 * EINVAL), and where no libjansson is in this process (ENOSYS).
 */
int lua_value_to_json (lua_State *L, int index, json_t **v);

/* The same as compact JSON text, for the caller to free(). */
int lua_value_to_json_string (lua_State *L, int index, char **json_str);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_JANSSON_LUA */
