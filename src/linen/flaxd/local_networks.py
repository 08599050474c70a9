# SPDX-License-Identifier: Apache-2.0
"""The networks that this node is part of, with or without a daemon, by their marks in OVSDB.

What keeps pods in their network has to know of all of them: by which bridges their pods are
reached, and at which UDP ports their tunnels end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core import naming
from linen.core.model import TOPOLOGY_FLOW, VXLAN_PORT
from linen.core.notation import is_, pairs, select, uuids

if TYPE_CHECKING:
    from linen.light.json import Json
    from linen.netlink.monitor import Monitor
    from linen.ovsdb.replica import Replica
    from linen.settings.table import Settings

# What is asked of the replica of OVSDB.
BRIDGE_QUESTION = select("Bridge", [], ("name", "external_ids", "controller"))
TUNNEL_QUESTION = select("Interface", is_("type", "vxlan"), ("options", "external_ids"))


class LocalNetworks:
    """What this node's networks have, at the moment at which it is asked.

    `settings`: of the own network. `replica`: of OVSDB. `monitor`: of this node's devices.
    """

    def __init__(self, settings: Settings, replica: Replica, monitor: Monitor) -> None:
        self._settings = settings
        self._replica = replica
        self._monitor = monitor

    def linux_bridges(self) -> dict[str, int]:
        """The index of each network's Linux bridge that is there, by its name.

        Those of other networks are what their OVS bridges are on.
        """
        own = self._settings.network
        marks = self._bridge_marks().items()
        names = {name for name, of in marks if of.get(naming.MARK_NETWORK) not in (None, own)}
        links = self._monitor.links
        masters = {links[name].master for name in names & links.keys()}
        return {
            link.name: link.index
            for link in links.values()
            if link.index in masters or link.name == self._settings.linux_bridge
        }

    def have_controller(self) -> bool:
        """Whether a controller is attached to an OVS bridge of any of these networks."""
        return any(
            uuids(row["controller"])
            for row in self._bridges()
            if naming.MARK_NETWORK in pairs(row["external_ids"])
        )

    def learning_bridges(self) -> set[str]:
        """The OVS bridges that learn, and have no other daemon to see to them.

        They are those of networks without a daemon, and the own if its topology is not flow.
        """
        own_learns = self._settings.overlay.topology != TOPOLOGY_FLOW
        names = set()
        for name, marks in self._bridge_marks().items():
            network, maker = marks.get(naming.MARK_NETWORK), marks.get(naming.MARK_MAKER)
            is_own = network == self._settings.network
            has_no_daemon = network and not is_own and maker == naming.MAKER_PLUGIN
            if (is_own and own_learns) or has_no_daemon:
                names.add(name)
        return names

    def vxlan_ports(self) -> frozenset[int]:
        """The UDP ports at which nodes take in VXLAN of any of these networks.

        Nodes believe whoever has this node's address, so a pod must not send to any of them.
        """
        (found,) = self._replica.answer([TUNNEL_QUESTION])
        told = {
            pairs(row["options"]).get("dst_port", "")
            for row in found["rows"]
            if naming.MARK_NETWORK in pairs(row["external_ids"])
        }
        own = self._settings.overlay.dst_port or VXLAN_PORT  # before there is a tunnel, too
        return frozenset({own, *map(_port, told)})

    def _bridge_marks(self) -> dict[str, dict[str, str]]:
        """The marks of all OVS bridges, by name; none for those that aren't Linen's."""
        return {row["name"]: pairs(row["external_ids"]) for row in self._bridges()}

    def _bridges(self) -> list[Json]:
        (found,) = self._replica.answer([BRIDGE_QUESTION])
        rows: list[Json] = found["rows"]
        return rows


def _port(told: str) -> int:
    """As Open vSwitch understands it (`set_tunnel_config`, lib/netdev-vport.c), or the default."""
    return int(told) & 0xFFFF if told.isdecimal() else VXLAN_PORT
