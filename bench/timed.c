/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for a CNI plugin on a node: runs the real one, and writes down how long that took.
 *
 * As a plugin of name NAME it runs REAL/NAME with its own arguments, environment, and standard
 * streams, and ends as that did. To LOG it adds a line: the name, the command of CNI, the
 * nanoseconds from before the start to the end, those of computing in user space and in the kernel,
 * and the page faults. Before that it does the same with a program, called "empty-program", that
 * gives itself linen's priority and ends: on a busy machine that takes its time, too. It has no
 * libraries to load, so that it costs little itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define NOTHING "empty-program"

static long long nanoseconds(long long seconds, long long rest) {
    return seconds * 1000000000LL + rest;
}

static void note(const char *name, long long wall, const struct rusage *usage) {
    const char *command = getenv("CNI_COMMAND");
    char line[256];
    int length = snprintf(
        line, sizeof line, "%s %s %lld %lld %lld %ld\n", name, command ? command : "-", wall,
        nanoseconds(usage->ru_utime.tv_sec, usage->ru_utime.tv_usec * 1000LL),
        nanoseconds(usage->ru_stime.tv_sec, usage->ru_stime.tv_usec * 1000LL), usage->ru_minflt);
    int log = open(LOG, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || write(log, line, (size_t)length) != length)
        perror(LOG);
}

/* Runs a program to its end; the status that it ended with. */
static int run(const char *name, const char *path, char **argv) {
    struct timespec begin, end;
    struct rusage usage;
    pid_t pid;
    int status;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    errno = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    if (errno != 0 || wait4(pid, &status, 0, &usage) != pid) {
        perror(path);
        return 125;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    note(name, nanoseconds(end.tv_sec - begin.tv_sec, end.tv_nsec - begin.tv_nsec), &usage);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    (void)argc;
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    char path[PATH_MAX];
    char *nothing[] = {NOTHING, NULL};

    if (strcmp(name, NOTHING) == 0) {
        const struct sched_param lowest = {.sched_priority = 1}; /* as linen does */
        sched_setscheduler(0, SCHED_RR, &lowest);
        return 0;
    }
    run(NOTHING, "/proc/self/exe", nothing);
    snprintf(path, sizeof path, REAL "/%s", name);
    argv[0] = path;
    return run(name, path, argv);
}
