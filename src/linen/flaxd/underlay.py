# SPDX-License-Identifier: Apache-2.0
"""How this node's tunnels leave it: by which devices, and how large pods' packets may be for that.

Pure: from the settings, the node's tunnel address, and its devices as they are now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linen.core import addresses

if TYPE_CHECKING:
    from linen.core import cluster
    from linen.netlink.codec import Link
    from linen.netlink.monitor import Monitor
    from linen.settings.table import Settings


class Underlay:
    """What this node knows of the underlay, at the moment at which it is asked."""

    def __init__(self, settings: Settings, roster: cluster.Roster, monitor: Monitor) -> None:
        self._settings = settings
        self._roster = roster
        self._monitor = monitor

    def devices(self) -> dict[str, int] | None:
        """The devices that have this node's tunnel address, None while that is not known.

        By name, with their indexes.
        """
        own = self._own
        if own is None or not self._monitor.links:
            return None
        return {link.name: link.index for link in self._monitor.links_with(own.vtep)}

    def pod_mtu(self) -> int | None:
        """Bytes of a pod's packet: as set, else what the underlay carries less VXLAN's overhead.

        None while that is not known.
        """
        own = self._own
        if self._settings.mtu is not None or own is None:
            return self._settings.mtu
        narrowest = self._narrowest(own)
        return narrowest.mtu - addresses.overhead(own.vtep) if narrowest else None

    def mtu_faults(self, own: cluster.Peer) -> list[str]:
        """Why pods' packets would not get through, or with IPv6 no pod could start.

        `own`: this node.
        """
        mtu = self.pod_mtu()
        if mtu is None:
            return [_unknown_mtu(own)]
        enough = addresses.IPV6_MTU
        if mtu >= enough or not any(":" in cidr for cidr in own.ranges):
            return []
        narrowest = self._narrowest(own)
        if self._settings.mtu is not None or narrowest is None:
            return [
                f"IPv6 needs packets of {enough} bytes, mtu is {mtu}: set it to {enough} or more"
            ]
        needed = enough + addresses.overhead(own.vtep)
        device = narrowest.name
        fault = (
            f"IPv6 needs packets of {enough} bytes, {device} leaves {mtu} for pods: give {device}"
            f" an MTU of {needed} or more on all nodes, or pods IPv4 alone"
        )
        return [fault]

    @property
    def _own(self) -> cluster.Peer | None:
        view = self._roster.view
        return None if view is None else view.own

    def _narrowest(self, own: cluster.Peer) -> Link | None:
        """The device with the tunnel address; of several, that with the smallest MTU."""
        return min(self._monitor.links_with(own.vtep), key=lambda link: link.mtu, default=None)


def _unknown_mtu(own: cluster.Peer) -> str:
    return (
        f"how large pods' packets may be is not known: no device of this node has its tunnel"
        f" address {own.vtep}; bring that up, or set mtu"
    )
