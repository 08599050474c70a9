/* SPDX-License-Identifier: Apache-2.0 */
/* main() of bin/linen: starts CPython's core and runs linen.plugin.__main__.
 *
 * Only the first phase of the interpreter's start is run (_init_main = 0): it
 * imports built-in and frozen modules, and that is all the plugin does. The
 * second phase would look for a standard library, codecs and text streams. So
 * there is no open() and no sys.stdout here; the plugin reads and writes by posix.
 *
 * Nothing from outside steers the interpreter: the isolated configuration ignores
 * PYTHON* variables, and a CNI plugin has no arguments.
 */
#include <Python.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STACK_BYTES = 8 << 20 };

extern const struct _frozen linen_frozen_modules[];

/* A file descriptor 0-2 that the caller closed would be taken by the first socket
 * we open, and the result be written into it. O_PATH keeps the number occupied
 * while reads and writes still fail with EBADF, and needs no /dev/null. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/", O_PATH) != fd)
            _exit(1);
}

/* CPython's recursion limits assume the usual 8 MiB of stack; with less, deeply
 * nested JSON would end in SIGSEGV before the limit is met. The kernel looks at
 * the limit when the stack grows, so it can still be raised here. */
static void ensure_stack(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_STACK, &limit) == -1 || limit.rlim_cur >= STACK_BYTES)
        return;
    limit.rlim_cur = STACK_BYTES;
    if (limit.rlim_max < STACK_BYTES)
        limit.rlim_max = STACK_BYTES; /* works for root, as which runtimes run us */
    setrlimit(RLIMIT_STACK, &limit);
}

/* The answer when Python itself could not do its part, e.g. for lack of memory.
 * CNI wants the error object on standard output. */
static int fail(const char *what)
{
    printf("{\"cniVersion\": \"1.0.0\", \"code\": 999, \"msg\": \"linen: internal error\","
           " \"details\": \"%s\"}\n", what);
    fflush(stdout);
    return 1;
}

static int fail_with_exception(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    fputs("linen: ", stderr);
    PyObject_Print(value ? value : type, stderr, Py_PRINT_RAW);
    fputc('\n', stderr);
    return fail(PyExceptionClass_Name(type));
}

static PyStatus start_interpreter(void)
{
    PyPreConfig preconfig;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return status;

    PyImport_FrozenModules = linen_frozen_modules;
    PyConfig_InitIsolatedConfig(&config); /* hashes are seeded by the kernel */
    config._init_main = 0;
    config.install_signal_handlers = 0;
    config.module_search_paths_set = 1; /* to nothing */
    config.parse_argv = 0;
    config.pathconfig_warnings = 0;
    config.site_import = 0;
    return Py_InitializeFromConfig(&config); /* config's strings live until _exit */
}

int main(void)
{
    PyStatus status;

    occupy_standard_descriptors();
    ensure_stack();
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error to report */

    status = start_interpreter();
    if (PyStatus_Exception(status))
        return fail(status.err_msg ? status.err_msg : "Python did not start");

    /* The plugin is gone before cyclic garbage matters. It ends in posix._exit(). */
    PyGC_Disable();
    if (PyImport_ImportModule("linen.plugin.__main__"))
        return fail("linen.plugin.__main__ returned");
    return fail_with_exception();
}
