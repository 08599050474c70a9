# SPDX-License-Identifier: Apache-2.0
"""Services in front of pods of the tests, and calls from all places that there are in a cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from support.cluster.pods import HTTP_PORT, UDP_PORT, Pods
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.node import Node

OUTSIDE = "outside"
_PATIENCE = 5  # seconds for an answer: a busy machine is no fault of the network


class Service:
    """A service of type NodePort, whose TCP port 80 and UDP port 81 answer with a pod's name.

    `address`: its ClusterIP; `http_port`, `udp_port`: those of every node.
    """

    def __init__(
        self, pods: Pods, name: str, pod: str = "", http_target: int = HTTP_PORT, **spec: Any
    ) -> None:
        """Create it for all `pods`, or for the one called `pod`; return when all nodes serve it."""
        ports = [
            {"name": "http", "port": 80, "targetPort": http_target},
            {"name": "udp", "port": 81, "targetPort": UDP_PORT, "protocol": "UDP"},
        ]
        selector = pods.labels | ({"pod": pod} if pod else {})
        common = {"type": "NodePort", "selector": selector, "ports": ports}
        pods.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "labels": pods.labels},
                "spec": common | spec,
            }
        )
        path = f"/api/v1/namespaces/default/services/{name}"
        made = pods.cluster.plane.request("GET", path)["spec"]
        self.name = name
        self.address: str = made["clusterIP"]
        self.http_port, self.udp_port = (int(port["nodePort"]) for port in made["ports"])
        for node in pods.cluster.nodes.values():
            wait_until(partial(self._answers, node), f"{name} on {node.name}", 60)

    def _answers(self, node: Node) -> bool:
        call = ("curl", "-fsS", "-m2", f"http://{self.address}/")
        return node.run(*call, check=False).returncode == 0


def run(cluster: Cluster, place: str, script: str) -> str:
    """What a shell script prints that runs in a pod, on a node, or outside of the cluster."""
    shell = ("sh", "-c", script)
    if place == OUTSIDE:
        return cluster.fabric.run(*shell)
    if place in cluster.nodes:
        return cluster.nodes[place].run(*shell, timeout=90).stdout
    return cluster.kubectl("exec", place, "--", *shell, timeout=90)


def ask(cluster: Cluster, place: str, url: str, times: int = 1) -> list[str]:
    """The answers to as many HTTP requests, each with a connection of its own.

    One that fails, fails the test.
    """
    call = f"curl -fsS -m{_PATIENCE} {url} && echo || exit 1"
    return run(cluster, place, f"for _ in $(seq {times}); do {call}; done").split()


def ask_udp(cluster: Cluster, place: str, address: str, port: int, times: int = 1) -> list[str]:
    """The names by which as many packets are answered, each from a port of its own.

    One that is not answered, fails the test.
    """
    call = f"echo hostname | nc -u -w{_PATIENCE} -W1 {address} {port} | grep . || exit 1"
    return run(cluster, place, f"for _ in $(seq {times}); do {call}; done").split()
