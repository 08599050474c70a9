# SPDX-License-Identifier: Apache-2.0
"""The freezer: what it takes out of the sources, and what it refuses to freeze."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING

import freeze
import pytest

if TYPE_CHECKING:
    from pathlib import Path

BUILTINS = ["posix", "_socket"]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A tree of sources: a package with two modules."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "used.py").write_text("VALUE = 1\n")
    return tmp_path


def freeze_main(source: str, src: Path, names: list[str]) -> None:
    """Check the imports of `names` with `source` as pack.main."""
    (src / "pack" / "main.py").write_text(source)
    modules = [freeze.load(name, src) for name in names]
    freeze.check_imports(modules, BUILTINS, src)


@pytest.mark.parametrize(
    "source",
    [
        "import sys, posix",
        "from _socket import socket",
        "import pack.used",
        "from pack import used",
        "from pack.used import VALUE",
        "from . import used",
        "from .used import VALUE",
        "from __future__ import annotations",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import json",
    ],
)
def test_accepted(source: str, src: Path) -> None:
    """Modules of the two lists may be imported, and type checkers may import anything."""
    freeze_main(source, src, ["pack", "pack.main", "pack.used"])


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import json", "json"),
        ("from json import dumps", "json"),
        ("import os.path", "os.path"),
        ("def f():\n    import re", "re"),
        ("import pack.used", "pack.used"),
        ("from pack import used", "pack.used"),
        ("from .used import VALUE", "pack.used"),
        ("TYPE_CHECKING = False\nif TYPE_CHECKING:\n    pass\nelse:\n    import json", "json"),
    ],
)
def test_refused(source: str, missing: str, src: Path) -> None:
    """A module that the binary won't have is refused, wherever and however it is imported."""
    with pytest.raises(freeze.FreezeError, match=f"^pack/main.py: imports {missing}, which"):
        freeze_main(source, src, ["pack", "pack.main"])


def test_package_not_listed(src: Path) -> None:
    """A module without its package is refused."""
    with pytest.raises(freeze.FreezeError, match=r"pack\.main: its package is not in the list"):
        freeze_main("", src, ["pack.main"])


def test_listed_module_absent(src: Path) -> None:
    """A name in the list that has no source is refused."""
    with pytest.raises(freeze.FreezeError, match=r"pack\.gone: no such module"):
        freeze.load("pack.gone", src)


def test_annotations_are_taken_out() -> None:
    """What is left is the program as it would be without any hints of types."""
    annotated = """
        from __future__ import annotations
        TYPE_CHECKING = False
        if TYPE_CHECKING:
            from typing import Any
        class Pod:
            name: str
            mtu: int = 1400
            def rename(self, name: str, /, *rest: Any, **more: Any) -> None:
                self.name: str = name
    """
    plain = """
        TYPE_CHECKING = False
        pass
        class Pod:
            pass
            mtu = 1400
            def rename(self, name, /, *rest, **more):
                self.name = name
    """
    tree = freeze.TypingStripper().visit(ast.parse(textwrap.dedent(annotated)))
    assert ast.unparse(tree) == ast.unparse(ast.parse(textwrap.dedent(plain)))


def test_code_names_its_file_within_the_sources(src: Path) -> None:
    """A place in the code is told relative to src/, so that no build path gets in."""
    assert freeze.load("pack.used", src).file == "pack/used.py"
    assert str(src).encode() not in freeze.load("pack.used", src).code()
