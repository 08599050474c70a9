# SPDX-License-Identifier: Apache-2.0
"""The pods' addresses in a secondary network, from those in the network of the cluster.

Kubernetes gives each node a part of one pod network, and a pod that is in two networks needs
addresses of two. So in a secondary one a node has the part at the same place of the network's own
cluster range: 10.244.3.0/24 of 10.244.0.0/16 is 10.99.3.0/24 of 10.99.0.0/16.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from linen.core import cluster

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT = 1 << 17  # ranges that have been moved before


def moved(peer: cluster.Peer, cluster_range: tuple[str, ...]) -> cluster.Peer:
    """A node with its ranges moved into `cluster_range`; without those of another IP version."""
    ranges = [range_ for cidr in peer.ranges for range_ in _moved(cidr, cluster_range)]
    return cluster.Peer(peer.name, peer.vtep, ranges=ranges, is_master=peer.is_master)


@lru_cache(maxsize=KEPT)
def _moved(cidr: str, cluster_range: tuple[str, ...]) -> Iterable[str]:
    part = ipaddress.ip_network(cidr)
    found = []
    for whole in map(ipaddress.ip_network, cluster_range):
        if whole.version == part.version and part.prefixlen >= whole.prefixlen:
            place = int(part.network_address) & int(whole.hostmask)
            address = whole.network_address + place
            found.append(f"{address}/{part.prefixlen}")
    return tuple(found)
