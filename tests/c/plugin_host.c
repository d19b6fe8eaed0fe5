/* Loads plugins as Flux's job manager does: with RTLD_LOCAL, so that a plugin's
 * symbols are not visible to others. Its arguments are a list of actions:
 *
 *   load NAME FILE       load a plugin
 *   run NAME CHUNK       print what the chunk returns
 *   decode NAME MODULE   print what plugin_decode() returns
 *   error NAME MODULE    print what plugin_error() returns
 *   unload NAME          close its Lua state and unload the plugin
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plugin {
    const char *name;
    void *handle;
};

static struct plugin plugins[8];

/* The plugin of this name, or a free entry. */
static struct plugin *find (const char *name)
{
    struct plugin *p = plugins;

    while (p->name && strcmp (p->name, name) != 0)
        p++;
    return p;
}

static void *symbol (struct plugin *p, const char *name)
{
    void *found = p->handle ? dlsym (p->handle, name) : NULL;

    if (!found) {
        fprintf (stderr, "%s: %s: %s\n", p->name, name, dlerror ());
        exit (1);
    }
    return found;
}

int main (int argc, char **argv)
{
    int i = 1;

    while (i + 1 < argc) {
        const char *what = argv[i++];
        const char *name = argv[i++];
        struct plugin *p = find (name);

        if (strcmp (what, "load") == 0) {
            p->name = name;
            p->handle = dlopen (argv[i++], RTLD_NOW | RTLD_LOCAL);
            if (!p->handle) {
                fprintf (stderr, "%s\n", dlerror ());
                return 1;
            }
        }
        else if (strcmp (what, "unload") == 0) {
            ((void (*) (void))symbol (p, "plugin_close")) ();
            dlclose (p->handle);
            p->handle = NULL;
        }
        else if (strcmp (what, "run") == 0) {
            const char *(*run) (const char *) = symbol (p, "plugin_run");
            const char *said = run (argv[i++]);

            printf ("%s: %s\n", name, said ? said : "no string");
        }
        else if (strcmp (what, "decode") == 0) {
            int (*decode) (const char *) = symbol (p, "plugin_decode");

            printf ("%s: %d\n", name, decode (argv[i++]));
        }
        else if (strcmp (what, "error") == 0) {
            const char *(*error) (const char *) = symbol (p, "plugin_error");
            const char *said = error (argv[i++]);

            printf ("%s: %s\n", name, said ? said : "no string");
        }
        fflush (stdout);
    }
    return 0;
}
