/* SPDX-License-Identifier: Apache-2.0 */
/* main() of bin/linen: takes care of what a caller may leave out, and runs the plugin.
 *
 * Arguments mean nothing to a CNI plugin and are ignored.
 */
#define _GNU_SOURCE
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 8 << 20 };
enum { URGENT = -10 }; /* what Open vSwitch's own ovs-ctl(8) gives to its daemons */
enum { REAL_TIME_MICROSECONDS = 50000 }; /* of computing without a pause; an ADD takes 3,000 */

/* A file descriptor 0-2 that the caller closed would be taken by the first socket
 * we open, and the result be written into it. O_PATH keeps the number occupied
 * while reads and writes still fail with EBADF, and needs no /dev/null. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/", O_PATH) != fd)
            _exit(1);
}

int fail(const char *details)
{
    printf("{\"cniVersion\": \"1.0.0\", \"code\": 999, \"msg\": \"linen: internal error\","
           " \"details\": \"%s\"}\n", details);
    fflush(stdout);
    return 1;
}

/* CPython's limits of recursion assume a stack of 8 MiB; on a smaller one, deeply
 * nested JSON would end in SIGSEGV before a limit is met. */
static int has_small_stack(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < STACK_BYTES;
}

static void run_on_own_stack(void (*function)(void))
{
    static _Alignas(16) char stack[STACK_BYTES];
    static ucontext_t context;

    getcontext(&context);
    context.uc_stack.ss_size = sizeof stack;
    context.uc_stack.ss_sp = stack;
    makecontext(&context, function, 0);
    setcontext(&context);
}

static void run_plugin_and_exit(void)
{
    _exit(run_plugin());
}

/* On a stack whose place is the same each time, since the image may hold addresses of it. */
static void make_image_and_exit(void)
{
    _exit(make_image());
}

static void leave_real_time(int signal)
{
    const struct sched_param none = {0};
    int before = errno;

    (void)signal;
    sched_setscheduler(0, SCHED_OTHER, &none);
    errno = before;
}

/* Once it has computed for so long on end, the kernel sends SIGXCPU (RLIMIT_RTTIME). */
static int limit_real_time(void)
{
    struct sigaction action = {.sa_handler = leave_real_time, .sa_flags = SA_RESTART};
    struct rlimit limit;

    if (getrlimit(RLIMIT_RTTIME, &limit) != 0 || sigaction(SIGXCPU, &action, NULL) != 0)
        return -1;
    if (limit.rlim_cur > REAL_TIME_MICROSECONDS)
        limit.rlim_cur = REAL_TIME_MICROSECONDS;
    return setrlimit(RLIMIT_RTTIME, &limit);
}

/* A pod waits for these few milliseconds of computing, mostly while others start and the node is
 * busy. Nice counts among the programs of one service alone (cgroups(7)), real time on the whole
 * node; with the lowest priority of that, so that it never goes before a real-time program.
 * Who may not (CAP_SYS_NICE) is as slow as anybody, which is no error. */
static void hurry(void)
{
    const struct sched_param lowest = {.sched_priority = 1};

    if (sched_getscheduler(0) != SCHED_OTHER)
        return; /* the caller has chosen */
    if (getpriority(PRIO_PROCESS, 0) > URGENT)
        setpriority(PRIO_PROCESS, 0, URGENT);
    if (limit_real_time() == 0)
        sched_setscheduler(0, SCHED_RR, &lowest);
}

int main(void)
{
    if (image_state == IMAGE_ABSENT)
        run_on_own_stack(make_image_and_exit);
    occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error to report */
    hurry();
    if (has_small_stack())
        run_on_own_stack(run_plugin_and_exit);
    return run_plugin();
}
