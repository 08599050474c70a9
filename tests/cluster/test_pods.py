# SPDX-License-Identifier: Apache-2.0
"""Pods on all nodes reach one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import FILES_PORT, HTTP_PORT, UDP_PORT, running_pods
from support.cluster.services import ask, ask_udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.linen import Linen
    from support.cluster.pods import Pods

NAMES = ("node1-a", "node1-b", "node2-a", "node3-a")
MTU = 1450  # that of the network between the nodes, 1500, less VXLAN's 50
HEADERS = 28  # bytes of IPv4 and ICMP before what ping sends


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """Two pods on one node, and one on each other."""
    with running_pods(installed.cluster, "pods", *NAMES) as pods:
        yield pods


def test_every_pod_has_an_address_of_its_nodes_range(pods: Pods) -> None:
    """A pod's address is in the part of the pod network that Kubernetes gave its node."""
    for name, address in pods.addresses.items():
        (pod_range,) = pods.cluster.plane.node(pods.nodes[name])["spec"]["podCIDRs"]
        assert address.startswith(pod_range.removesuffix("0/24"))


@pytest.mark.parametrize("source", NAMES)
def test_ping(pods: Pods, source: str) -> None:
    """Every pod pings every other, with packets that just fit, and with some that do not."""
    for size in (56, MTU - HEADERS, 4000):
        for target in pods.addresses.values():
            pods.exec(source, "ping", "-c1", "-w30", f"-s{size}", "-Mdont", target)


def test_mtu_is_what_tunnels_carry(pods: Pods) -> None:
    """A packet that may not be split passes up to the MTU, and is refused in the pod beyond it."""
    target = pods.addresses["node2-a"]
    ping = ("ping", "-c1", "-w30", "-Mdo")
    pods.exec("node1-a", *ping, f"-s{MTU - HEADERS}", target)
    with pytest.raises(AssertionError, match=f"mtu={MTU}"):
        pods.exec("node1-a", *ping, f"-s{MTU - HEADERS + 1}", target)


@pytest.mark.parametrize("source", NAMES)
def test_tcp_carries_a_megabyte(pods: Pods, source: str) -> None:
    """Every pod fetches a megabyte from every other, and gets what was sent."""
    wanted = pods.exec(source, "sh", "-c", "head -c1000000 /agnhost | sha256sum")
    for target in pods.addresses.values():
        url = f"http://{target}:{FILES_PORT}/agnhost"
        got = pods.exec(source, "sh", "-c", f"curl -fsSr0-999999 -m60 {url} | sha256sum")
        assert got == wanted


@pytest.mark.parametrize("source", NAMES)
def test_udp(pods: Pods, source: str) -> None:
    """Every pod gets every other's name by a packet of UDP."""
    for target, address in pods.addresses.items():
        assert ask_udp(pods.cluster, source, address, UDP_PORT) == [target]


@pytest.mark.parametrize("source", NAMES)
def test_pods_see_each_others_addresses(pods: Pods, source: str) -> None:
    """A pod that is called by another sees the caller's own address, without translation."""
    for target in pods.addresses.values():
        (answer,) = ask(pods.cluster, source, f"http://{target}:{HTTP_PORT}/clientip")
        assert answer.rpartition(":")[0] == pods.addresses[source]
