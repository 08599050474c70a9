# SPDX-License-Identifier: Apache-2.0
"""Why pods may not reach each other although nothing has failed, as far as a lab can tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from linen.lab.conflists import conflist_of, is_master
from linen.lab.switch import UNDERLAY_BRIDGE

if TYPE_CHECKING:
    from linen.lab.cluster import Lab
    from linen.lab.node import Node

_PROC = Path("/proc")
_NEIGHBOURS = {4: "arp_cache", 6: "ndisc_cache"}  # by IP version: the kernel's names of its tables
_NEARLY_FULL = 0.8  # of the most that a table holds


def full_neighbour_tables(proc: Path = _PROC) -> list[str]:
    """Warn of each table of neighbours that is nearly full; the kernel has one for all namespaces.

    `proc` is the folder of a proc file system; where it does not tell, as in most containers,
    there is no warning.
    """
    warnings = []
    for version, table in _NEIGHBOURS.items():
        setting = f"net.ipv{version}.neigh.default.gc_thresh3"
        try:
            # A line of names, then one for each CPU, of which each begins with the same number.
            entries = int((proc / "net/stat" / table).read_text().split("\n")[1].split()[0], 16)
            most = int((proc / "sys" / setting.replace(".", "/")).read_text())
        except FileNotFoundError:
            continue
        if entries >= _NEARLY_FULL * most:
            warnings.append(
                f"this machine knows {entries} IPv{version} neighbours, of at most {most} in all "
                "network namespaces, its own included; beyond that some pairs stop answering "
                f"(sysctl -w {setting}={most * 16} gives it more room)"
            )
    return warnings


def masters_without_bridge(lab: Lab) -> list[str]:
    """Tell which masters of a star have not got the bridge yet at which its tunnels meet."""
    return [
        f"{node.name} is the star's master, and its OVS bridge, over which all others reach each "
        f"other, is made by its first ADD: linenctl lab add-pod {node.name}"
        for node in lab.nodes.values()
        if is_master(conflist_of(lab.description, node.description, "1.0.0")) and not _bridges(node)
    ]


def _bridges(node: Node) -> set[str]:
    return set(node.run(["ovs-vsctl", "list-br"]).stdout.split()) - {UNDERLAY_BRIDGE}
