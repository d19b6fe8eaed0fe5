/* What functions written in C return to Lua. Any of these may raise Lua's
 * memory error.
 */
#ifndef HAVE_LUTIL_H
#define HAVE_LUTIL_H

#include <lua.h>
#include <lauxlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* LuaJIT, which calls itself 5.1, has its own, and luaL_newlib by it. */
#if (!defined LUA_VERSION_NUM || LUA_VERSION_NUM == 501) && !defined luaL_newlib
#define NEED_LUAL_SETFUNCS 1
void luaL_setfuncs (lua_State *L, const luaL_Reg *l, int nup);
#endif

/* Push nil and the text that printf() makes of the arguments; returns 2. */
int lua_pusherror (lua_State *L, char *fmt, ...);

/* Push `rc` and return 1; when it is negative, push nil and errno's text, and
 * return 2.
 */
int l_pushresult (lua_State *L, int rc);

/* Replace what the stack has from `index` on by what string.format makes of
 * it, and return 1; -1, with nil and an error text pushed, when it can not.
 */
int l_format_args (lua_State *L, int index);

#ifdef __cplusplus
}
#endif

#endif /* !HAVE_LUTIL_H */
