# SPDX-License-Identifier: Apache-2.0
"""A tunnel address that goes from its device, as when a network's daemon is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from linen.flaxd import vtep
from support.host import wait_until

if TYPE_CHECKING:
    from support.kubernetes_nodes import KubernetesNode

AWAY = "no device of this node has its tunnel address 10.245.0.1"
PEER = {"linen-cni/vtep": "10.245.0.2", "linen-cni/version": "1"}


def published(node: KubernetesNode) -> str | None:
    """The address that a Node tells the others."""
    annotations = node.plane.node(node.name)["metadata"].get("annotations", {})
    found: str | None = annotations.get("linen-cni/vtep")
    return found


@pytest.mark.parametrize("more", [(), ("fd00:10:245::1/64",)])
def test_for_a_moment(node1: KubernetesNode, more: tuple[str, ...]) -> None:
    """While it is away nobody is told another one, or none, and tunnels stay; then all is well.

    So it is with an address of the other IP version on that device.
    """
    node1.plane.add_node("node2", annotations=PEER)
    for address in more:
        node1.host.run("ip", "address", "add", address, "dev", "underlay", "nodad")
    with node1.flaxd(vtep_interface="underlay") as daemon:
        daemon.wait_for("the overlay works")
        wait_until(lambda: published(node1) == "10.245.0.1", "the annotation")

        node1.host.run("ip", "address", "del", "10.245.0.1/16", "dev", "underlay")
        wait_until(lambda: AWAY in daemon.get("/readyz")[1], "the daemon to miss it")
        assert published(node1) == "10.245.0.1"
        assert daemon.state()["view"]["own"]["vtep"] == "10.245.0.1"
        assert node1.vteps() == {"10.245.0.2"}

        node1.host.run("ip", "address", "add", "10.245.0.1/16", "dev", "underlay")
        wait_until(lambda: daemon.get("/readyz")[0] == 200, "the daemon to be ready")
        assert "remove" not in daemon.log


def test_for_another_one(node1: KubernetesNode) -> None:
    """Another address in its place is told at once."""
    with node1.flaxd(vtep_interface="underlay"):
        wait_until(lambda: published(node1) == "10.245.0.1", "the annotation")

        node1.host.run("ip", "address", "del", "10.245.0.1/16", "dev", "underlay")
        node1.host.run("ip", "address", "add", "10.245.0.77/16", "dev", "underlay")

        # Sooner than it would be given up.
        wait_until(lambda: published(node1) == "10.245.0.77", "the new address", vtep.PATIENCE - 1)


def test_with_a_second_network(node1: KubernetesNode) -> None:
    """The daemon of a secondary network does not tell another one meanwhile either."""
    blue = {"network": "blue", "vni": 8, "ovs_bridge": "br1", "linux_bridge": "kbr1"}
    blue |= {"gateway": "none", "cluster_range": "10.99.0.0/16"}
    blue |= {"conflist": node1.host.folder / "blue.d" / "blue.conflist"}
    node1.plane.set_addresses("node1", ["10.245.9.9"])  # what it would choose by itself
    with node1.flaxd(vtep_interface="underlay") as first, node1.flaxd(**blue) as second:
        for daemon in first, second:
            daemon.wait_for("the overlay works")

        node1.host.run("ip", "address", "del", "10.245.0.1/16", "dev", "underlay")
        for daemon in first, second:
            wait_until(lambda: AWAY in daemon.get("/readyz")[1], "it to be missed")  # noqa: B023
        assert published(node1) == "10.245.0.1"

        node1.host.run("ip", "address", "add", "10.245.0.1/16", "dev", "underlay")
        for daemon in first, second:
            wait_until(lambda: daemon.get("/readyz")[0] == 200, "it to be ready")  # noqa: B023
