/* SPDX-License-Identifier: Apache-2.0 */
/* The tables through which CPython finds its built-in and frozen modules.
 *
 * In libpython they live in config.o, frozen.o and deepfreeze.o and name some fifty
 * C modules (which need expat and zlib) and twenty Python modules. A linker takes a
 * member of an archive only for a symbol that is still missing, so defining the tables
 * here leaves those three out with all that they drag in. Should a CPython rename a
 * table, linking fails: nothing can go wrong later, at run time.
 */
#include <Python.h>

#include "code.h"
#include "modules.h"

/* Error handlers, such as "strict", are looked up in a registry that can't be set up
 * without a package of this name. It may be empty: UTF-8 is built in. */
static PyObject *init_encodings(void)
{
    static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "encodings"};

    return PyModule_Create(&definition);
}

/* What importlib, the import system, is made with. */
extern PyObject *PyInit__imp(void);
extern PyObject *PyInit__thread(void);
extern PyObject *PyInit__weakref(void);
extern PyObject *_PyWarnings_Init(void);

#define DECLARE(name) extern PyObject *PyInit_##name(void);
BUILTIN_MODULES(DECLARE)

#define BUILTIN(name) {#name, PyInit_##name},
struct _inittab _PyImport_Inittab[] = {
    BUILTIN_MODULES(BUILTIN)
    {"_imp", PyInit__imp},
    {"_thread", PyInit__thread},
    {"_warnings", _PyWarnings_Init},
    {"_weakref", PyInit__weakref},
    {"builtins", NULL},
    {"encodings", init_encodings},
    {"sys", NULL},
    {NULL, NULL},
};

#define FROZEN(module, array, package) \
    {.name = module, .code = array, .size = sizeof array, .is_package = package},
const struct _frozen linen_frozen_modules[] = {
    FROZEN_MODULES(FROZEN)
    {.name = NULL},
};

static const struct _frozen import_system[] = {
    FROZEN("_frozen_importlib", code_importlib__bootstrap, 0)
    {.name = NULL},
};
static const struct _frozen none[] = {{.name = NULL}};
static const struct _module_alias {
    const char *name, *orig;
} no_aliases[] = {{NULL, NULL}};

const struct _frozen *PyImport_FrozenModules = none;
const struct _frozen *_PyImport_FrozenBootstrap = import_system;
const struct _frozen *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _module_alias *_PyImport_FrozenAliases = no_aliases;

/* There are no deep-frozen modules, for which CPython 3.11 and 3.12 ask ... */
int _Py_Deepfreeze_Init(void) { return 0; }
void _Py_Deepfreeze_Fini(void) { }
/* ... and whose functions would have had the first version numbers in 3.12. */
uint32_t _Py_next_func_version = 1;
