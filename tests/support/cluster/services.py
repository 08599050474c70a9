# SPDX-License-Identifier: Apache-2.0
"""Services in front of pods of the tests, and calls from all places that there are in a cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from support.cluster.addressing import in_url
from support.cluster.cluster import PATIENCE
from support.cluster.pods import HTTP_PORT, UDP_PORT, Pods
from support.host import wait_until

if TYPE_CHECKING:
    from support.cluster.cluster import Cluster
    from support.cluster.node import Node

OUTSIDE = "outside"
# A busy machine is no fault of the network: seconds for an answer, and packets sent in vain.
_PATIENCE, _UDP_PATIENCE, _UDP_ATTEMPTS = 30, 5, 3


class Service:
    """A service of type NodePort, whose TCP port 80 and UDP port 81 answer with a pod's name.

    `address`: its ClusterIP; `http_port`, `udp_port`: those of every node.
    """

    def __init__(
        self, pods: Pods, name: str, pod: str = "", http_target: int = HTTP_PORT, **spec: Any
    ) -> None:
        """Create it for all `pods`, or for the one called `pod`; return when all nodes serve it.

        Nodes may hear of some of its pods first: they serve it when they have sent calls to each.
        """
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
        # Whose name is not told, or who gets all calls of a node, cannot be waited for by name.
        is_told = http_target == HTTP_PORT and "sessionAffinity" not in spec
        self._names = ({pod} if pod else set(pods.addresses)) if is_told else set()
        self._nodes = pods.cluster.nodes
        self.wait_until_served(in_url(self.address))

    def wait_until_served(self, host: str) -> None:
        """Return when all nodes serve this address of it, written as in a URL."""
        for node in self._nodes.values():
            heard: set[str] = set()
            reaches_all = partial(self._reaches_all, node, host, heard)
            wait_until(reaches_all, f"all of {self.name} on {node.name}", PATIENCE)

    def _reaches_all(self, node: Node, host: str, heard: set[str]) -> bool:
        """Call it once from a node; whether all that are to be `heard` have been by now."""
        path = "hostname" if self._names else ""
        answer = node.run("curl", "-fsS", "-m5", f"http://{host}/{path}", check=False)
        if answer.returncode == 0:
            heard.add(answer.stdout)
        return bool(heard) and self._names <= heard


def run(cluster: Cluster, place: str, script: str) -> str:
    """What a shell script prints that runs in a pod, on a node, or outside of the cluster."""
    shell = ("sh", "-c", script)
    if place == OUTSIDE:
        return cluster.fabric.run(*shell)
    if place in cluster.nodes:
        return cluster.nodes[place].run(*shell, timeout=PATIENCE).stdout
    return cluster.kubectl("exec", place, "--", *shell)


def ask(cluster: Cluster, place: str, url: str, times: int = 1) -> list[str]:
    """The answers to as many HTTP requests, each with a connection of its own.

    One that fails, fails the test.
    """
    call = f"curl -fsS -m{_PATIENCE} {url} && echo || exit 1"
    return run(cluster, place, f"for _ in $(seq {times}); do {call}; done").split()


def ask_udp(cluster: Cluster, place: str, address: str, port: int, times: int = 1) -> list[str]:
    """The names by which as many packets are answered, each from a port of its own.

    One that is not answered is sent again, as whoever uses UDP has to; three in vain fail the test.
    """
    call = f"echo hostname | nc -u -w{_UDP_PATIENCE} -W1 {address} {port} | grep ."
    calls = " || ".join([call] * _UDP_ATTEMPTS)
    return run(cluster, place, f"for _ in $(seq {times}); do {calls} || exit 1; done").split()
