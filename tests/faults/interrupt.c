/* A Lua module without a Lua: once loaded, a signal a millisecond meets the
 * process, and no system call that it interrupts goes on of itself. What is no
 * part of the module under test may hold it back.
 */
#include <signal.h>
#include <string.h>
#include <sys/time.h>

static void nothing (int signum)
{
    (void)signum;
}

static int mask (int how)
{
    sigset_t set;

    sigemptyset (&set);
    sigaddset (&set, SIGALRM);
    sigprocmask (how, &set, NULL);
    return 0;
}

int luaopen_interrupt (void *L)
{
    struct sigaction action;
    struct itimerval often = { { 0, 1000 }, { 0, 1000 } };

    (void)L;
    memset (&action, 0, sizeof (action));
    action.sa_handler = nothing;
    sigaction (SIGALRM, &action, NULL);
    setitimer (ITIMER_REAL, &often, NULL);
    return 0;
}

int luaopen_hold (void *L)
{
    (void)L;
    return mask (SIG_BLOCK);
}

int luaopen_release (void *L)
{
    (void)L;
    return mask (SIG_UNBLOCK);
}
