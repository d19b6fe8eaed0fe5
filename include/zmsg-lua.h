/* Messages that C code makes for Lua scripts, and callbacks for the responses
 * of scripts. Use a message only on the thread that runs its lua_State.
 */
#ifndef HAVE_ZMSG_LUA_H
#define HAVE_ZMSG_LUA_H

#include <lua.h>
#include <jansson.h>
#include <flux/core.h>

#ifdef __cplusplus
extern "C" {
#endif

struct zmsg_info;

/* Called by `msg:respond ([table])`. `json_str` is the table as JSON text, or
 * "{}" if the script passed no table. It is never NULL, and valid during the
 * call. The callback pushes the results of `msg:respond` and returns their
 * number, like a lua_CFunction, and may raise an error. If it returns -1,
 * `msg:respond` returns nil and an error text.
 */
typedef int (*zi_resp_f) (lua_State *L,
                          struct zmsg_info *zi,
                          const char *json_str,
                          void *arg);

/* Called by `msg:respond_error (errnum [, text])`. `errnum` is greater than 0.
 * `errstr` is NULL if the script passed no text, and is valid during the call.
 * Both can be passed on to flux_respond_error(). The callback pushes the
 * results of `msg:respond_error`, and returns as described for zi_resp_f.
 */
typedef int (*zi_resp_error_f) (lua_State *L,
                                struct zmsg_info *zi,
                                int errnum,
                                const char *errstr,
                                void *arg);

/* Copy the message that `*msg` points to. Scripts see a message of type
 * `type`, one of FLUX_MSGTYPE_*. The caller keeps the original, and passes the
 * copy to Lua with lua_push_zmsg_info(). Returns NULL with errno set: EPROTO
 * if the message has no topic, EINVAL if it is NULL, ENOMEM.
 *
 * The first argument may also be a `const flux_msg_t *`, which is what a
 * flux_msg_handler_f gets:
 *     zmsg_info_create (msg, FLUX_MSGTYPE_REQUEST)
 * calls zmsg_info_create_from().
 */
struct zmsg_info *zmsg_info_create (flux_msg_t **msg, int type);

/* The same for a `const flux_msg_t *`. */
struct zmsg_info *zmsg_info_create_from (const flux_msg_t *msg, int type);

/* Set the callback for `msg:respond`, and the `arg` that it gets. If none is
 * set, or NULL, `msg:respond` returns nil and an error text. Returns 0, or -1
 * with errno set to EINVAL if `zi` is NULL.
 */
int zmsg_info_register_resp_cb (struct zmsg_info *zi, zi_resp_f f, void *arg);

/* The same for `msg:respond_error`. */
int zmsg_info_register_resp_error_cb (struct zmsg_info *zi,
                                      zi_resp_error_f f,
                                      void *arg);

/* Return the address of the pointer to the copy. The copy belongs to `zi`: do
 * not change or destroy it.
 */
flux_msg_t **zmsg_info_zmsg (struct zmsg_info *zi);

/* Push the metatable of messages and return 1. */
int l_zmsg_info_register_metatable (lua_State *L);

/* Push the message and return 1. Lua owns `zi` from then on, and frees it when
 * the userdata is collected. If `zi` is NULL, push nil and an error text, and
 * return 2. May raise Lua's memory error; `zi` is freed then, too.
 */
int lua_push_zmsg_info (lua_State *L, struct zmsg_info *zi);

#ifdef __cplusplus
}

inline struct zmsg_info *zmsg_info_create (const flux_msg_t *msg, int type)
{
    return zmsg_info_create_from (msg, type);
}
#elif defined __GNUC__ || (defined __STDC_VERSION__ && __STDC_VERSION__ >= 201112L)
#ifndef __GNUC__
#define FLUX_LUA_EXTENSION
#else
/* No warning about _Generic if the program is compiled for an older C
 * standard.
 */
#define FLUX_LUA_EXTENSION __extension__
#endif
#define zmsg_info_create(msg, type) \
    (FLUX_LUA_EXTENSION _Generic ((msg), \
        flux_msg_t **: zmsg_info_create, \
        default: zmsg_info_create_from) ((msg), (type)))
#endif

#endif /* !HAVE_ZMSG_LUA_H */
