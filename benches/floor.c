/* The C floor of the benchmark: the same operations in C on libflux, without Lua
 * and without encoding or decoding JSON. It reads commands from standard input and
 * answers them as cases.lua does. Build it with: cc -O2 floor.c -lflux-core */

#include <errno.h>
#include <flux/core.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char *PAYLOAD = "{\"seq\":\"1\",\"pad\":\"xxxxxx\"}";
static const char *TOPIC = "broker.ping";
enum { IN_FLIGHT = 64, KEYS = 50 };

static flux_t *handle;

static void require (bool condition, const char *what)
{
    if (condition)
        return;
    printf ("error %s: %s\n", what, strerror (errno));
    exit (1);
}

static flux_msg_t *receive (struct flux_match match)
{
    flux_msg_t *msg = flux_recv (handle, match, 0);
    require (msg != NULL, "flux_recv");
    return msg;
}

static void send_one (void)
{
    flux_msg_t *msg = flux_request_encode ("test", PAYLOAD);
    require (msg && flux_msg_set_nodeid (msg, 0) == 0, "flux_request_encode");
    require (flux_send (handle, msg, 0) == 0, "flux_send");
    flux_msg_destroy (msg);
}

static void loop_send (long count)
{
    for (long n = 0; n < count; n++) {
        send_one ();
        flux_msg_destroy (receive (FLUX_MATCH_ANY));
    }
}

static void loop_respond (long count)
{
    for (long n = 0; n < count; n++) {
        send_one ();
        flux_msg_t *msg = receive (FLUX_MATCH_REQUEST);
        require (flux_respond (handle, msg, PAYLOAD) == 0, "flux_respond");
        flux_msg_destroy (msg);
        flux_msg_destroy (receive (FLUX_MATCH_RESPONSE));
    }
}

static void handle_one (flux_t *h, flux_msg_handler_t *mh, const flux_msg_t *msg, void *arg)
{
    long *left = arg;
    (void)mh;
    (void)msg;
    if (--*left == 0)
        flux_reactor_stop (flux_get_reactor (h));
    else
        send_one ();
}

static void loop_handler (long count)
{
    struct flux_match match = FLUX_MATCH_REQUEST;
    match.topic_glob = "test";
    flux_msg_handler_t *mh = flux_msg_handler_create (handle, match, handle_one, &count);
    require (mh != NULL, "flux_msg_handler_create");
    flux_msg_handler_start (mh);
    send_one ();
    flux_reactor_run (flux_get_reactor (handle), 0);
    flux_msg_handler_destroy (mh);
    require (count == 0, "all messages are handled");
}

static void expire (flux_reactor_t *r, flux_watcher_t *w, int revents, void *arg)
{
    (void)r;
    (void)w;
    (void)revents;
    (void)arg;
}

static void loop_timer (long count)
{
    flux_reactor_t *r = flux_get_reactor (handle);
    for (long n = 0; n < count; n++) {
        flux_watcher_t *w = flux_timer_watcher_create (r, 100., 0., expire, NULL);
        require (w != NULL, "flux_timer_watcher_create");
        flux_watcher_start (w);
        flux_watcher_stop (w);
        flux_watcher_destroy (w);
    }
}

static void real_rpc (long count)
{
    for (long n = 0; n < count; n++) {
        flux_future_t *f = flux_rpc (handle, TOPIC, PAYLOAD, FLUX_NODEID_ANY, 0);
        const char *text;
        require (f && flux_rpc_get (f, &text) == 0, "flux_rpc");
        flux_future_destroy (f);
    }
}

static void send_ping (void)
{
    flux_msg_t *msg = flux_request_encode (TOPIC, PAYLOAD);
    uint32_t tag = flux_matchtag_alloc (handle);
    require (msg && tag != FLUX_MATCHTAG_NONE, "flux_matchtag_alloc");
    flux_msg_set_matchtag (msg, tag);
    require (flux_send (handle, msg, 0) == 0, "flux_send");
    flux_msg_destroy (msg);
}

static void receive_ping (void)
{
    flux_msg_t *msg = receive (FLUX_MATCH_RESPONSE);
    uint32_t tag;
    const char *text;
    require (flux_response_decode (msg, NULL, &text) == 0, "flux_response_decode");
    require (flux_msg_get_matchtag (msg, &tag) == 0, "flux_msg_get_matchtag");
    flux_matchtag_free (handle, tag);
    flux_msg_destroy (msg);
}

