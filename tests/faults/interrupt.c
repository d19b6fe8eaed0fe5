/* Functions that a Lua script loads with package.loadlib. They need no Lua API.
 * luaopen_interrupt() makes a signal interrupt the process every millisecond;
 * system calls are not restarted. luaopen_hold() and luaopen_release() block and
 * unblock the signal, around code that is not under test.
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
