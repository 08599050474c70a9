# SPDX-License-Identifier: Apache-2.0
"""A kernel's table of neighbours that fills up is told before entries in use are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.netlink.neighbour_tables import NAMES, nearly_full_tables

if TYPE_CHECKING:
    from pathlib import Path


def fill(proc: Path, version: int, entries: int) -> None:
    """Write how many neighbours of an IP version a machine of two CPUs knows, of at most 1,024."""
    (proc / "net/stat").mkdir(parents=True, exist_ok=True)
    lines = ["entries  allocs", *[f"{entries:08x} 00000278"] * 2]
    (proc / "net/stat" / NAMES[version]).write_text("\n".join(lines) + "\n")
    settings = proc / f"sys/net/ipv{version}/neigh/default"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "gc_thresh3").write_text("1024\n")


@pytest.mark.parametrize("version", NAMES)
def test_a_table_that_is_nearly_full(tmp_path: Path, version: int) -> None:
    """A nearly full table is told with its entries, the most that it holds, and the setting."""
    for each in NAMES:
        fill(tmp_path, each, 900 if each == version else 100)

    (table,) = nearly_full_tables(tmp_path)

    assert (table.version, table.entries, table.most) == (version, 900, 1024)
    assert table.setting == f"net.ipv{version}.neigh.default.gc_thresh3"


def test_tables_with_room(tmp_path: Path) -> None:
    """A table that has room, or of which the kernel does not tell, is not told of."""
    assert nearly_full_tables(tmp_path) == []

    fill(tmp_path, 4, 500)

    assert nearly_full_tables(tmp_path) == []
