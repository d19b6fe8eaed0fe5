/* A program that embeds Lua and links the module. It tests the parts of the C API
 * that need neither Flux nor its headers.
 */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "out_of_memory.h"
#include "script.h"
#include "flux-lua.h"
#include "jansson-lua.h"
#include "lutil.h"

static void scripts (void)
{
    lua_State *L = new_state ();

    lua_pushcfunction (L, luaopen_flux);
    CHECK (lua_pcall (L, 0, 1, 0) == 0);
    lua_setglobal (L, "flux");
    CHECK (holds (L,
                  "local f = assert (flux.new 'embed://?size=4')\n"
                  "assert (f:kvs_put ('a.b', { 1, 2 }))\n"
                  "assert (f:kvs_commit ())\n"
                  "return f.size == 4 and f:kvs_get ('a.b')[2] == 2"));
    lua_close (L);
}

/* Only an open handle of the libflux back end has a flux_t. */
static void no_flux_handle (void)
{
    lua_State *L = new_state ();
    int index;

    /* The module is not loaded yet. */
    memset (lua_newuserdata (L, 64), 0, 64);
    CHECK (lua_get_flux_handle (L, 1) == NULL);
    lua_settop (L, 0);

    lua_pushcfunction (L, luaopen_flux);
    CHECK (lua_pcall (L, 0, 1, 0) == 0);
    lua_setglobal (L, "flux");
    push_chunk (L, "return flux.new 'embed://'");
    push_chunk (L, "return flux.new 'loop://'");
    push_chunk (L, "local f = flux.new 'embed://' f:close () return f");
    push_chunk (L, "return io.stdout");
    push_chunk (L, "return {}");
    lua_pushlightuserdata (L, L);
    lua_pushlightuserdata (L, NULL);
    lua_pushnil (L);
    lua_pushnumber (L, 1);
    for (index = 1; index <= 10; index++)
        CHECK (lua_get_flux_handle (L, index) == NULL);
    CHECK (lua_get_flux_handle (L, -1) == NULL);
    CHECK (lua_get_flux_handle (L, LUA_REGISTRYINDEX) == NULL);
    CHECK (lua_gettop (L) == 9);
    lua_close (L);
}

/* Whether a value is encoded as this JSON text. */
static int encodes_as (lua_State *L, int index, const char *expected)
{
    char *text = NULL;
    int is_same;

    if (lua_value_to_json_string (L, index, &text) != 0)
        return 0;
    is_same = strcmp (text, expected) == 0;
    if (!is_same)
        fprintf (stderr, "got %s, expected %s\n", text, expected);
    free (text);
    return is_same;
}

