# SPDX-License-Identifier: Apache-2.0
"""What the underlay says about tunnels: how large a packet may be."""

from __future__ import annotations

from linen.core import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from linen.core.model import TunnelSpec
    from linen.netlink.blocking import Netlink
    from linen.netlink.codec import Link


def mtu_warnings(netlink: Netlink, tunnels: Iterable[TunnelSpec], bridge: Link) -> list[str]:
    """A warning for each device of the underlay that is too narrow for what pods may send."""
    largest: dict[int, int] = {}
    for tunnel in tunnels:
        route = netlink.find_route(tunnel.remote)
        if route is not None and not route.is_local:
            largest[route.link] = max(largest.get(route.link, 0), addresses.overhead(tunnel.remote))
    warnings = []
    for index, overhead in largest.items():
        link = netlink.find_link_at(index)
        if link is not None and bridge.mtu > link.mtu - overhead:
            warnings.append(
                f"MTU {bridge.mtu} of {bridge.name} is too large: {link.name} carries {link.mtu}"
                f" bytes, of which VXLAN takes {overhead}; {_cure(link, overhead)},"
                " or full packets between nodes are cut up or lost"
            )
    return warnings


def _cure(link: Link, overhead: int) -> str:
    room = link.mtu - overhead
    cure = f"set mtu {room} in the bridge plugin's configuration"
    if room < addresses.IPV6_MTU:
        needed = addresses.IPV6_MTU + overhead
        cure += f" (with IPv6 pods give {link.name} {needed} first: they need {addresses.IPV6_MTU})"
    return cure
