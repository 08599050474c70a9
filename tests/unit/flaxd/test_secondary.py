# SPDX-License-Identifier: Apache-2.0
"""Where a node's pods have their addresses in a secondary network."""

from __future__ import annotations

import pytest

from linen.core import cluster
from linen.flaxd import secondary


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

    moved = secondary.moved(peer, whole)

    assert moved == cluster.Peer("node3", "10.245.0.3", ranges=moved.ranges, is_master=True)
    assert moved.ranges == wanted