static void texts (void)
{
    lua_State *L = new_state ();
    char *text = (char *)"unchanged";
    int top;

    CHECK (json_object_string_to_lua (L, "{\"a\":[1,2.5,\"x\\u0000y\",null],\"b\":[]}") == 1);
    CHECK (lua_gettop (L) == 1);
    lua_setglobal (L, "t");
    CHECK (holds (L, "return t.a[1] == 1 and t.a[2] == 2.5 and t.a[3] == 'x\\0y' and t.a[4] == nil"));
    lua_getglobal (L, "t");
    lua_getfield (L, -1, "b");
    CHECK (encodes_as (L, -1, "[]"));
    lua_pop (L, 2);

    CHECK (json_object_string_to_lua (L, "null") == 1 && lua_isnil (L, -1));
    CHECK (json_object_string_to_lua (L, "\"text alone\"") == 1);
    CHECK (encodes_as (L, -1, "\"text alone\""));
    lua_settop (L, 0);
    errno = 0;
    CHECK (json_object_string_to_lua (L, "{\"a\":") == -1 && errno == EINVAL);
    CHECK (json_object_string_to_lua (L, "1 2") == -1);
    CHECK (json_object_string_to_lua (L, NULL) == -1);
    CHECK (lua_gettop (L) == 0);

    push_chunk (L, "return { one = { 1, 2, { x = true } } }");
    CHECK (encodes_as (L, -1, "{\"one\":[1,2,{\"x\":true}]}"));
    CHECK (encodes_as (L, 1, "{\"one\":[1,2,{\"x\":true}]}"));
    lua_push_json_null (L);
    CHECK (lua_is_json_null (L, -1) && !lua_is_json_null (L, 1));
    CHECK (encodes_as (L, -1, "null"));
    lua_settop (L, 0);

    lua_pushnil (L);
    push_chunk (L, "return print");
    push_chunk (L, "return { deep = { 0/0 } }");
    push_chunk (L, "return '\\255'");
    push_chunk (L, "local t = {} t.t = t return t");
    top = lua_gettop (L);
    for (; lua_gettop (L) > 0; lua_settop (L, --top)) {
        errno = 0;
        CHECK (lua_value_to_json_string (L, -1, &text) == -1 && errno == EINVAL);
    }
    CHECK (lua_value_to_json_string (L, 1, &text) == -1);
    CHECK (strcmp (text, "unchanged") == 0);
    lua_pushboolean (L, 1);
    errno = 0;
    CHECK (lua_value_to_json_string (L, 1, NULL) == -1 && errno == EINVAL);
    lua_close (L);
}

#ifdef WITHOUT_JANSSON

static void objects (void)
{
    lua_State *L = new_state ();
    json_t *value = NULL;
    json_t some;

    memset (&some, 0, sizeof (some));
    lua_pushboolean (L, 1);
    errno = 0;
    CHECK (lua_value_to_json (L, 1, &value) == -1 && errno == ENOSYS);
    errno = 0;
    CHECK (json_object_to_lua (L, &some) == -1 && errno == ENOSYS);
    CHECK (value == NULL && lua_gettop (L) == 1);
    lua_close (L);
}

#else

/* Whether a chunk's value becomes this JSON, and that JSON becomes the same
 * value.
 */
