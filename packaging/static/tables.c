/* SPDX-License-Identifier: Apache-2.0 */
/* The tables through which CPython finds its built-in and frozen modules.
 *
 * In libpython they live in config.o, frozen.o and deepfreeze.o and name some fifty
 * C modules (with expat and zlib) and twenty Python modules. A linker takes a member
 * of an archive only for a symbol that is still missing, so defining the tables here
 * leaves those three out, with all that they drag in: 2.8 MB and 0.7 ms of start.
 * Should a future CPython rename one, the link fails; nothing breaks at run time.
 */
#include <Python.h>

#include "modules.h" /* generated: BUILTIN_MODULES, FROZEN_MODULES, their code */

extern PyObject *PyInit__imp(void);
extern PyObject *PyInit__thread(void);
extern PyObject *PyInit__weakref(void);
extern PyObject *_PyWarnings_Init(void);

#define DECLARE(name) extern PyObject *PyInit_##name(void);
BUILTIN_MODULES(DECLARE)

#define BUILTIN(name) {#name, PyInit_##name},
struct _inittab _PyImport_Inittab[] = {
    BUILTIN_MODULES(BUILTIN)
    /* what the import system itself is made of */
    {"_imp", PyInit__imp},
    {"_thread", PyInit__thread},
    {"_warnings", _PyWarnings_Init},
    {"_weakref", PyInit__weakref},
    {"builtins", NULL},
    {"sys", NULL},
    {NULL, NULL},
};

#define FROZEN(module, array, package) \
    {.name = module, .code = array, .size = sizeof array, .is_package = package},
const struct _frozen linen_frozen_modules[] = {
    FROZEN_MODULES(FROZEN)
    {.name = NULL},
};

static const struct _frozen bootstrap[] = {
    FROZEN("_frozen_importlib", code_importlib__bootstrap, 0)
    {.name = NULL},
};
static const struct _frozen none[] = {{.name = NULL}};
static const struct _module_alias {
    const char *name, *orig;
} aliases[] = {{"_frozen_importlib", "importlib._bootstrap"}, {NULL, NULL}};

const struct _frozen *PyImport_FrozenModules = none;
const struct _frozen *_PyImport_FrozenBootstrap = bootstrap;
const struct _frozen *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _module_alias *_PyImport_FrozenAliases = aliases;

/* CPython 3.11 and 3.12 ask for these two: there are no deep-frozen modules. */
int _Py_Deepfreeze_Init(void) { return 0; }
void _Py_Deepfreeze_Fini(void) { }
