/* For the programs in this folder: reports checks that fail, and runs parts of a
 * program by name.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <string.h>

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf (stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

struct part {
    const char *name;
    void (*run) (void);
};

/* Runs the parts that the arguments name, or all. The last part has no name. */
static inline int run_parts (const struct part *parts, int argc, char **argv)
{
    int i;

    for (; parts->name != NULL; parts++) {
        int is_wanted = argc < 2;

        for (i = 1; i < argc; i++)
            is_wanted |= strcmp (argv[i], parts->name) == 0;
        if (is_wanted)
            parts->run ();
    }
    return failures == 0 ? 0 : 1;
}

#endif /* !CHECK_H */
