/* For the programs in this folder: makes Lua states and runs chunks in them. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stdio.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

static inline lua_State *new_state (void)
{
    lua_State *L = luaL_newstate ();

    luaL_openlibs (L);
    return L;
}

/* Whether the chunk runs and returns true. */
static inline int holds (lua_State *L, const char *chunk)
{
    int top = lua_gettop (L);
    int is_true = 0;

    if (luaL_loadstring (L, chunk) || lua_pcall (L, 0, 1, 0))
        fprintf (stderr, "%s\n", lua_tostring (L, -1));
    else
        is_true = lua_toboolean (L, -1);
    lua_settop (L, top);
    return is_true;
}

/* Pushes the value that the chunk returns. */
static inline void push_chunk (lua_State *L, const char *chunk)
{
    if (luaL_loadstring (L, chunk) || lua_pcall (L, 0, 1, 0))
        fprintf (stderr, "%s\n", lua_tostring (L, -1));
}

#endif /* !SCRIPT_H */
