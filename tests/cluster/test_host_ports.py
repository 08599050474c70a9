# SPDX-License-Identifier: Apache-2.0
"""hostPorts: ports of a node that lead to one of its pods, which `portmap` opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import HTTP_PORT, UDP_PORT, running_pods
from support.cluster.services import OUTSIDE, ask, ask_udp
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen
    from support.cluster.pods import Pods

SERVER = "node1-server"
HOST_HTTP, HOST_UDP = 30080, 30081
# The pod's own node and others, the pod itself, pods beside it and elsewhere, and the outside.
PLACES = (
    pytest.param(SERVER, marks=pytest.mark.portmap),
    "node1-a",
    "node2-a",
    "node1",
    "node2",
    OUTSIDE,
)


@pytest.fixture(scope="module")
def pods(installed: Linen) -> Iterator[Pods]:
    """A pod with hostPorts on node1, and pods that call it."""
    with running_pods(installed.cluster, "host-ports", "node1-a", "node2-a") as pods:
        add_server(pods)
        yield pods


def add_server(pods: Pods) -> None:
    """Start the pod with hostPorts."""
    http = {"containerPort": HTTP_PORT, "hostPort": HOST_HTTP}
    udp = {"containerPort": UDP_PORT, "hostPort": HOST_UDP, "protocol": "UDP"}
    pods.create(SERVER, ports=[http, udp])


@pytest.mark.usefixtures("pods")
@pytest.mark.parametrize("place", PLACES)
def test_host_port(cluster: Cluster, place: str) -> None:
    """Whoever calls a hostPort reaches the node's pod, by TCP and UDP."""
    address = cluster.nodes["node1"].address
    assert ask(cluster, place, f"http://{address}:{HOST_HTTP}/hostname", 8) == [SERVER] * 8
    assert ask_udp(cluster, place, address, HOST_UDP, 8) == [SERVER] * 8


@pytest.mark.portmap
@pytest.mark.usefixtures("pods")
def test_host_port_on_loopback(cluster: Cluster) -> None:
    """The pod's node reaches it by its loopback, too."""
    url = f"http://127.0.0.1:{HOST_HTTP}/hostname"
    assert ask(cluster, "node1", url, 8) == [SERVER] * 8


def test_host_port_ends_with_its_pod(cluster: Cluster, pods: Pods) -> None:
    """When the pod is gone, its hostPort is closed, and a new pod can have it."""
    node = cluster.nodes["node1"]
    url = f"http://{node.address}:{HOST_HTTP}/hostname"
    cluster.kubectl("delete", "pod", SERVER)
    refused = ("curl", "-sS", "-m2", url)
    wait_until(lambda: node.run(*refused, check=False).returncode == 7, "the port to close", 30)
    add_server(pods)
    assert ask(cluster, OUTSIDE, url) == [SERVER]
