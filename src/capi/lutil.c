/* lua_pusherror(), as Rust can not define a function of variable arguments.
 * Nothing here is on the heap, so that a Lua error may jump over it.
 */
#include <stdarg.h>
#include <stdio.h>

/* As every Lua has them; its headers need not be there. */
typedef struct lua_State lua_State;
extern void lua_pushnil (lua_State *L);
extern const char *lua_pushfstring (lua_State *L, const char *fmt, ...);

/* What does not fit this is cut. */
enum { MAX_TEXT = 32 * 1024 };

/* Exported as lua_pusherror(): see build.rs. */
int flux_lua_pusherror (lua_State *L, char *fmt, ...)
{
    char text[MAX_TEXT];
    va_list ap;
    int length;

    va_start (ap, fmt);
    length = vsnprintf (text, sizeof (text), fmt, ap);
    va_end (ap);
    lua_pushnil (L);
    lua_pushfstring (L, "%s", length < 0 ? "vsnprintf error" : text);
    return 2;
}