static int round_trip (lua_State *L, const char *chunk, const char *expected)
{
    json_t *wanted = json_loads (expected, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *made = NULL;
    json_t *again = NULL;
    int is_same;

    push_chunk (L, chunk);
    if (lua_value_to_json (L, -1, &made) != 0)
        return 0;
    is_same = json_equal (made, wanted);
    is_same &= json_object_to_lua (L, made) == 1;
    is_same &= lua_value_to_json (L, -1, &again) == 0 && json_equal (again, made);
    lua_pop (L, 2);
    json_decref (again);
    json_decref (made);
    json_decref (wanted);
    return is_same;
}

static void objects (void)
{
    lua_State *L = new_state ();
    json_t *value = NULL;
    json_t *held;
    int i;

    CHECK (round_trip (L, "return true", "true"));
    CHECK (round_trip (L, "return false", "false"));
    CHECK (round_trip (L, "return 42", "42"));
    CHECK (round_trip (L, "return -2^53 + 1", "-9007199254740991"));
    CHECK (round_trip (L, "return 0.1", "0.1"));
    CHECK (round_trip (L, "return 2^60", "1152921504606846976.0"));
    CHECK (round_trip (L, "return 'tex\\0t'", "\"tex\\u0000t\""));
    CHECK (round_trip (L, "return {}", "{}"));
    CHECK (round_trip (L, "return { 1, { 2 }, 'x' }", "[1,[2],\"x\"]"));
    CHECK (round_trip (L, "return { a = { b = { c = 1 } } }", "{\"a\":{\"b\":{\"c\":1}}}"));
    CHECK (round_trip (L, "return { [1] = 1, [3] = 3 }", "{\"1\":1,\"3\":3}"));

    /* Jansson 2.14 and later support names with a NUL. */
    push_chunk (L, "return { ['a\\0b'] = 1 }");
#if JANSSON_VERSION_HEX >= 0x020e00
    CHECK (lua_value_to_json (L, -1, &value) == 0);
    CHECK (json_integer_value (json_object_getn (value, "a\0b", 3)) == 1);
    CHECK (json_object_to_lua (L, value) == 1);
    json_decref (value);
    lua_setglobal (L, "t");
    CHECK (holds (L, "return t['a\\0b'] == 1"));
#else
    CHECK (lua_value_to_json (L, -1, &value) == -1 && errno == EINVAL);
#endif

    /* Lua's NULL becomes JSON null, but JSON null becomes nil. */
    lua_push_json_null (L);
    CHECK (lua_value_to_json (L, -1, &value) == 0 && json_is_null (value));
    CHECK (json_object_to_lua (L, value) == 1 && lua_isnil (L, -1));
    CHECK (json_object_to_lua (L, NULL) == 1 && lua_isnil (L, -1));
    lua_settop (L, 0);
    value = json_pack ("{s:n, s:[n,i], s:[]}", "gone", "holes", 7, "empty");
    CHECK (json_object_to_lua (L, value) == 1);
    json_decref (value);
    lua_setglobal (L, "t");
    CHECK (holds (L, "return t.gone == nil and t.holes[1] == nil and t.holes[2] == 7"));
    CHECK (round_trip (L, "return t.empty", "[]"));

    /* The caller owns the only reference. */
    push_chunk (L, "return { 'x' }");
    CHECK (lua_value_to_json (L, -1, &value) == 0 && value->refcount == 1);
    held = json_array_get (value, 0);
    CHECK (held->refcount == 1);
    CHECK (json_object_to_lua (L, value) == 1 && value->refcount == 1);
    json_decref (value);
    lua_settop (L, 0);

    value = NULL;
    lua_pushnil (L);
    CHECK (lua_value_to_json (L, 1, &value) == -1);
    CHECK (lua_value_to_json (L, 2, &value) == -1);
    push_chunk (L, "return { 1, 2, { x = print } }");
    CHECK (lua_value_to_json (L, -1, &value) == -1 && errno == EINVAL);
    push_chunk (L, "return { [1] = 'number', ['1'] = 'text' }");
    CHECK (lua_value_to_json (L, -1, &value) == -1 && errno == EINVAL);
    push_chunk (L, "local t = {} t.t = t return t");
    CHECK (lua_value_to_json (L, -1, &value) == -1 && errno == ELOOP);
    CHECK (value == NULL);
    lua_settop (L, 0);

    value = json_array ();
    for (i = 1; i < 1000; i++)
        value = json_pack ("[o]", value);
    CHECK (json_object_to_lua (L, value) == 1);
    lua_settop (L, 0);
    value = json_pack ("[o]", value);
    CHECK (json_object_to_lua (L, value) == -1 && errno == ELOOP);
    CHECK (lua_gettop (L) == 0);
    json_decref (value);
    lua_close (L);
}

#endif /* !WITHOUT_JANSSON */

static int fail (lua_State *L)
{
    return lua_pusherror (L, (char *)"%s: %d, %.2f, %c%%, %ld", "text", 42, 1.5, 'x', -7L);
}

static int fail_at_length (lua_State *L)
{
    return lua_pusherror (L, (char *)"%s", lua_tostring (L, 1));
}

static int result (lua_State *L)
{
    errno = ENOENT;
    return l_pushresult (L, (int)lua_tointeger (L, 1));
}

static int format (lua_State *L)
{
    return l_format_args (L, 2) < 0 ? 2 : 1;
}

static int twice (lua_State *L)
{
    lua_pushnumber (L, 2 * lua_tonumber (L, lua_upvalueindex (1)));
    return 1;
}

static const struct luaL_Reg functions[] = {
    { "fail", fail },
    { "fail_at_length", fail_at_length },
    { "result", result },
    { "format", format },
    { NULL, NULL },
};

static const struct luaL_Reg closures[] = {
    { "twice", twice },
    { NULL, NULL },
};

static void helpers (void)
{
    lua_State *L = new_state ();

    lua_newtable (L);
    luaL_setfuncs (L, functions, 0);
    lua_pushnumber (L, 21);
    luaL_setfuncs (L, closures, 1);
    CHECK (lua_gettop (L) == 1);
    lua_setglobal (L, "c");
    CHECK (holds (L, "return c.twice () == 42"));
    CHECK (holds (L,
                  "local n, e, none = c.fail ()\n"
                  "return n == nil and e == 'text: 42, 1.50, x%, -7' and none == nil"));
    CHECK (holds (L,
                  "local long = ('long '):rep (2000)\n"
                  "local n, e = c.fail_at_length (long)\n"
                  "return n == nil and e == long"));
    CHECK (holds (L, "return c.result (3) == 3 and select ('#', c.result (0)) == 1"));
    CHECK (holds (L,
                  "local n, e = c.result (-1)\n"
                  "return n == nil and e == 'No such file or directory'"));
    CHECK (holds (L, "return c.format ('first', '%s-%03d', 'x', 7) == 'x-007'"));
    CHECK (holds (L, "return c.format ('first', 'plain') == 'plain'"));
    CHECK (holds (L, "return c.format ('first', 42) == '42'"));
    CHECK (holds (L,
                  "local n, e = c.format ('first', '%d', {})\n"
                  "return n == nil and e:find '^string.format: ' ~= nil"));
    CHECK (holds (L, "local n, e = c.format ('first') return n == nil and e ~= nil"));
    lua_close (L);
}

#ifndef WITHOUT_JANSSON

/* Made outside Lua calls: a Lua error would jump over the code that frees it. */
static json_t *document;

static void use_objects (lua_State *L)
{
    json_t *value = NULL;

    if (json_object_to_lua (L, document) != 1)
        luaL_error (L, "the object was not converted");
    if (lua_value_to_json (L, -1, &value) == 0)
        json_decref (value);
}

#endif /* !WITHOUT_JANSSON */

/* Calls every function of the C API that can allocate memory. */
static int everything (lua_State *L)
{
    const char *text = "{\"a\":[1,2,{\"b\":\"a \\u00e9scaped and rather long string\"}]}";
    char *made = NULL;

    if (json_object_string_to_lua (L, text) != 1)
        return luaL_error (L, "not decoded");
    if (lua_value_to_json_string (L, -1, &made) == 0)
        free (made);
#ifndef WITHOUT_JANSSON
    use_objects (L);
#endif
    lua_push_json_null (L);
    errno = EPERM;
    l_pushresult (L, -1);
    lua_pusherror (L, (char *)"%s", "an error text that no other string equals");
    lua_pushliteral (L, "%s and %s");
    lua_pushliteral (L, "one");
    lua_pushliteral (L, "the other");
    if (l_format_args (L, lua_gettop (L) - 2) != 1)
        return luaL_error (L, "not formatted");
    lua_pushboolean (L, 1);
    return 1;
}

static void memory (void)
{
    size_t before;

#ifndef WITHOUT_JANSSON
    document = json_loads ("{\"o\":[1,2.5,{\"p\":\"an object's text, which is long\"},null]}", 0, NULL);
    CHECK (document != NULL);
#endif
    /* The first call makes the allocations that are made once in a process. */
    CHECK (short_of_memory (everything) > 20);
    before = bytes_in_use ();
    CHECK (short_of_memory (everything) > 20);
    CHECK (bytes_in_use () == before);
#ifndef WITHOUT_JANSSON
    json_decref (document);
#endif
}

static const struct part parts[] = {
    { "scripts", scripts },
    { "no_flux_handle", no_flux_handle },
    { "texts", texts },
    { "objects", objects },
    { "helpers", helpers },
    { "memory", memory },
    { NULL, NULL },
};

int main (int argc, char **argv)
{
    return run_parts (parts, argc, argv);
}
