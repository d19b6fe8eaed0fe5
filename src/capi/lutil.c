/* lua_pusherror(): Rust cannot define a variadic function. The text is on the
 * stack, because a Lua error jumps over this function.
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

/* A longer text is cut. */
enum { MAX_TEXT = 32 * 1024 };

/* The linker exports this as lua_pusherror(): see build.rs. */
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
