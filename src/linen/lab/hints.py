# SPDX-License-Identifier: Apache-2.0
"""Why pods may not reach each other although nothing has failed, as far as a lab can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.lab.conflists import conflist_of, is_master
from linen.lab.switch import UNDERLAY_BRIDGE
from linen.netlink.neighbour_tables import nearly_full_tables

if TYPE_CHECKING:
    from linen.lab.cluster import Lab
    from linen.lab.node import Node


def full_neighbour_tables() -> list[str]:
    """Warn of each of the kernel's tables of neighbours that is nearly full."""
    return [
        f"this machine knows {table.entries} IPv{table.version} neighbours, of at most {table.most}"
        " in all network namespaces, its own included; beyond that some pairs stop answering"
        f" (sysctl -w {table.setting}={table.most * 16} gives it more room)"
        for table in nearly_full_tables()
    ]


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
