/* SPDX-License-Identifier: Apache-2.0 */
/* main() of bin/linen: starts CPython's core and runs the plugin, linen.plugin.main.run().
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
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 8 << 20, DEFAULT_MAX_DIGITS = 4300 };

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

/* Numbers of millions of digits would take hours to read: the limit that
 * sys.set_int_max_str_digits() sets is left to the second phase since 3.12. */
static int limit_digits(void)
{
    PyObject *set_limit = PySys_GetObject("set_int_max_str_digits");

    return PyObject_CallFunction(set_limit, "i", DEFAULT_MAX_DIGITS) ? 0 : -1;
}

/* So is, since 3.13, the registry of error handlers, "strict" above all. Before, it is
 * set up when it is first needed. */
static PyStatus init_codec_registry(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    extern PyStatus _PyCodec_InitRegistry(PyInterpreterState *);

    return _PyCodec_InitRegistry(PyInterpreterState_Get());
#else
    return PyStatus_Ok();
#endif
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
    status = Py_InitializeFromConfig(&config); /* config's strings live until _exit */
    if (PyStatus_Exception(status))
        return status;
    return init_codec_registry();
}

static int run_plugin(void)
{
    PyStatus status = start_interpreter();
    PyObject *plugin, *exit_status;

    if (PyStatus_Exception(status))
        return fail(status.err_msg ? status.err_msg : "Python did not start");
    if (limit_digits() == -1)
        return fail_with_exception();
    PyGC_Disable(); /* the process ends before cyclic garbage matters */
    plugin = PyImport_ImportModule("linen.plugin.main");
    exit_status = plugin ? PyObject_CallMethod(plugin, "run", NULL) : NULL;
    return exit_status ? (int)PyLong_AsLong(exit_status) : fail_with_exception();
}

static void run_plugin_and_exit(void)
{
    _exit(run_plugin());
}

/* CPython's limits of recursion assume a stack of 8 MiB; on a smaller one, deeply
 * nested JSON would end in SIGSEGV before a limit is met. */
static int has_small_stack(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < STACK_BYTES;
}

static int run_plugin_on_own_stack(void)
{
    static ucontext_t context;

    getcontext(&context);
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_stack.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (context.uc_stack.ss_sp == MAP_FAILED)
        return fail("no memory for a stack");
    makecontext(&context, run_plugin_and_exit, 0);
    setcontext(&context);
    return fail("no context for a stack");
}

int main(void)
{
    occupy_standard_descriptors();
    setenv("TZ", "UTC0", 1); /* importing `time` need not read /etc/localtime: nobody asks */
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error to report */
    return has_small_stack() ? run_plugin_on_own_stack() : run_plugin();
}
