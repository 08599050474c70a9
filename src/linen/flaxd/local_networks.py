# SPDX-License-Identifier: Apache-2.0
"""The networks that this node is part of, with or without a daemon, by their marks in OVSDB.

What keeps pods in their network has to know of all of them: by which bridges their pods are
reached, and at which UDP ports their tunnels end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core import naming
from linen.core.model import VXLAN_PORT
from linen.core.notation import is_, pairs, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linen.netlink.codec import Link
    from linen.ovsdb.replica import Replica
    from linen.settings.table import Settings

# What `marked_bridges` asks of the replica of OVSDB.
BRIDGE_QUESTION = select("Bridge", [], ("name", "external_ids"))
# What `vxlan_ports` asks of it.
TUNNEL_QUESTION = select("Interface", is_("type", "vxlan"), ("options", "external_ids"))


def marked_bridges(replica: Replica) -> dict[str, dict[str, str]]:
    """The marks of all OVS bridges, by name; none for those that aren't Linen's."""
    (found,) = replica.answer([BRIDGE_QUESTION])
    return {row["name"]: pairs(row["external_ids"]) for row in found["rows"]}


def other_networks(
    settings: Settings, replica: Replica, links: Mapping[str, Link]
) -> frozenset[str]:
    """The Linux bridges of this node's other networks: those that their OVS bridges are on."""
    others = {
        name
        for name, marks in marked_bridges(replica).items()
        if marks.get(naming.MARK_NETWORK) not in (None, settings.network)
    }
    masters = {links[name].master for name in others & links.keys()}
    bridges = {link.name for link in links.values() if link.index in masters}
    return frozenset(bridges - {settings.linux_bridge})


def vxlan_ports(settings: Settings, replica: Replica) -> frozenset[int]:
    """The UDP ports at which nodes take in VXLAN of any of this node's networks.

    Nodes believe whoever has this node's address, so a pod must not send to any of them.
    """
    (found,) = replica.answer([TUNNEL_QUESTION])
    told = {
        pairs(row["options"]).get("dst_port", "")
        for row in found["rows"]
        if naming.MARK_NETWORK in pairs(row["external_ids"])
    }
    own = settings.overlay.dst_port or VXLAN_PORT  # before there is a tunnel, too
    return frozenset({own, *map(_port, told)})


def _port(told: str) -> int:
    """As Open vSwitch understands it (`set_tunnel_config`, lib/netdev-vport.c), or the default."""
    return int(told) & 0xFFFF if told.isdecimal() else VXLAN_PORT
