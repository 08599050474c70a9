# SPDX-License-Identifier: Apache-2.0
"""Nodes can leave and come again, and what is said of a node cannot cut off another."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from support.cluster.cluster import PATIENCE
from support.cluster.linen import CONFLIST
from support.cluster.pods import template
from support.cluster.traffic import running_traffic
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.node import Node
    from support.cluster.pods import Pods

STATE = "http://127.0.0.1:9474/state"


def deployment(pods: Pods, replicas: int) -> dict[str, Any]:
    """Pods that the scheduler places evenly on the nodes that take some."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",  # so a node that is drained does not count
        "labelSelector": {"matchLabels": pods.labels},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "movable", "labels": pods.labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": pods.labels},
            "template": template(pods.labels, topologySpreadConstraints=[spread]),
        },
    }


def wait_until_rolled_out(cluster: Cluster) -> None:
    """Return when all pods of the deployment are Ready."""
    cluster.kubectl("rollout", "status", "deployment/movable", f"--timeout={PATIENCE - 5}s")


def pod_range(cluster: Cluster, name: str) -> str:
    """The part of the pod network that Kubernetes gave a node."""
    return str(cluster.plane.node(name)["spec"]["podCIDR"])


def gateway(node: Node) -> str:
    """The gateway of the pods that start now, by the conflist."""
    bridge = json.loads(node.run("cat", CONFLIST).stdout)["plugins"][0]
    return str(bridge["ipam"]["ranges"][0][0]["gateway"])


def create_in(pods: Pods, name: str, given: ipaddress.IPv4Network) -> None:
    """Start a pod whose address is in the range that its node has just got.

    The runtime reads a conflist a moment after it was replaced; what starts before is replaced.
    """

    def is_in_range() -> bool:
        pods.create(name)
        if ipaddress.ip_address(pods.addresses[name]) in given:
            return True
        pods.cluster.kubectl("delete", "pod", name)
        return False

    wait_until(is_in_range, f"{name} to have an address of {given}", PATIENCE)


def faults(node: Node) -> list[str]:
    """What a node's flaxd says is wrong, though its overlay is as it should be by all it knows."""
    page: dict[str, Any] = json.loads(node.run("curl", "-fsS", STATE).stdout)
    return list(page["faults"])


def test_drain_delete_and_add_again(linen: Linen, cluster: Cluster, pods_of_test: Pods) -> None:
    """Pods move off a node, its tunnels go with its Node, and it comes back with a new range."""
    node = cluster.nodes["node3"]
    others = ["node1", "node2"]
    pods = pods_of_test
    cluster.apply(deployment(pods, 3))
    wait_until_rolled_out(cluster)
    pods.wait_until_ready()
    assert set(pods.nodes.values()) == set(cluster.nodes)
    range_before = pod_range(cluster, "node3")

    cluster.kubectl("drain", "node3", "--ignore-daemonsets")
    wait_until_rolled_out(cluster)
    node.kill_service("kubelet")  # it would add its Node again by itself
    # It would end with its Node, and then elsewhere its DaemonSet would start it again.
    node.kill_service("kube-proxy")
    cluster.kubectl("delete", "node", "node3")
    linen.wait_for_tunnels(others)

    node.start_service("kubelet")
    cluster.wait_for_pod_range(node)
    node.start_service("kube-proxy")
    cluster.wait_until_ready("node3")
    linen.wait_for_tunnels(cluster.nodes)
    given = ipaddress.IPv4Network(pod_range(cluster, "node3"))
    assert str(given) != range_before
    wait_until(lambda: ipaddress.ip_address(gateway(node)) in given, "its new range", PATIENCE)

    create_in(pods, "node3-new", given)
    pods.create("node1-new")
    pods.wait_for_ping("node1-new", pods.addresses["node3-new"])
    pods.wait_for_ping("node3-new", gateway(node))


def test_two_nodes_with_one_tunnel_address(
    linen: Linen, cluster: Cluster, pods_of_test: Pods
) -> None:
    """A Node that claims another's tunnel address gets none, is reported, and cuts nobody off."""
    pods = pods_of_test
    pods.create("node1-a", "node2-a")
    nodes = cluster.nodes
    before = {name: linen.tunnels(name) for name in nodes}
    with running_traffic(pods, "node1-a", "node2-a") as traffic:
        address = cluster.nodes["node2"].tunnel_address
        cluster.plane.add_node("zz-impostor", annotations={"linen-cni/vtep": address})
        fault = f"node zz-impostor has the VTEP address {address} of node node2: no tunnel to it"

        def known() -> bool:
            return all(fault in faults(node) for node in nodes.values())

        def reported() -> bool:
            return fault in cluster.kubectl("get", "events", "--output=jsonpath={..message}")

        try:
            wait_until(known, "all nodes to know of the impostor", PATIENCE)
            assert {name: linen.tunnels(name) for name in nodes} == before
            traffic.wait_for_more()
            wait_until(reported, "an Event that names the impostor", PATIENCE)
        finally:
            cluster.plane.delete_node("zz-impostor")


def test_broken_annotation(linen: Linen, cluster: Cluster, pods_of_test: Pods) -> None:
    """A Node's annotations that somebody broke are corrected, and no connection is lost."""
    pods = pods_of_test
    pods.create("node1-a", "node2-a")
    before = cluster.plane.node("node2")["metadata"]["annotations"]
    with running_traffic(pods, "node1-a", "node2-a") as traffic:
        cluster.plane.annotate("node2", vtep="$(reboot)", pod_ranges="0.0.0.0/0", version=None)

        def corrected() -> bool:
            return bool(cluster.plane.node("node2")["metadata"]["annotations"] == before)

        wait_until(corrected, "node2's annotations to be as before", PATIENCE)
        linen.wait_for_tunnels(cluster.nodes)
        traffic.wait_for_more()
