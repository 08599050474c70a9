# SPDX-License-Identifier: Apache-2.0
"""A kernel's table of neighbours that fills up is told before pairs of pods stop answering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.lab.hints import full_neighbour_tables

if TYPE_CHECKING:
    from pathlib import Path

TABLES = {4: "arp_cache", 6: "ndisc_cache"}


def fill(proc: Path, version: int, entries: int) -> None:
    """Write how many neighbours of an IP version a machine of two CPUs knows, of at most 1,024."""
    (proc / "net/stat").mkdir(parents=True, exist_ok=True)
    lines = ["entries  allocs", *[f"{entries:08x} 00000278"] * 2]
    (proc / "net/stat" / TABLES[version]).write_text("\n".join(lines) + "\n")
    settings = proc / f"sys/net/ipv{version}/neigh/default"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "gc_thresh3").write_text("1024\n")


@pytest.mark.parametrize("version", TABLES)
def test_a_table_that_is_nearly_full(tmp_path: Path, version: int) -> None:
    """The warning says how many there are, how many there can be, and which setting it is."""
    for each in TABLES:
        fill(tmp_path, each, 900 if each == version else 100)

    (warning,) = full_neighbour_tables(tmp_path)

    assert f"900 IPv{version} neighbours, of at most 1024" in warning
    assert f"sysctl -w net.ipv{version}.neigh.default.gc_thresh3=16384" in warning


def test_tables_with_room(tmp_path: Path) -> None:
    """As long as there is room, or nothing is told, there is no warning."""
    assert full_neighbour_tables(tmp_path) == []

    fill(tmp_path, 4, 500)

    assert full_neighbour_tables(tmp_path) == []
