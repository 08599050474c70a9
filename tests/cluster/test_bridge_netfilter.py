# SPDX-License-Identifier: Apache-2.0
"""What services do on nodes whose kernel does not show bridged packets to its firewall.

docs/kubernetes.md asks for br_netfilter; these are the reasons. (All other tests here run with it.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster.pods import running_pods
from support.cluster.services import OUTSIDE, Service, ask, run
from support.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.cluster import Cluster
    from support.cluster.linen import Linen

PODS = ("node1-a", "node2-a", "node3-a")
SETTING = "net.bridge.bridge-nf-call-iptables"


def set_all(cluster: Cluster, value: int) -> None:
    """Set it on every node."""
    for node in cluster.nodes.values():
        node.run("sysctl", "-w", f"{SETTING}={value}")


@pytest.fixture(scope="module")
def alone(installed: Linen) -> Iterator[Service]:
    """A service of node3's pod alone, with bridged packets hidden from the firewall."""
    cluster = installed.cluster
    with running_pods(cluster, "netfilter", *PODS) as pods:
        try:
            set_all(cluster, 0)
            yield Service(pods, "alone", "node3-a")
        finally:
            set_all(cluster, 1)


@pytest.mark.parametrize("place", [*PODS, "node1", OUTSIDE])
def test_node_ports_are_answered(cluster: Cluster, alone: Service, place: str) -> None:
    """Node ports work all the same, since pods that call them are masqueraded."""
    for node in cluster.nodes.values():
        url = f"http://{node.address}:{alone.http_port}/hostname"
        assert ask(cluster, place, url, 4) == ["node3-a"] * 4


def test_nodes_reach_cluster_ips(cluster: Cluster, alone: Service) -> None:
    """Nodes reach services by their ClusterIP all the same."""
    assert ask(cluster, "node1", f"http://{alone.address}/hostname", 4) == ["node3-a"] * 4


def test_pods_get_no_answer_from_cluster_ips(cluster: Cluster, alone: Service) -> None:
    """A pod's call to a ClusterIP is lost, and each Node has an Event that names the cause."""
    call = f"curl -sS -m2 http://{alone.address}/hostname >/dev/null 2>&1; echo $?"
    timed_out = "28"  # curl(1), EXIT CODES
    assert run(cluster, "node1-a", call).strip() == timed_out
    path = "/apis/events.k8s.io/v1/namespaces/default/events"

    def told() -> set[str]:
        events = cluster.plane.request("GET", path)["items"]
        return {event["regarding"]["name"] for event in events if SETTING in event.get("note", "")}

    wait_until(lambda: told() == set(cluster.nodes), "an Event on each Node", 60)
