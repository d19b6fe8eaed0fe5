/* An allocator for Lua that can refuse allocations, and functions that make each
 * allocation of a Lua function fail in turn. A run must end with Lua's memory
 * error or succeed, and leave the state usable.
 */
#ifndef OUT_OF_MEMORY_H
#define OUT_OF_MEMORY_H

#include <malloc.h>
#include <stdlib.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#include "check.h"

/* Which requests are refused. */
enum refuse {
    /* The nth request. Lua 5.2 and later then collect garbage and repeat the
     * request, which succeeds.
     */
    REFUSE_ONE_REQUEST,
    /* The nth request and its repetition, so that the allocation fails. */
    REFUSE_ONE,
    /* The nth request and all later ones. */
    REFUSE_ALL_FROM,
    REFUSE_END,
};

struct allocator {
    enum refuse refuse;
    /* The number of the request, counted from 1; 0 refuses none. */
    long n;
    long requests;
    long refused;
    /* Whether the last request was the nth; its block, and the requested size. */
    int is_last;
    void *block;
    size_t size;
};

/* Whether blocks of this size are never refused, because of errors in Lua itself
 * that tests/sweep/allocator.rs explains.
 */
static inline int is_never_refused (size_t size)
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

/* Counts a request and decides whether it is refused. */
static inline int is_refused (struct allocator *allocator, void *block, size_t size)
{
    int is_again = allocator->is_last && allocator->block == block && allocator->size == size;
    int is_nth;

    if (allocator->n == 0 || (block == NULL && is_never_refused (size)))
        return 0;
    is_nth = ++allocator->requests == allocator->n;
    /* Only the first repetition of the request is refused too. */
    allocator->is_last = is_nth;
    allocator->block = block;
    allocator->size = size;
    if (!is_nth
        && !(allocator->refuse == REFUSE_ONE && is_again)
        && !(allocator->refuse == REFUSE_ALL_FROM && allocator->requests > allocator->n))
        return 0;
    allocator->refused++;
    return 1;
}

static inline void *allocate (void *allocator, void *block, size_t old_size, size_t size)
{
    if (size == 0) {
        free (block);
        return NULL;
    }
    if ((block == NULL || size > old_size) && is_refused (allocator, block, size))
        return NULL;
    return realloc (block, size);
}

/* The memory that malloc() has given out. Exact only without the cache of freed
 * blocks (GLIBC_TUNABLES=glibc.malloc.tcache_count=0).
 */
static inline size_t bytes_in_use (void)
{
#if defined __GLIBC__ && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    return mallinfo2 ().uordblks;
#else
    return 0;
#endif
}

/* Calls the function, which must return true, in a new state. Returns how many
 * requests were refused.
 */
static inline long call_refused (lua_CFunction function, enum refuse refuse, long n)
{
    struct allocator allocator = { .refuse = refuse };
    lua_State *L = lua_newstate (allocate, &allocator
#if LUA_VERSION_NUM >= 505
                                 , 1
#endif
    );

    CHECK (L != NULL);
    if (L == NULL)
        return 0;
    luaL_openlibs (L);
    lua_pushcfunction (L, function);
    allocator.n = n;
    if (lua_pcall (L, 0, 1, 0) != 0) {
        allocator.n = 0;
        CHECK (allocator.refused > 0);
        CHECK (strcmp (lua_tostring (L, -1), "not enough memory") == 0);
    }
    else
        CHECK (lua_toboolean (L, -1));
    allocator.n = 0;
    /* With enough memory the function succeeds in the same state. */
    lua_settop (L, 0);
    lua_pushcfunction (L, function);
    CHECK (lua_pcall (L, 0, 1, 0) == 0 && lua_toboolean (L, -1));
    lua_close (L);
    return allocator.refused;
}

/* Makes each allocation of the function fail in turn, in each of the ways of
 * `enum refuse`. Returns how many failed.
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

#endif /* !OUT_OF_MEMORY_H */
