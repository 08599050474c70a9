# SPDX-License-Identifier: Apache-2.0
"""Pods and nodes reach one another, and pods reach what is outside of the cluster.

Pods in their nodes' own network, NODE-host, stand for what runs on the nodes.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.cluster import fabric
from support.cluster.pods import HTTP_PORT, UDP_PORT, running_pods
from support.cluster.services import OUTSIDE, ask, ask_udp, run
from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.pods import Pods

PODS = ("node1-a", "node2-a", "node3-a")
HOSTS = ("node1-host", "node2-host", "node3-host")


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """A pod on each node."""
    with running_pods(installed.cluster, "outside", *PODS) as pods:
        yield pods


@pytest.fixture(scope="module")
def hosts(installed: Linen) -> Iterator[Pods]:
    """What serves on the nodes themselves."""
    with running_pods(installed.cluster, "hosts", *HOSTS, hostNetwork=True) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def outside(installed: Linen) -> Iterator[str]:
    """The address of what serves outside of the cluster."""
    cluster = installed.cluster
    ports = [f"--http-port={HTTP_PORT}", f"--udp-port={UDP_PORT}"]
    serve = ["netexec", *ports, f"--udp-listen-addresses={fabric.OUTSIDE}"]
    command = [*cluster.fabric.inside, str(KUBERNETES / "agnhost"), *serve]
    call = f"curl -sS -m2 http://{fabric.OUTSIDE}:{HTTP_PORT}/ 2>/dev/null || true"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: run(cluster, OUTSIDE, call), "the server outside", 30)
            yield fabric.OUTSIDE
        finally:
            server.kill()


def callers(cluster: Cluster, place: str, addresses: dict[str, str]) -> dict[str, str]:
    """Who the servers at these addresses say calls them from a place."""
    urls = {name: f"http://{address}:{HTTP_PORT}/clientip" for name, address in addresses.items()}
    return {name: ask(cluster, place, url)[0].rpartition(":")[0] for name, url in urls.items()}


@pytest.mark.parametrize("place", PODS)
def test_pods_reach_nodes(cluster: Cluster, pods: Pods, hosts: Pods, place: str) -> None:
    """A pod reaches every node; its own sees its address, the others see that of its node."""
    own = hosts.addresses[f"{pods.nodes[place]}-host"]
    seen = callers(cluster, place, hosts.addresses)
    for name, address in hosts.addresses.items():
        assert seen[name] == (pods.addresses[place] if address == own else own)
        assert ask_udp(cluster, place, address, UDP_PORT, 4) == [name.partition("-")[0]] * 4
        pods.exec(place, "ping", "-c1", "-w30", address)


@pytest.mark.parametrize("place", HOSTS)
def test_nodes_reach_pods(cluster: Cluster, pods: Pods, hosts: Pods, place: str) -> None:
    """A node reaches every pod, which sees the node's gateway address of the pod network."""
    own = pods.addresses[place.replace("host", "a")]
    gateway = f"{own.rpartition('.')[0]}.1"
    assert set(callers(cluster, place, pods.addresses).values()) == {gateway}
    for name, address in pods.addresses.items():
        assert ask_udp(cluster, place, address, UDP_PORT, 4) == [name] * 4
        hosts.exec(place, "ping", "-c1", "-w30", address)


@pytest.mark.parametrize("place", PODS)
def test_pods_reach_the_outside(cluster: Cluster, pods: Pods, outside: str, place: str) -> None:
    """A pod's packets to the outside have its node's address, so that answers find their way."""
    node = cluster.nodes[pods.nodes[place]]
    assert callers(cluster, place, {OUTSIDE: outside}) == {OUTSIDE: node.address}
    ask_udp(cluster, place, outside, UDP_PORT, 4)
    pods.exec(place, "ping", "-c1", "-w30", outside)
