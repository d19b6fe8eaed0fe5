/* Helpers for returning results from functions written in C. Each may raise
 * Lua's memory error.
 */
#ifndef HAVE_LUTIL_H
#define HAVE_LUTIL_H

#include <lua.h>
#include <lauxlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* luaL_setfuncs() for Lua 5.1, which lacks it. LuaJIT has it, and defines
 * luaL_newlib, but its LUA_VERSION_NUM is 501, too.
 */
#if (!defined LUA_VERSION_NUM || LUA_VERSION_NUM == 501) && !defined luaL_newlib
#define NEED_LUAL_SETFUNCS 1
void luaL_setfuncs (lua_State *L, const luaL_Reg *l, int nup);
#endif

/* Push nil and a text, formatted like that of printf(), and return 2. */
int lua_pusherror (lua_State *L, char *fmt, ...);

/* Push `rc` and return 1. If `rc` is negative, push nil and the text of errno,
 * and return 2.
 */
int l_pushresult (lua_State *L, int rc);

/* Call string.format with the values from `index` to the top of the stack,
 * replace them by its result, and return 1. On failure, push nil and an error
 * text, and return -1.
 */
int l_format_args (lua_State *L, int index);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_LUTIL_H */
