/* Lua's memory, which is refused when it is told to be, and a run of a function
 * for each of its allocations: it ends with Lua's memory error, or does all it
 * should, and the state goes on.
 */
#ifndef SCARCE_H
#define SCARCE_H

#include <malloc.h>
#include <stdlib.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "check.h"

/* Which allocations are refused. */
enum refuse {
    /* One. From 5.2 on Lua collects garbage then, and asks again, and gets it. */
    REFUSE_ONE_REQUEST,
    /* One, and the same request once more: it fails for good. */
    REFUSE_ONE,
    /* One, and all after it. */
    REFUSE_ALL_FROM,
    REFUSE_END,
};

struct purse {
    enum refuse refuse;
    /* The allocation from which on, counted from 1; nothing is refused for 0. */
    long n;
    long requests;
    long refused;
    /* What was refused last: the block, and the size that it should have had. */
    int is_last;
    void *block;
    size_t size;
};

/* Faults of Lua's own: tests/sweep/purse.rs has what they are. */
static inline int is_spared (size_t size)
{
#if defined LUAJIT_VERSION
    return size == 48;
#elif LUA_VERSION_NUM == 502
    return size == 40 || size == 80;
#else
    (void)size;
    return 0;
#endif
}

static inline int is_refused (struct purse *purse, void *block, size_t size)
{
    int is_again = purse->is_last && purse->block == block && purse->size == size;
    int is_nth;

    if (purse->n == 0 || (block == NULL && is_spared (size)))
        return 0;
    is_nth = ++purse->requests == purse->n;
    /* Asked again it is refused once more, and no third time. */
    purse->is_last = is_nth;
    purse->block = block;
    purse->size = size;
    if (!is_nth
        && !(purse->refuse == REFUSE_ONE && is_again)
        && !(purse->refuse == REFUSE_ALL_FROM && purse->requests > purse->n))
        return 0;
    purse->refused++;
    return 1;
}

static inline void *allocate (void *purse, void *block, size_t old_size, size_t size)
{
    if (size == 0) {
        free (block);
        return NULL;
    }
    if ((block == NULL || size > old_size) && is_refused (purse, block, size))
        return NULL;
    return realloc (block, size);
}

/* Exact where freed blocks are not kept back for each thread
 * (GLIBC_TUNABLES=glibc.malloc.tcache_count=0).
 */
static inline size_t bytes_in_use (void)
{
#if defined __GLIBC__ && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    return mallinfo2 ().uordblks;
#else
    return 0;
#endif
}

/* Call the function, which returns true, in a state of its own; returns how
 * many allocations were refused.
 */
static inline long call_refused (lua_CFunction function, enum refuse refuse, long n)
{
    struct purse purse = { .refuse = refuse };
    lua_State *L = lua_newstate (allocate, &purse
#if LUA_VERSION_NUM >= 505
                                 , 1
#endif
    );

    CHECK (L != NULL);
    if (L == NULL)
        return 0;
    luaL_openlibs (L);
    lua_pushcfunction (L, function);
    purse.n = n;
    if (lua_pcall (L, 0, 1, 0) != 0) {
        purse.n = 0;
        CHECK (purse.refused > 0);
        CHECK (strcmp (lua_tostring (L, -1), "not enough memory") == 0);
    }
    else
        CHECK (lua_toboolean (L, -1));
    purse.n = 0;
    /* What failed fails no more once there is memory. */
    lua_settop (L, 0);
    lua_pushcfunction (L, function);
    CHECK (lua_pcall (L, 0, 1, 0) == 0 && lua_toboolean (L, -1));
    lua_close (L);
    return purse.refused;
}

/* Have each allocation of the function's fail in turn, in each way, until it
 * needs no more; returns how many that were.
 */
static inline long short_of_memory (lua_CFunction function)
{
    enum refuse refuse;
    long tried = 0;
    long n;

    for (refuse = REFUSE_ONE_REQUEST; refuse < REFUSE_END; refuse++) {
        for (n = 1; failures == 0 && call_refused (function, refuse, n) > 0; n++)
            tried++;
    }
    return tried;
}

#endif /* !SCARCE_H */
