# SPDX-License-Identifier: Apache-2.0
"""A node is Ready just as long as its overlay works, and says what hinders it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.cluster import PATIENCE
from support.cluster.linen import CONFLIST, NO_SWITCH
from support.cluster.runtimes import RUNTIME
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.pods import Pods


def test_node_without_open_vswitch(linen: Linen, cluster: Cluster) -> None:
    """A node without Open vSwitch stays NotReady and says so; it becomes Ready when that comes."""
    linen.delete()
    late = cluster.nodes["node3"]
    late.stop_ovs()

    linen.apply()

    cluster.wait_until_ready("node1", "node2")
    neighbour = cluster.nodes["node2"].tunnel_address
    wait_until(lambda: neighbour in linen.tunnels("node1"), "tunnels of the others", PATIENCE)
    cluster.wait_for_condition(
        "node3", "NetworkUnavailable", "True", "OVSDB at /var/run/openvswitch"
    )
    cluster.wait_for_condition("node3", "Ready", "False", RUNTIME.unconfigured)
    assert late.run("ls", CONFLIST, check=False).returncode

    late.start_ovs()

    cluster.wait_until_ready("node3")
    linen.wait_for_tunnels(cluster.nodes)
    cluster.wait_for_condition("node3", "NetworkUnavailable", "False", "works on this node")


@pytest.mark.status
def test_node_whose_switch_ends(linen: Linen, cluster: Cluster, pods_of_test: Pods) -> None:
    """A node whose ovs-vswitchd ends is NotReady, in the plugin's words, until that is back."""
    node = cluster.nodes["node3"]
    pods_of_test.create("node1-a", "node3-a")
    node.signal("KILL", "ovs-vswitchd")

    # containerd calls the plugin's STATUS as often as kubelet asks containerd for its own, CRI-O
    # every five seconds.
    cluster.wait_for_condition("node3", "Ready", "False", NO_SWITCH)
    cluster.wait_for_condition("node3", "NetworkUnavailable", "True", NO_SWITCH)

    node.start_ovs()

    cluster.wait_until_ready("node3")
    linen.wait_for_tunnels(cluster.nodes)
    cluster.wait_for_condition("node3", "NetworkUnavailable", "False", "works on this node")
    address = pods_of_test.addresses["node3-a"]
    pods_of_test.wait_for_ping("node1-a", address)
