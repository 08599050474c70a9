# SPDX-License-Identifier: Apache-2.0
"""Which datapath a lab takes, and that the kernel is left as it was unless it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.lab import programs
from linen.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the kernel's module: a path that exists once it is loaded.

    The kernel loads it as soon as it is asked for the module's netlink family.
    """
    module = tmp_path / "openvswitch"

    def load(_family: str) -> bool:
        module.touch()
        return True

    monkeypatch.setattr(programs, "_KERNEL_MODULE", module)
    monkeypatch.setattr(programs, "has_generic_family", load)
    return module


def test_auto_loads_nothing(module: Path) -> None:
    """Where the module is not loaded, `auto` is userspace, and the module stays away."""
    assert programs.resolve_datapath("auto") == "netdev"
    assert not module.exists()


def test_auto_where_the_module_is_loaded(module: Path) -> None:
    """Where the module is loaded already, `auto` is the kernel."""
    module.touch()

    assert programs.resolve_datapath("auto") == "system"


def test_system_loads_the_module(module: Path) -> None:
    """Who asks for the kernel's datapath gets its module loaded."""
    assert programs.resolve_datapath("system") == "system"
    assert module.exists()


def test_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel's module cannot be loaded, another datapath is named."""
    monkeypatch.setattr(programs, "has_generic_family", lambda _family: False)

    with pytest.raises(LabError, match="use --datapath netdev"):
        programs.resolve_datapath("system")
