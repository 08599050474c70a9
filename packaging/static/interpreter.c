/* SPDX-License-Identifier: Apache-2.0 */
/* Python: started once, when the program is built, and woken by each call of it.
 *
 * Only the first phase of the interpreter's start is run (_init_main = 0): it
 * imports built-in and frozen modules, and that is all the plugin does. The
 * second phase would look for a standard library, codecs and text streams. So
 * there is no open() and no sys.stdout here; the plugin reads and writes by posix.
 *
 * To Python, waking is what fork() is: another process, and the memory as it was.
 *
 * Nothing from outside steers the interpreter: what it takes from the environment it
 * has taken at the build, where there was none.
 */
#include <Python.h>

#include "image.h"
#include "modules.h" /* generated: BUILTIN_MODULES and FROZEN_MODULES */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_MAX_DIGITS = 4300 };

#define BUILTIN(name) #name,
#define FROZEN(name, array, is_package) name,
static const char *const modules[] = {BUILTIN_MODULES(BUILTIN) FROZEN_MODULES(FROZEN)};

extern const struct _frozen linen_frozen_modules[];

static PyThreadState *thread;
static PyObject *plugin, *environment;

pthread_t __real_pthread_self(void);

/* A thread is known by an address that differs in each process, so what Python learns
 * while the image is made is another one, or no two builds would be equal. */
pthread_t __wrap_pthread_self(void)
{
    return image_state == IMAGE_BEGUN ? 1 : __real_pthread_self();
}

/* Say what went wrong in Python; the name of its exception. */
static const char *print_exception(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    fputs("linen: ", stderr);
    PyObject_Print(value ? value : type, stderr, Py_PRINT_RAW);
    fputc('\n', stderr);
    return PyExceptionClass_Name(type);
}

/* Arenas, for the frames of functions, come from malloc() instead of mmap(): they are
 * to be in the image. */
static void *allocate_arena(void *context, size_t size)
{
    return malloc(size);
}

static void free_arena(void *context, void *arena, size_t size)
{
    free(arena);
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
    PyObjectArenaAllocator arenas = {NULL, allocate_arena, free_arena};
    PyPreConfig preconfig;
    PyConfig config;
    PyStatus status;

    PyObject_SetArenaAllocator(&arenas);
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    preconfig.allocator = PYMEM_ALLOCATOR_MALLOC; /* memory.c is denser than pymalloc */
    status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return status;

    PyImport_FrozenModules = linen_frozen_modules;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    config.use_hash_seed = 1; /* to one that is the same in each build */
    config.install_signal_handlers = 0;
    config.module_search_paths_set = 1; /* to nothing */
    config.parse_argv = 0;
    config.pathconfig_warnings = 0;
    config.site_import = 0;
    status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        return status;
    return init_codec_registry();
}

/* Import all that the plugin may ask for, so that no call has to. */
static int import_modules(void)
{
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (!PyImport_ImportModule(modules[i]))
            return -1;
    plugin = PyImport_ImportModule("linen.plugin.main");
    environment = PyObject_GetAttrString(PyImport_ImportModule("posix"), "environ");
    return plugin && environment ? 0 : -1;
}

static int write_image(void)
{
    int fd = open(IMAGE_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    for (char *next = image_begin; fd != -1 && next < image_end;) {
        ssize_t written = write(fd, next, (size_t)(image_end - next));

        if (written == -1)
            break;
        next += written;
        if (next == image_end)
            return close(fd) == 0 ? 0 : -1;
    }
    return -1;
}

int make_image(void)
{
    PyStatus status;

    clearenv();
    setenv("TZ", "UTC0", 1); /* or `time` would remember the builder's time zone */
    image_state = IMAGE_BEGUN;
    status = start_interpreter();
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s\n", status.err_msg ? status.err_msg : "Python did not start");
        return 1;
    }
    PyGC_Disable(); /* a call ends before cyclic garbage matters */
    if (limit_digits() == -1 || import_modules() == -1) {
        print_exception();
        return 1;
    }
    thread = PyThreadState_Get();
    thread->native_thread_id = 0; /* for the same reason as in pthread_self() */
    PyOS_BeforeFork();
    image_state = IMAGE_COMPLETE;
    if (write_image() == -1) {
        perror(IMAGE_FILE);
        return 1;
    }
    return 0;
}

/* Tell Python that it is in another process, as os.fork() does in the child. */
static void wake(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    extern _Thread_local PyThreadState *_Py_tss_tstate; /* fork() would have kept it */

    _Py_tss_tstate = thread;
#endif
    PyOS_AfterFork_Child();
}

/* Give posix.environ, a dictionary of bytes, the variables of this process. */
static int take_environment(void)
{
    PyDict_Clear(environment);
    for (char **variable = environ; *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        PyObject *name, *value;

        if (!equals)
            continue;
        name = PyBytes_FromStringAndSize(*variable, equals - *variable);
        value = PyBytes_FromString(equals + 1);
        if (!name || !value || !PyDict_SetDefault(environment, name, value))
            return -1;
    }
    return 0;
}

int run_plugin(void)
{
    PyObject *status;

    wake();
    status = take_environment() == 0 ? PyObject_CallMethod(plugin, "run", NULL) : NULL;
    return status ? (int)PyLong_AsLong(status) : fail(print_exception());
}
