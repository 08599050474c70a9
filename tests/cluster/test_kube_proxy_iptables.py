# SPDX-License-Identifier: Apache-2.0
"""Services with kube-proxy in its iptables mode: it translates by other means, so less is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import running_pods
from support.cluster.services import OUTSIDE, Service, ask, ask_udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen

PODS = ("node1-a", "node2-a", "node3-a")
PLACES = ("node1-a", "node3-a", "node1", "node3", OUTSIDE)


@pytest.fixture(scope="module")
def alone(installed: Linen) -> Iterator[Service]:
    """A service of node3's pod alone, after all kube-proxies have changed their mode."""
    nodes = installed.cluster.nodes.values()
    try:
        for node in nodes:
            node.restart_proxy("iptables")
        with running_pods(installed.cluster, "iptables", *PODS) as pods:
            yield Service(pods, "alone", "node3-a")
    finally:
        for node in nodes:
            node.restart_proxy("nftables")


def test_rules_are_iptables(cluster: Cluster, alone: Service) -> None:
    """kube-proxy's rules are iptables', none is left of its nftables mode."""
    for node in cluster.nodes.values():
        assert alone.address in node.run("iptables-save", "-t", "nat").stdout
        assert "kube-proxy" not in node.run("nft", "list", "tables").stdout


@pytest.mark.parametrize("place", PLACES[:-1])
def test_cluster_ip(cluster: Cluster, alone: Service, place: str) -> None:
    """Pods, the service's own among them, and nodes reach a service by its ClusterIP."""
    assert ask(cluster, place, f"http://{alone.address}/hostname", 8) == ["node3-a"] * 8
    assert ask_udp(cluster, place, alone.address, 81, 8) == ["node3-a"] * 8


@pytest.mark.parametrize("place", PLACES)
def test_node_port_of_a_pod_elsewhere(cluster: Cluster, alone: Service, place: str) -> None:
    """Pods, nodes and the outside reach a pod on a third node by any node's port."""
    for node in cluster.nodes.values():
        url = f"http://{node.address}:{alone.http_port}/hostname"
        assert ask(cluster, place, url, 8) == ["node3-a"] * 8
        assert ask_udp(cluster, place, node.address, alone.udp_port, 8) == ["node3-a"] * 8
