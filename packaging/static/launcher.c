/* SPDX-License-Identifier: Apache-2.0 */
/* main() of bin/linen: takes care of what a caller may leave out, and runs the plugin.
 *
 * Arguments mean nothing to a CNI plugin and are ignored.
 */
#define _GNU_SOURCE
#include "image.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 8 << 20 };
enum { URGENT = -10 }; /* what Open vSwitch's own ovs-ctl(8) gives to its daemons */

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

/* A pod waits for these few milliseconds of computing, mostly while others start and the node is
 * busy. Who may not (CAP_SYS_NICE) is as slow as anybody, which is no error. */
static void hurry(void)
{
    if (getpriority(PRIO_PROCESS, 0) > URGENT)
        setpriority(PRIO_PROCESS, 0, URGENT);
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
