# SPDX-License-Identifier: Apache-2.0
"""The binary's import system, in importlib's place: built-in and frozen modules alone.

A module is executed when somebody first asks for one of its attributes, so that a call pays only
for what it uses: where nothing goes wrong, not for the fifteen classes of errors.

importlib serves a world of files, hooks and threads that the binary doesn't have; its
finders, loaders, specs and locks would take a third of the plugin's time. CPython's C code
handles sys.modules and relative names by itself and calls the three functions here for the
rest. This file is frozen as `_frozen_importlib`, the name that CPython looks for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _imp
    import sys
    from collections.abc import Callable, Iterable
    from types import ModuleType

    Import = Callable[[str], ModuleType]


class _Spec:
    """All that `_imp.create_builtin` asks of a module's specification."""

    def __init__(self, name: str) -> None:
        self.name = name


def _install(sys_module: ModuleType, imp_module: ModuleType) -> None:
    """Take the modules that can't be imported yet; CPython calls this once, at its start."""
    global sys, _imp
    sys, _imp = sys_module, imp_module


def _find_and_load(name: str, import_: Import) -> ModuleType:
    """Load a module that isn't in sys.modules, after the package that it is in."""
    parent, _, child = name.rpartition(".")
    if parent and parent not in sys.modules:
        import_(parent)
        if name in sys.modules:  # its package imported it
            return sys.modules[name]
    module = _load_builtin(name) if _imp.is_builtin(name) else _load_frozen(name, parent)
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _handle_fromlist(module: ModuleType, names: Iterable[str], import_: Import) -> ModuleType:
    """Load the modules among the names of `from package import names`."""
    for name in names:
        full_name = f"{module.__name__}.{name}"
        if not hasattr(module, name) and _imp.is_frozen(full_name):
            import_(full_name)
    return module


def _load_builtin(name: str) -> ModuleType:
    module = sys.modules[name] = _imp.create_builtin(_Spec(name))  # type: ignore[arg-type]
    _imp.exec_builtin(module)
    return module


def _load_frozen(name: str, parent: str) -> ModuleType:
    if not _imp.is_frozen(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = sys.modules[name] = type(sys)(name)
    module.__package__ = parent
    if _imp.is_frozen_package(name):
        module.__package__ = name
        module.__path__ = []
        _execute(module)
    else:
        module.__dict__["__getattr__"] = _execution_on_demand(module)
    return module


def _execution_on_demand(module: ModuleType) -> Callable[[str], object]:
    """Return what Python calls for an attribute that `module` doesn't have (PEP 562)."""

    def execute(attribute: str) -> object:
        del module.__dict__["__getattr__"]
        try:
            _execute(module)
        except BaseException:
            module.__dict__["__getattr__"] = execute
            raise
        return getattr(module, attribute)

    return execute


def _execute(module: ModuleType) -> None:
    exec(_imp.get_frozen_object(module.__name__), module.__dict__)  # noqa: S102 (that is importing)
