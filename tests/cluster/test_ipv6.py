# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "IPv6": pods of real kubelets with addresses of both IP versions."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from support.cluster import fabric, settings
from support.cluster.cluster import running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import FILES_PORT, HTTP_PORT, running_pods
from support.cluster.services import OUTSIDE, Service, ask, run
from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.pods import Pods

NODES = ("node1", "node2")
PODS = ("node1-a", "node2-a")
MTU = 1450  # that of the network between the nodes, 1500, less VXLAN's 50
HEADERS = 48  # bytes of IPv6 and ICMPv6 before what ping sends
ENOUGH = 20  # calls: that none of them reaches one of two pods happens once in a million


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with both IP versions, and Linen with a range of each."""
    with running_cluster(dual_stack=True) as cluster:
        cluster.add_nodes(*NODES, images=[image("linen")])
        Linen(cluster, cluster_range=settings.BOTH_POD_NETWORKS).install()
        yield cluster


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[Pods]:
    """A pod on each node, which both serve and call."""
    with running_pods(cluster, "dual-stack", *PODS) as pods:
        yield pods


@pytest.fixture(scope="module")
def service(pods: Pods) -> Service:
    """A service of both pods, with an address of each IP version."""
    return Service(pods, "both", ipFamilyPolicy="RequireDualStack")


@pytest.fixture(scope="module")
def service_address(cluster: Cluster, service: Service) -> str:
    """The service's address of IPv6, when all nodes serve that, too."""
    path = f"/api/v1/namespaces/default/services/{service.name}"
    _, address = cluster.plane.request("GET", path)["spec"]["clusterIPs"]
    service.wait_until_served(f"[{address}]")
    return str(address)


def address_6(pods: Pods, name: str) -> str:
    """A pod's address of IPv6."""
    found = pods.cluster.plane.request("GET", f"/api/v1/namespaces/default/pods/{name}")
    _, second = found["status"]["podIPs"]
    return str(second["ip"])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_an_address_of_each_of_its_nodes_ranges(pods: Pods, name: str) -> None:
    """kubelet tells of one address out of each part of the pod networks that the node has."""
    ranges = pods.cluster.plane.node(pods.nodes[name])["spec"]["podCIDRs"]
    addresses = [pods.addresses[name], address_6(pods, name)]
    for address, part in zip(addresses, ranges, strict=True):
        assert ip_address(address) in ip_network(part)


def test_pods_reach_one_another_over_both(pods: Pods) -> None:
    """A pod reaches the other node's pod by each of its addresses, which sees the caller's own."""
    one, other = PODS
    for target, caller in (
        (pods.addresses[other], pods.addresses[one]),
        (f"[{address_6(pods, other)}]", f"[{address_6(pods, one)}]"),
    ):
        (answer,) = ask(pods.cluster, one, f"http://{target}:{HTTP_PORT}/clientip")
        assert answer.rpartition(":")[0] == caller


def test_packets_of_ipv6_up_to_the_mtu(pods: Pods) -> None:
    """A packet as large as the pods' MTU arrives whole, and so does a megabyte."""
    one, other = PODS
    address = address_6(pods, other)
    size = str(MTU - HEADERS)
    pods.exec(one, "ping", "-6", "-c1", "-w30", "-Mdo", "-s", size, address)
    fetch = f"curl -fsS -m30 http://[{address}]:{FILES_PORT}/agnhost | head -c 1000000 | wc -c"
    assert run(pods.cluster, one, fetch).strip() == "1000000"


@pytest.mark.parametrize("place", [*PODS, *NODES])
def test_cluster_ip_of_ipv6(cluster: Cluster, service_address: str, place: str) -> None:
    """Pods and nodes reach every pod of a service by its ClusterIP of IPv6."""
    url = f"http://[{service_address}]/hostname"
    assert set(ask(cluster, place, url, ENOUGH)) == set(PODS)


@pytest.mark.usefixtures("service_address")
@pytest.mark.parametrize("place", [*PODS, *NODES, OUTSIDE])
def test_node_port_over_ipv6(cluster: Cluster, service: Service, place: str) -> None:
    """Pods, nodes and the outside reach every pod by the port of any node's IPv6 address."""
    for node in cluster.nodes.values():
        url = f"http://[{node.address_6}]:{service.http_port}/hostname"
        assert set(ask(cluster, place, url, ENOUGH)) == set(PODS)


@pytest.mark.parametrize("place", PODS)
def test_pods_reach_the_outside_over_ipv6(cluster: Cluster, pods: Pods, place: str) -> None:
    """A pod's packets to the outside have its node's IPv6 address, so answers find their way."""
    command = [*cluster.fabric.inside, str(KUBERNETES / "agnhost"), "netexec"]
    command += [f"--http-port={HTTP_PORT}", "--udp-port=-1"]
    url = f"http://[{fabric.OUTSIDE_6}]:{HTTP_PORT}/clientip"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            call = f"curl -sS -m2 {url} 2>/dev/null || true"
            wait_until(lambda: run(cluster, OUTSIDE, call), "the server outside", 30)
            (answer,) = ask(cluster, place, url)
        finally:
            server.kill()
    assert answer.rpartition(":")[0] == f"[{cluster.nodes[pods.nodes[place]].address_6}]"


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(cluster: Cluster) -> None:
    """`linenctl check` has nothing against pods of both IP versions."""
    for node in cluster.nodes.values():
        assert node.faults() == []
