# SPDX-License-Identifier: Apache-2.0
"""How full the kernel's tables of neighbours are: one for each IP version, of all namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
NAMES = {4: "arp_cache", 6: "ndisc_cache"}  # by IP version, in /proc/net/stat
NEARLY_FULL = 0.8  # of the most that a table holds


@dataclass(frozen=True)
class NeighbourTable:
    """A table of one IP version, its number of entries, and the most that it holds."""

    version: int
    entries: int
    most: int

    @property
    def setting(self) -> str:
        """The sysctl that limits it (ip-sysctl.rst)."""
        return _setting(self.version)


def nearly_full_tables(proc: Path = PROC) -> list[NeighbourTable]:
    """Those that soon drop entries which are in use.

    `proc`: the folder of a proc file system; where it does not tell, as in most containers, there
    is none.
    """
    tables = []
    for version, name in NAMES.items():
        limit = proc / "sys" / _setting(version).replace(".", "/")
        try:
            # A line of names, then one for each CPU, of which each begins with the same number.
            entries = int((proc / "net/stat" / name).read_text().split("\n")[1].split()[0], 16)
            most = int(limit.read_text())
        except FileNotFoundError:
            continue
        if entries >= NEARLY_FULL * most:
            tables.append(NeighbourTable(version, entries, most))
    return tables


def _setting(version: int) -> str:
    return f"net.ipv{version}.neigh.default.gc_thresh3"
