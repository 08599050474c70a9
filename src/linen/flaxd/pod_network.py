# SPDX-License-Identifier: Apache-2.0
"""A node's part of the pod network: where its gateways are, and whether it can be a part at all.

Kubernetes gives each node a part of one pod network, and a pod that is in two networks needs
addresses of two. So in a secondary one a node has the part at the same place of the network's own
cluster range: 10.244.3.0/24 of 10.244.0.0/16 is 10.99.3.0/24 of 10.99.0.0/16.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from linen.core import cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

SMALLEST_RANGE = 4  # addresses: network, gateway, one pod, broadcast
KEPT_GATEWAYS = 1 << 15  # asked for every peer in every round of probes, to the same effect
KEPT_MOVES = 1 << 17  # ranges that have been moved before


@functools.lru_cache(maxsize=KEPT_GATEWAYS)
def gateways(ranges: tuple[str, ...], cluster_range: tuple[str, ...]) -> tuple[str, ...]:
    """The gateways of a node with these pod ranges: one for each IP version.

    It is the first address of the first range. A range outside of `cluster_range` has none: nobody
    can make this node send packets to just anywhere.
    """
    cluster_nets = [ipaddress.ip_network(cidr) for cidr in cluster_range]
    found: dict[int, str] = {}
    for own in map(ipaddress.ip_network, ranges):
        if _has_room(own) and any(_is_part(own, whole) for whole in cluster_nets):
            found.setdefault(own.version, str(own.network_address + 1))
    return tuple(found.values())


def range_faults(cluster_range: Iterable[str], ranges: Sequence[str]) -> list[str]:
    """Why a node's ranges cannot be parts of the cluster's."""
    if not ranges:
        return ["this node has no part of the pod network yet"]
    subnets = {net.version: net for net in map(ipaddress.ip_network, cluster_range)}
    faults = []
    for own in map(ipaddress.ip_network, ranges):
        subnet = subnets.get(own.version)
        if subnet is None or not _is_part(own, subnet):
            known = ", ".join(map(str, subnets.values()))
            faults.append(f"the node's range {own} is no part of the cluster's {known}")
        elif not _has_room(own):
            faults.append(f"the node's range {own} has no room for a gateway and a pod")
    return faults


def moved(peer: cluster.Peer, cluster_range: tuple[str, ...]) -> cluster.Peer:
    """A node with its ranges moved into `cluster_range`; without those of another IP version."""
    ranges = [range_ for cidr in peer.ranges for range_ in _moved(cidr, cluster_range)]
    return cluster.Peer(peer.name, peer.vtep, ranges=ranges, is_master=peer.is_master)


@functools.lru_cache(maxsize=KEPT_MOVES)
def _moved(cidr: str, cluster_range: tuple[str, ...]) -> tuple[str, ...]:
    part = ipaddress.ip_network(cidr)
    found = []
    for whole in map(ipaddress.ip_network, cluster_range):
        # Not `_is_part`: it is no part of this one yet.
        if whole.version == part.version and part.prefixlen >= whole.prefixlen:
            place = int(part.network_address) & int(whole.hostmask)
            address = whole.network_address + place
            found.append(f"{address}/{part.prefixlen}")
    return tuple(found)


def _has_room(own: IpNetwork) -> bool:
    return own.num_addresses >= SMALLEST_RANGE


def _is_part(part: IpNetwork, whole: IpNetwork) -> bool:
    return part.network_address in whole and part.broadcast_address in whole
