# SPDX-License-Identifier: Apache-2.0
"""flaxd on all nodes of a lab: real packets, while daemons and switches come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.overlays import Overlay, Ping, restart_switch, running_overlay, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.node import Node

ENOUGH = 60000  # pings, of which one is sent every millisecond: more than a test takes


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    """The overlay, once every pod reaches every other."""
    with running_overlay(tmp_path) as running:
        yield running


@pytest.mark.datapath
def test_restart_of_the_daemon_loses_no_packet(overlay: Overlay) -> None:
    """While the daemon of a node is stopped and started again, not one packet is lost.

    A busy machine loses one by itself now and then, so there are five attempts.
    """
    node = overlay.lab.node("node1")

    def lost_by_a_restart() -> int:
        ping = Ping(overlay.lab, overlay.lab.node("node3"), ENOUGH)
        overlay.stop_flaxd(node)
        overlay.start_flaxd(node)
        return ping.stop().lost

    assert 0 in (lost_by_a_restart() for _ in range(5))


def test_every_pod_is_reached_after_a_restart_of_the_switch(overlay: Overlay) -> None:
    """When ovs-vswitchd was killed and is back, every pod reaches every other again."""
    restart_switch(overlay.lab.node("node2"))

    assert overlay.lab.ping_matrix().complete


def test_a_node_that_leaves_and_comes_back(overlay: Overlay) -> None:
    """A node that is taken out of the file loses its tunnels, and is reached again when back."""
    node = overlay.lab.node("node1")

    def ports() -> list[str]:
        return node.run(["ovs-vsctl", "list-ports", "br0"]).stdout.split()

    with overlay.without_node3():
        wait_until(lambda: ports() == ["vxif10_245_2_3"], "the tunnel to go")

    assert overlay.lab.ping_matrix().complete


def health(node: Node) -> dict[str, str]:
    """What the node's daemon thinks of its peers."""
    return {peer["peer"]: peer["state"] for peer in state(node)["peers"]}


@pytest.mark.datapath
def test_health_of_the_peers(overlay: Overlay) -> None:
    """A cut cable is noticed by BFD within seconds, on both sides, and so is its repair."""
    node1, node3 = overlay.lab.node("node1"), overlay.lab.node("node3")
    well = {"node2": "up", "node3": "up"}
    wait_until(lambda: health(node1) == well, "all peers up", 30)
    wait_until(lambda: set(health(node3).values()) == {"up"}, "all peers of node3 up", 30)

    overlay.lab.cut("node3")
    wait_until(lambda: health(node1) == {"node2": "up", "node3": "down"}, "node3 down")
    wait_until(lambda: set(health(node3).values()) == {"down"}, "all down on node3")

    overlay.lab.heal("node3")
    wait_until(lambda: health(node1) == well, "all peers up again", 30)
