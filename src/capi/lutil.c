/* lua_pusherror(), as Rust can not define a function of variable arguments.
 * Nothing here is on the heap, so that a Lua error may jump over it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* As every Lua has them; its headers need not be there. (Some return the
 * string, which is not looked at.)
 */
typedef struct lua_State lua_State;
extern void lua_pushnil (lua_State *L);
extern void lua_pushlstring (lua_State *L, const char *s, size_t len);

/* What does not fit this is cut. */
enum { MAX_TEXT = 32 * 1024 };

/* Exported as lua_pusherror(): see build.rs. */
int flux_lua_pusherror (lua_State *L, char *fmt, ...)
{
    char text[MAX_TEXT];
    va_list ap;

    va_start (ap, fmt);
    if (vsnprintf (text, sizeof (text), fmt, ap) < 0)
        strcpy (text, "vsnprintf error");
    va_end (ap);
    lua_pushnil (L);
    lua_pushlstring (L, text, strlen (text));
    return 2;
}
