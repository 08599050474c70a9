# SPDX-License-Identifier: Apache-2.0
"""Services answer pods, nodes and the rest of the world, with kube-proxy in its nftables mode.

Each call is a connection of its own, so that kube-proxy chooses a pod for it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import FILES_PORT, running_pods
from support.cluster.services import OUTSIDE, Service, ask, ask_udp, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.pods import Pods

NODES = ("node1", "node2", "node3")
PODS = ("node1-a", "node2-a", "node3-a")
INSIDE = (*PODS, *NODES)
PLACES = (*INSIDE, OUTSIDE)
# So many calls that all of three pods are among the answers, but for once in a million.
ENOUGH = 36


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """A pod on each node, all of which both serve and call."""
    with running_pods(installed.cluster, "services", *PODS) as pods:
        yield pods


@pytest.fixture(scope="module")
def everybody(pods: Pods) -> Service:
    """A service of all pods."""
    return Service(pods, "everybody")


@pytest.fixture(scope="module")
def alone(pods: Pods) -> Service:
    """A service of node3's pod alone."""
    return Service(pods, "alone", "node3-a")


@pytest.fixture(scope="module")
def sticky(pods: Pods) -> Service:
    """A service of all pods, with affinity."""
    return Service(pods, "sticky", sessionAffinity="ClientIP")


@pytest.mark.parametrize("place", INSIDE)
def test_cluster_ip(cluster: Cluster, everybody: Service, place: str) -> None:
    """Pods and nodes reach every pod of a service by its ClusterIP, and each call is answered."""
    url = f"http://{everybody.address}/hostname"
    assert set(ask(cluster, place, url, ENOUGH)) == set(PODS)
    assert set(ask_udp(cluster, place, everybody.address, 81, ENOUGH)) == set(PODS)


@pytest.mark.parametrize("place", PLACES)
def test_node_port(cluster: Cluster, everybody: Service, place: str) -> None:
    """Pods, nodes and the outside reach every pod of a service by the port of any node."""
    tcp, udp = [], []
    each = ENOUGH // len(NODES)
    for node in cluster.nodes.values():
        tcp += ask(cluster, place, f"http://{node.address}:{everybody.http_port}/hostname", each)
        udp += ask_udp(cluster, place, node.address, everybody.udp_port, each)
    assert set(tcp) == set(udp) == set(PODS)


@pytest.mark.parametrize("place", PLACES)
def test_node_port_of_a_pod_elsewhere(cluster: Cluster, alone: Service, place: str) -> None:
    """Any node's port leads to a pod on a third node, whose answer finds its way back.

    That is where a network of one segment goes wrong unless pods are masqueraded: the third node
    would answer past the one that has translated the call.
    """
    for node in cluster.nodes.values():
        url = f"http://{node.address}:{alone.http_port}/hostname"
        assert ask(cluster, place, url, 8) == ["node3-a"] * 8
        assert ask_udp(cluster, place, node.address, alone.udp_port, 8) == ["node3-a"] * 8


def test_a_pod_reaches_itself_through_its_service(cluster: Cluster, alone: Service) -> None:
    """A pod whose service is made of itself alone is answered by itself."""
    url = f"http://{alone.address}/hostname"
    assert ask(cluster, "node3-a", url, 8) == ["node3-a"] * 8
    assert ask_udp(cluster, "node3-a", alone.address, 81, 8) == ["node3-a"] * 8


@pytest.mark.parametrize("place", ["node1-a", "node2-a"])
def test_cluster_ip_keeps_the_callers_address(
    cluster: Cluster, pods: Pods, alone: Service, place: str
) -> None:
    """A pod that is called through a ClusterIP sees the calling pod's own address."""
    (answer,) = ask(cluster, place, f"http://{alone.address}/clientip")
    assert answer.rpartition(":")[0] == pods.addresses[place]


def test_node_port_translates_the_callers_address(
    cluster: Cluster, pods: Pods, alone: Service
) -> None:
    """What comes by a node's port has that node's address in the pod network, a pod's call too."""
    node = cluster.nodes["node2"]
    (address,) = {
        ask(cluster, place, f"http://{node.address}:{alone.http_port}/clientip")[0].split(":")[0]
        for place in ("node1-a", "node1", OUTSIDE)
    }
    gateway = f"{pods.addresses['node2-a'].rpartition('.')[0]}.1"
    assert address == gateway


def test_local_traffic_policy_keeps_the_outsides_address(cluster: Cluster, pods: Pods) -> None:
    """With externalTrafficPolicy Local a pod sees who calls it from outside, by its own node."""
    local = Service(pods, "local", "node3-a", externalTrafficPolicy="Local")
    url = f"http://{cluster.nodes['node3'].address}:{local.http_port}/clientip"
    (answer,) = ask(cluster, OUTSIDE, url)
    assert answer.rpartition(":")[0] == cluster.fabric.address


@pytest.mark.parametrize("place", PODS)
def test_session_affinity(cluster: Cluster, sticky: Service, place: str) -> None:
    """A service with affinity sends all calls of one pod to the same pod."""
    answers = ask(cluster, place, f"http://{sticky.address}/hostname", ENOUGH)
    assert len(set(answers)) == 1


def test_a_megabyte_by_another_nodes_port(cluster: Cluster, pods: Pods) -> None:
    """The outside fetches a megabyte from a pod behind another node's port, and gets all of it."""
    files = Service(pods, "files", "node3-a", FILES_PORT)
    url = f"http://{cluster.nodes['node1'].address}:{files.http_port}/agnhost"
    got = run(cluster, OUTSIDE, f"curl -fsSr0-999999 -m30 {url} | sha256sum")
    assert got == run(cluster, "node3-a", "head -c1000000 /agnhost | sha256sum")
