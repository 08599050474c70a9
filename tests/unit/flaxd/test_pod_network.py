# SPDX-License-Identifier: Apache-2.0
"""A node's part of the pod network: its gateways, its faults, its place in a secondary one."""

from __future__ import annotations

import pytest

from linen.core import cluster
from linen.flaxd import pod_network

CLUSTER = ("10.244.0.0/16", "fd00:244::/48")


@pytest.mark.parametrize(
    ("ranges", "found"),
    [
        ((), ()),
        (("10.244.2.0/24",), ("10.244.2.1",)),
        (("10.244.2.0/24", "10.244.3.0/24"), ("10.244.2.1",)),
        (("10.244.2.0/24", "fd00:244:0:2::/64"), ("10.244.2.1", "fd00:244:0:2::1")),
        (("fd00:244:0:2::/64",), ("fd00:244:0:2::1",)),
        (("10.244.0.0/16",), ("10.244.0.1",)),
        # What a node may say of itself without anybody sending packets there.
        (("8.8.8.0/24",), ()),
        (("127.0.0.0/8", "224.0.0.0/24", "255.255.255.255/32"), ()),
        (("10.0.0.0/8", "0.0.0.0/0", "::/0"), ()),
        (("8.8.8.0/24", "10.244.2.0/24"), ("10.244.2.1",)),
        (("10.244.2.7/32", "10.244.2.6/31"), ()),
    ],
)
def test_gateways(ranges: tuple[str, ...], found: tuple[str, ...]) -> None:
    """A node's gateway is the first address of its first range of each IP version."""
    assert pod_network.gateways(ranges, CLUSTER) == found


def test_ranges_outside_of_the_cluster() -> None:
    """A node's range that is no part of the cluster's is a fault, not a broken conflist."""
    faults = pod_network.range_faults(
        ["10.244.0.0/16"], ["10.245.1.0/24", "fd00::/64", "10.244.0.0/31"]
    )

    assert len(faults) == 3


@pytest.mark.parametrize(
    ("ranges", "whole", "wanted"),
    [
        (["10.244.3.0/24"], ("10.99.0.0/16",), ("10.99.3.0/24",)),
        (["10.244.3.0/24"], ("10.244.0.0/16",), ("10.244.3.0/24",)),
        (["10.244.3.0/24", "fd00:244:0:3::/64"], ("10.99.0.0/16",), ("10.99.3.0/24",)),
        (
            ["10.244.3.0/24", "fd00:244:0:3::/64"],
            ("10.99.0.0/16", "fd00:99::/48"),
            ("10.99.3.0/24", "fd00:99:0:3::/64"),
        ),
        (["10.0.0.0/8"], ("10.99.0.0/16",), ()),
        ([], ("10.99.0.0/16",), ()),
    ],
)
def test_ranges_are_moved(ranges: list[str], whole: tuple[str, ...], wanted: object) -> None:
    """A node's ranges keep their place, in a cluster range that has the room and the IP version."""
    peer = cluster.Peer("node3", "10.245.0.3", ranges=ranges, is_master=True)

    moved = pod_network.moved(peer, whole)

    assert moved == cluster.Peer("node3", "10.245.0.3", ranges=moved.ranges, is_master=True)
    assert moved.ranges == wanted