static void real_pipeline (long count)
{
    long sent = 0;
    for (long received = 0; received < count; received++) {
        for (; sent < count && sent - received < IN_FLIGHT; sent++)
            send_ping ();
        receive_ping ();
    }
}

static void real_event (long count)
{
    for (long n = 0; n < count; n++) {
        flux_msg_t *msg = flux_event_encode ("bench.floor", "{\"seq\":1}");
        require (msg && flux_send (handle, msg, 0) == 0, "flux_event_encode");
        flux_msg_destroy (msg);
        flux_msg_destroy (receive (FLUX_MATCH_EVENT));
    }
}

static const char *key (long n)
{
    static char text[32];
    snprintf (text, sizeof (text), "bench.k%ld", n % KEYS);
    return text;
}

static void real_put (long count)
{
    for (long n = 1; n <= count; n++) {
        char value[32];
        snprintf (value, sizeof (value), "%ld", n);
        flux_kvs_txn_t *txn = flux_kvs_txn_create ();
        require (txn && flux_kvs_txn_put (txn, 0, key (n), value) == 0, "flux_kvs_txn_put");
        flux_future_t *f = flux_kvs_commit (handle, NULL, 0, txn);
        require (f && flux_future_get (f, NULL) == 0, "flux_kvs_commit");
        flux_future_destroy (f);
        flux_kvs_txn_destroy (txn);
    }
}

static void real_get (long count)
{
    for (long n = 1; n <= count; n++) {
        flux_future_t *f = flux_kvs_lookup (handle, NULL, 0, key (n));
        const char *text;
        require (f && flux_kvs_lookup_get (f, &text) == 0, "flux_kvs_lookup");
        flux_future_destroy (f);
    }
}

static struct {
    const char *name;
    void (*run) (long count);
} cases[] = {
    { "loop send", loop_send },
    { "loop respond", loop_respond },
    { "loop handler", loop_handler },
    { "loop timer", loop_timer },
    { "broker real rpc", real_rpc },
    { "broker real pipeline", real_pipeline },
    { "broker real event", real_event },
    { "broker real put", real_put },
    { "broker real get", real_get },
};

static double processor_time (void)
{
    struct rusage use;
    getrusage (RUSAGE_SELF, &use);
    return 1e9 * (use.ru_utime.tv_sec + use.ru_stime.tv_sec)
           + 1e3 * (use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static long resident (void)
{
    char line[256];
    long kib = 0;
    FILE *status = fopen ("/proc/self/status", "r");
    while (status && fgets (line, sizeof (line), status))
        sscanf (line, "VmRSS: %ld", &kib);
    if (status)
        fclose (status);
    return kib;
}

static int open_case (const char *name)
{
    bool is_real = strncmp (name, "broker", 6) == 0;
    for (size_t n = 0; n < sizeof (cases) / sizeof (cases[0]); n++) {
        if (strcmp (name, cases[n].name) != 0 || (is_real && !getenv ("FLUX_URI")))
            continue;
        handle = flux_open (is_real ? NULL : "loop://", 0);
        require (handle != NULL, "flux_open");
        if (cases[n].run == real_event)
            require (flux_event_subscribe (handle, "bench.floor") == 0, "flux_event_subscribe");
        if (cases[n].run == real_get)
            real_put (KEYS);
        return n;
    }
    return -1;
}

int main (void)
{
    char line[256];
    int opened = -1;
    setvbuf (stdout, NULL, _IOLBF, 0);
    while (fgets (line, sizeof (line), stdin)) {
        line[strcspn (line, "\n")] = '\0';
        if (strncmp (line, "open ", 5) == 0) {
            opened = open_case (line + 5);
            puts (opened < 0 ? "none" : "ready 1 0");
        }
        else if (strncmp (line, "run ", 4) == 0 && opened >= 0) {
            double before = processor_time ();
            cases[opened].run (strtol (line + 4, NULL, 10));
            printf ("ran %.0f %ld\n", processor_time () - before, resident ());
        }
        else if (strcmp (line, "check") == 0 && opened >= 0) {
            cases[opened].run (3);
            puts ("is done");
        }
        else if (strcmp (line, "settle") == 0)
            printf ("settled %ld\n", resident ());
        else
            printf ("error no such command: %s\n", line);
    }
    return 0;
}
