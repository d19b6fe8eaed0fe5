/* lua_pusherror(), as Rust can not define a function of variable arguments.
 * Nothing here is on the heap, so that a Lua error may jump over it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct lua_State lua_State;

/* Set by lutil.rs when the shared object is loaded. */
__attribute__ ((visibility ("hidden")))
int (*flux_lua_push_failure) (lua_State *L,
                              const char *text,
                              size_t length,
                              const void *caller);

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
    return flux_lua_push_failure (L,
                                  text,
                                  strlen (text),
                                  __builtin_return_address (0));
}
