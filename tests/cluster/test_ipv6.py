# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, "IPv6": pods of real kubelets that have it beside IPv4, or alone."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from support.cluster import addressing, fabric
from support.cluster.addressing import in_url
from support.cluster.cluster import running_cluster
from support.cluster.linen import Linen, image
from support.cluster.pods import FILES_PORT, HTTP_PORT, running_pods
from support.cluster.services import OUTSIDE, Service, ask, ask_udp, run
from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.pods import Pods

CLUSTERS = {"with-ipv4": addressing.BOTH, "alone": addressing.IPV6}
NODES = ("node1", "node2")
PODS = ("node1-a", "node2-a")
SERVER, HOST_PORT = "node1-server", 30080
UNDERLAY = 1500  # bytes: the MTU of the network between the nodes
VXLAN = {4: 50, 6: 70}  # bytes that a tunnel adds, by the version of IP that it is over
HEADERS = 48  # bytes of IPv6 and ICMPv6 before what ping sends
ENOUGH = 20  # calls: that none of them reaches one of two pods happens once in a million


@pytest.fixture(scope="module", params=list(CLUSTERS.values()), ids=list(CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes with IPv6, and Linen with a range of each version that they have."""
    with running_cluster(request.param) as cluster:
        cluster.add_nodes(*NODES, images=[image("linen")])
        Linen(cluster).install()
        yield cluster


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[Pods]:
    """A pod on each node, which both serve and call."""
    with running_pods(cluster, "ipv6", *PODS) as pods:
        yield pods


@pytest.fixture(scope="module")
def service(pods: Pods) -> Service:
    """A service of both pods, with an address of each version that the cluster has."""
    return Service(pods, "everybody", ipFamilyPolicy="PreferDualStack")


@pytest.fixture(scope="module")
def service_address(cluster: Cluster, service: Service) -> str:
    """The service's address of IPv6, when all nodes serve that, too."""
    path = f"/api/v1/namespaces/default/services/{service.name}"
    address = str(cluster.plane.request("GET", path)["spec"]["clusterIPs"][-1])
    service.wait_until_served(in_url(address))
    return address


@pytest.fixture(scope="module")
def host_port(cluster: Cluster) -> Iterator[None]:
    """A pod that a port of its node leads to."""
    ports = [{"containerPort": HTTP_PORT, "hostPort": HOST_PORT}]
    with running_pods(cluster, "ipv6-host-port", SERVER, ports=ports):
        yield


def addresses_of(pods: Pods, name: str) -> list[str]:
    """All addresses of a pod; the last is that of IPv6."""
    found = pods.cluster.plane.request("GET", f"/api/v1/namespaces/default/pods/{name}")
    return [entry["ip"] for entry in found["status"]["podIPs"]]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_an_address_of_each_of_its_nodes_ranges(pods: Pods, name: str) -> None:
    """kubelet tells of one address out of each part of the pod networks that the node has."""
    ranges = pods.cluster.plane.node(pods.nodes[name])["spec"]["podCIDRs"]
    assert len(ranges) == len(pods.cluster.addresses.versions)
    for address, part in zip(addresses_of(pods, name), ranges, strict=True):
        assert ip_address(address) in ip_network(part)


def test_pods_reach_one_another_by_each_address(pods: Pods) -> None:
    """A pod reaches the other node's pod by all of its addresses, which sees the caller's own."""
    one, other = PODS
    pairs = zip(addresses_of(pods, one), addresses_of(pods, other), strict=True)
    for caller, target in pairs:
        (answer,) = ask(pods.cluster, one, f"http://{in_url(target)}:{HTTP_PORT}/clientip")
        assert answer.rpartition(":")[0] == in_url(caller)


def test_packets_up_to_the_mtu(pods: Pods) -> None:
    """A packet as large as the pods' MTU arrives whole, and so does a megabyte."""
    one, other = PODS
    address = addresses_of(pods, other)[-1]
    size = UNDERLAY - VXLAN[pods.cluster.addresses.versions[0]] - HEADERS
    pods.exec(one, "ping", "-6", "-c1", "-w30", "-Mdo", "-s", str(size), address)
    fetch = f"curl -fsS -m30 http://[{address}]:{FILES_PORT}/agnhost | head -c 1000000 | wc -c"
    assert run(pods.cluster, one, fetch).strip() == "1000000"


@pytest.mark.parametrize("place", [*PODS, *NODES])
def test_cluster_ip(cluster: Cluster, service_address: str, place: str) -> None:
    """Pods and nodes reach every pod of a service by its ClusterIP of IPv6, by TCP and UDP."""
    url = f"http://[{service_address}]/hostname"
    assert set(ask(cluster, place, url, ENOUGH)) == set(PODS)
    assert set(ask_udp(cluster, place, service_address, 81, ENOUGH)) == set(PODS)


@pytest.mark.usefixtures("service_address")
@pytest.mark.parametrize("place", [*PODS, *NODES, OUTSIDE])
def test_node_port(cluster: Cluster, service: Service, place: str) -> None:
    """Pods, nodes and the outside reach every pod by the port of any node's IPv6 address."""
    for node in cluster.nodes.values():
        url = f"http://[{node.addresses[6]}]:{service.http_port}/hostname"
        assert set(ask(cluster, place, url, ENOUGH)) == set(PODS)


@pytest.mark.usefixtures("pods", "host_port")
@pytest.mark.parametrize("place", [*PODS, "node2", OUTSIDE])
def test_host_port(cluster: Cluster, place: str) -> None:
    """Whoever calls a hostPort by its node's IPv6 address reaches the pod."""
    url = f"http://[{cluster.nodes['node1'].addresses[6]}]:{HOST_PORT}/hostname"
    assert ask(cluster, place, url, 4) == [SERVER] * 4


@pytest.mark.parametrize("place", PODS)
def test_pods_reach_the_outside(cluster: Cluster, pods: Pods, place: str) -> None:
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
    assert answer.rpartition(":")[0] == f"[{cluster.nodes[pods.nodes[place]].addresses[6]}]"


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(cluster: Cluster) -> None:
    """`linenctl check` has nothing against such nodes."""
    for node in cluster.nodes.values():
        assert node.faults() == []
