# SPDX-License-Identifier: Apache-2.0
"""Nodes with addresses of both IP versions, or of IPv6 alone, in a Kubernetes cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.host import wait_until
from support.kubernetes_nodes import KubernetesNodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.control_plane import ControlPlane
    from support.kubernetes_nodes import KubernetesNode

IPV4, IPV6 = "10.244.0.0/16", "fd00:10:244::/48"


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[KubernetesNodes]:
    """A cluster without nodes."""
    with KubernetesNodes(plane) as empty:
        yield empty


def add_node(
    cluster: KubernetesNodes, name: str, *vteps: str, pods: str = "dual"
) -> KubernetesNode:
    """A node with these InternalIPs, in this order, and pod ranges of these IP versions."""
    node = cluster.add(name)
    number = name.removeprefix("node")
    parts = {"ipv4": [f"10.244.{number}.0/24"], "ipv6": [f"fd00:10:244:{number}::/64"]}
    ranges = parts.get(pods, parts["ipv4"] + parts["ipv6"])
    for vtep in vteps:
        if ":" in vtep:
            node.host.run("ip", "address", "add", f"{vtep}/64", "dev", "underlay", "nodad")
    node.plane.set_addresses(name, vteps)
    node.plane.patch_node(name, {"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}})
    return node


def published(node: KubernetesNode, key: str) -> str | None:
    """What a Node says of itself to the others."""
    annotations = node.plane.node(node.name)["metadata"].get("annotations", {})
    found: str | None = annotations.get(f"linen-cni/{key}")
    return found


def bridge_entry(node: KubernetesNode) -> dict[str, Any]:
    """The bridge plugin's entry in the node's conflist; waits for that."""
    wait_until(node.settings["conflist"].exists, "the conflist")
    found: dict[str, Any] = json.loads(node.settings["conflist"].read_text())["plugins"][0]
    return found


def test_nodes_agree_on_an_ip_version(cluster: KubernetesNodes) -> None:
    """A node with IPv4 alone and two with both, in whatever order, have tunnels over IPv4."""
    one = add_node(cluster, "node1", "10.245.0.1")
    two = add_node(cluster, "node2", "fd00:10:245::2", "10.245.0.2")
    three = add_node(cluster, "node3", "10.245.0.3", "fd00:10:245::3")
    ranges = {"cluster_range": f"{IPV4},{IPV6}"}

    with one.flaxd(**ranges), two.flaxd(**ranges) as daemon, three.flaxd(**ranges):
        one.wait_for_peers("node2", "node3")
        two.wait_for_peers("node1", "node3")
        three.wait_for_peers("node1", "node2")
        assert published(two, "vtep") == "10.245.0.2"
        assert published(two, "pod-ranges") == "10.244.2.0/24,fd00:10:244:2::/64"
        assert bridge_entry(two)["mtu"] == 1450
        gateways = [
            [one["gateway"] for one in each] for each in bridge_entry(two)["ipam"]["ranges"]
        ]
        assert gateways == [["10.244.2.1"], ["fd00:10:244:2::1"]]
        assert "VTEP addresses" not in daemon.log


def test_ipv6_alone(cluster: KubernetesNodes) -> None:
    """Nodes and pods that have IPv6 alone get tunnels, ranges and an MTU of IPv6."""
    nodes = [add_node(cluster, f"node{n}", f"fd00:10:245::{n}", pods="ipv6") for n in (1, 2)]
    one, two = nodes

    with one.flaxd(cluster_range=IPV6), two.flaxd(cluster_range=IPV6):
        wait_until(lambda: one.vteps() == {"fd00:10:245::2"}, "node1's tunnel")
        wait_until(lambda: two.vteps() == {"fd00:10:245::1"}, "node2's tunnel")
        entry = bridge_entry(one)
        assert (entry["mtu"], entry["ipMasq"]) == (1430, True)
        assert entry["ipam"]["ranges"] == [
            [
                {
                    "subnet": IPV6,
                    "rangeStart": "fd00:10:244:1::2",
                    "rangeEnd": "fd00:10:244:1:ffff:ffff:ffff:ffff",
                    "gateway": "fd00:10:244:1::1",
                }
            ]
        ]
        wait_until(lambda: one.condition().get("status") == "False", "the condition")


def test_a_cluster_that_wants_ipv6(cluster: KubernetesNodes) -> None:
    """With `vtep-family ipv6` tunnels are over IPv6; a node without says so, and gets none."""
    one = add_node(cluster, "node1", "10.245.0.1", "fd00:10:245::1", pods="ipv4")
    two = add_node(cluster, "node2", "10.245.0.2", pods="ipv4")
    wanted = {"vtep_family": "ipv6"}

    with one.flaxd(**wanted), two.flaxd(**wanted) as poor:
        wait_until(lambda: published(one, "vtep") == "fd00:10:245::1", "node1's address")
        said = "the Node has no IPv6 InternalIP, but 10.245.0.2"
        poor.wait_for(said)
        two.wait_for_event(said)
        wait_until(lambda: two.condition().get("status") == "True", "the condition")
        assert published(two, "vtep") is None

        cluster.plane.set_addresses("node2", ["10.245.0.2", "fd00:10:245::2"])

        wait_until(lambda: one.vteps() == {"fd00:10:245::2"}, "node1's tunnel")
        wait_until(lambda: two.vteps() == {"fd00:10:245::1"}, "node2's tunnel")


def test_nodes_that_do_not_agree(cluster: KubernetesNodes) -> None:
    """Nodes that cannot reach one another have no tunnel, and an Event of each says why."""
    one = add_node(cluster, "node1", "10.245.0.1", pods="ipv4")
    two = add_node(cluster, "node2", "fd00:10:245::2", pods="ipv4")

    with one.flaxd(), two.flaxd():
        one.wait_for_event("no tunnel to node node2: VTEP addresses there are of IPv6")
        two.wait_for_event("no tunnel to node node1: VTEP addresses there are of IPv4")
        assert one.vteps() == two.vteps() == set()


def test_kernel_that_keeps_answers_of_services_over_ipv6(cluster: KubernetesNodes) -> None:
    """Where pods have IPv6, its own setting of the kernel is asked for."""
    node = add_node(cluster, "node1", "10.245.0.1")
    node.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1")
    node.host.run("sysctl", "-w", "net.bridge.bridge-nf-call-ip6tables=0")

    with node.flaxd(cluster_range=f"{IPV4},{IPV6}") as daemon:
        node.wait_for_event("net.bridge.bridge-nf-call-ip6tables is 0")
        assert not any("bridge-nf-call-iptables" in fault for fault in daemon.state()["faults"])
