# SPDX-License-Identifier: Apache-2.0
"""Compile the plugin's modules into C arrays, from which the binary imports them.

The modules are those of packaging/plugin-modules.txt and no others. Each may import
only others of that list, the C modules of packaging/builtin-modules.txt, and sys: the
binary has nothing else, so anything else stops the build here instead of a pod there.

The output depends on nothing but the sources and the version of Python: file names are
relative to src/, and `dump` makes marshal's back-references independent of the process.
"""

from __future__ import annotations

import ast
import marshal
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES_A_ROW = 24


class FreezeError(Exception):
    """A module that can't be frozen; the message has one line per reason."""


@dataclass(frozen=True)
class Module:
    """One frozen module: its dotted name, whether it is a package, its syntax tree."""

    name: str
    is_package: bool
    file: str
    tree: ast.Module

    @property
    def array(self) -> str:
        """Name of the C array that holds the code."""
        return "code_" + self.name.replace(".", "_")

    def code(self) -> bytes:
        """Marshalled code, without docstrings and assertions."""
        return dump(compile(self.tree, self.file, "exec", dont_inherit=True, optimize=2))


def dump(code: CodeType) -> bytes:
    """Marshal `code`, to equal bytes in every process.

    marshal prepares an object for back-references only if somebody else refers to it too. For
    names that depends on what else the process has loaded, so here somebody does, to each.
    """
    held = list(parts(code))
    dumped = marshal.dumps(code)
    del held
    return dumped


def parts(value: object) -> Iterator[object]:
    """Yield a constant and all that it is made of."""
    yield value
    members: tuple[object, ...] = ()
    if isinstance(value, CodeType):
        members = (
            *(value.co_consts, value.co_names),
            *(value.co_varnames, value.co_cellvars, value.co_freevars),
            *(value.co_filename, value.co_name, value.co_qualname),
            *(value.co_linetable, value.co_exceptiontable),
        )
    elif isinstance(value, tuple | frozenset):
        members = tuple(value)
    for member in members:
        yield from parts(member)


def read_list(path: Path) -> list[str]:
    """Read a list of modules: one dotted name a line, `#` starts a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def load(name: str, src: Path) -> Module:
    """Find and parse the source of the module `name` below `src`."""
    path = src.joinpath(*name.split("."))
    is_package = path.is_dir()
    file = path / "__init__.py" if is_package else path.with_suffix(".py")
    if not file.is_file():
        raise FreezeError(f"{name}: no such module below {src}")
    tree = TypingStripper().visit(ast.parse(file.read_text("utf-8"), str(file)))
    return Module(name, is_package, str(file.relative_to(src)), ast.fix_missing_locations(tree))


class TypingStripper(ast.NodeTransformer):
    """Take out what only type checkers read: annotations and `if TYPE_CHECKING:` blocks."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        """Drop `from __future__ import annotations`: no annotations are left."""
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        """Replace `if TYPE_CHECKING:` by its else branch."""
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        """Turn `name: type = value` into `name = value`, and `name: type` into nothing."""
        statement = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(statement, node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop a parameter's annotation."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Drop the annotation of what a function returns."""
        node.returns = None
        self.generic_visit(node)
        return node


def imported_modules(module: Module, src: Path) -> set[str]:
    """Return the dotted names of all modules that `module` imports, in functions too."""
    names: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _package_of(node, module)
            members = (f"{package}.{alias.name}" for alias in node.names)
            names.update([package], (name for name in members if _is_module(name, src)))
    return names


def _package_of(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    parents = module.name.split(".")
    parents = parents[: len(parents) - node.level + module.is_package]
    return ".".join([*parents, node.module] if node.module else parents)


def check_imports(modules: list[Module], builtins: list[str], src: Path) -> None:
    """Raise FreezeError for every import that the binary could not satisfy."""
    present = {module.name for module in modules} | {*builtins, "sys"}
    problems = [
        f"{module.file}: imports {name}, which is in neither list of modules"
        for module in modules
        for name in sorted(imported_modules(module, src) - present)
    ]
    problems += [
        f"{module.name}: its package is not in the list of modules"
        for module in modules
        if "." in module.name and module.name.rpartition(".")[0] not in present
    ]
    if problems:
        raise FreezeError("\n".join(problems))


def _is_module(name: str, src: Path) -> bool:
    path = src.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def render_lists(modules: list[Module], builtins: list[str]) -> str:
    """Render modules.h, the lists of what the binary can import, as macros over their entries."""
    frozen = [f'M("{m.name}", {m.array}, {int(m.is_package)})' for m in modules]
    return "\n".join(
        [
            _render_macro("BUILTIN_MODULES", [f"M({name})" for name in builtins]),
            _render_macro("FROZEN_MODULES", frozen),
        ]
    )


def render_code(modules: list[Module]) -> str:
    """Render code.h, the bytecode of modules as arrays."""
    return "\n".join(_render_array(module) for module in modules)


def _render_macro(name: str, entries: list[str]) -> str:
    return " \\\n    ".join([f"#define {name}(M)", *entries]) + "\n"


def _render_array(module: Module) -> str:
    code = module.code()
    rows = (code[start : start + BYTES_A_ROW] for start in range(0, len(code), BYTES_A_ROW))
    numbers = ",\n".join(",".join(map(str, row)) for row in rows)
    return f"static const unsigned char {module.array}[] = {{\n{numbers}\n}};\n"
