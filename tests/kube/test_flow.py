# SPDX-License-Identifier: Apache-2.0
"""Topology flow in a Kubernetes cluster, where each node says itself which pods are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.host import wait_until
from support.kubernetes_nodes import address_of

if TYPE_CHECKING:
    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode

FLOW = {"topology": "flow", "vni": 7}


def announce(plane: ControlPlane, name: str, *ranges: str) -> None:
    """A node whose daemon is elsewhere: its Node object as that daemon would leave it."""
    annotations = {
        "linen-cni/vtep": address_of(name),
        "linen-cni/pod-ranges": ",".join(ranges),
        "linen-cni/version": "1",
    }
    plane.add_node(name, annotations=annotations)


def receivers(node: KubernetesNode, cidr: str) -> list[str]:
    """The nodes that packets and questions for a range are sent to."""
    flows = ("ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", "br0")
    lines = node.host.run(*flows, check=False).stdout.splitlines()
    return [
        line.partition("set_field:")[2].partition("->")[0] for line in lines if f"={cidr} " in line
    ]


def test_nodes_join_and_leave(node1: KubernetesNode) -> None:
    """A Node that is announced has rules, and one that is deleted has none."""
    announce(node1.plane, "node2", "10.244.2.0/24")
    with node1.flaxd(**FLOW) as daemon:
        daemon.wait_for("the overlay works")
        assert receivers(node1, "10.244.2.0/24") == [address_of("node2")] * 2

        announce(node1.plane, "node3", "10.244.3.0/24", "10.244.33.0/24")
        wait_until(lambda: len(receivers(node1, "10.244.33.0/24")) == 2, "rules for node3")
        node1.plane.delete_node("node2")
        wait_until(lambda: not receivers(node1, "10.244.2.0/24"), "node2's rules to go")


def test_a_node_takes_nothing_from_another(node1: KubernetesNode) -> None:
    """A Node that claims another's pods, or addresses of others, gets none of them, and it is told.

    The rest of its ranges are its own all the same.
    """
    announce(node1.plane, "node2", "10.244.2.0/24")
    claims = ("10.244.2.128/25", "10.244.1.0/24", "10.245.0.0/16", "10.244.9.0/24")
    announce(node1.plane, "node9", *claims)

    with node1.flaxd(**FLOW) as daemon:
        daemon.wait_for("the overlay works")
        for claim in claims[:3]:
            daemon.wait_for(f"range {claim} of node node9")
            assert receivers(node1, claim) == []
        assert receivers(node1, "10.244.2.0/24") == [address_of("node2")] * 2
        assert receivers(node1, "10.244.9.0/24") == [address_of("node9")] * 2
