# SPDX-License-Identifier: Apache-2.0
"""Pods in two networks of Linen at once: the cluster's as eth0, a secondary one as net1.

The real cnitool is called as Multus calls its delegates for a pod with one
NetworkAttachmentDefinition that has no config in it: ADD of the cluster's network as eth0, then
of the other as net1, whose conflist is in Multus' own folder; DEL the other way round. (Multus
itself takes minutes to build.)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from linen.host.checks import networks
from linen.host.conflists import SECONDARY_CONF_DIR
from support.networks import Network, running_networks
from support.paths import CNITOOL, LINENCTL

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.cluster import Lab
    from linen.lab.node import Node

RED = Network("red", 1, "mesh", 7)
BLUE = Network(
    "blue", 2, "flow", 8, subnet="10.99", options=["--gateway=none"], folder=SECONDARY_CONF_DIR
)
NETWORK_CHECKS = {check.name for check in networks.CHECKS + networks.NODE_CHECKS}
IFNAMES = {"red": "eth0", "blue": "net1"}


class Pod:
    """A pod that is in both networks, or was."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.addresses: dict[str, str] = {}

    def call(
        self, command: str, network: Network, *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Call cnitool for the pod's interface in a network."""
        variables = {
            "CNI_PATH": "/opt/cni/bin",
            "NETCONFPATH": network.folder,
            "CNI_IFNAME": IFNAMES[network.name],
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        argv = [str(CNITOOL), command, network.name, f"/var/run/netns/{self.name}"]
        return self.node.run(argv, env=variables, check=check)

    def add(self) -> None:
        """Attach it to both, in Multus' order."""
        for network in RED, BLUE:
            result: dict[str, Any] = json.loads(self.call("add", network).stdout)
            self.addresses[network.name] = result["ips"][0]["address"].partition("/")[0]

    def delete(self) -> None:
        """Detach it from both, in Multus' order."""
        for network in BLUE, RED:
            self.call("del", network)

    def pings(self, address: str, *, seconds: int = 30) -> bool:
        """Whether an address answers it in time; asks it once a second until it does."""
        ping = ["ping", "-c1", f"-w{seconds}", address]
        return self.node.run(ping, pod=self.name, check=False).returncode == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes with both networks, and no pod."""
    folder: Path = tmp_path_factory.mktemp("secondary")
    with running_networks(folder, RED, BLUE) as running:
        yield running


@pytest.fixture
def pods(lab: Lab) -> Iterator[list[Pod]]:
    """A pod on each node, in both networks."""
    found = []
    for node in lab.nodes.values():
        node.run(["ip", "netns", "add", "both"])
        found.append(Pod(node, "both"))
        found[-1].add()
    yield found
    for pod in found:
        pod.delete()
        pod.node.run(["ip", "netns", "delete", pod.name])


def test_both_networks_reach_other_nodes(pods: list[Pod]) -> None:
    """A pod reaches the other node's pod by each of its two interfaces, and passes CHECK."""
    one, other = pods
    for network in RED, BLUE:
        assert one.pings(other.addresses[network.name])
        assert one.call("check", network).returncode == 0

    routes = one.node.run(["ip", "route"], pod=one.name).stdout.splitlines()
    assert [route for route in routes if "default" in route] == ["default via 10.244.1.1 dev eth0 "]


def test_gc_of_one_network_leaves_the_other(pods: list[Pod]) -> None:
    """When all of the secondary network is collected as garbage, the cluster's goes on."""
    one, other = pods
    one.call("gc", BLUE)

    assert one.pings(other.addresses["red"])
    assert one.call("check", RED).returncode == 0
    assert not one.pings(other.addresses["blue"], seconds=5)
    assert one.node.run(["ovs-vsctl", "br-exists", "br2"]).returncode == 0  # other pods' network

    one.call("add", BLUE)
    assert one.pings(other.addresses["blue"])


def test_del_leaves_nothing_of_a_pod(pods: list[Pod]) -> None:
    """After DEL in Multus' order no address is taken and no interface is left; DEL again passes."""
    one, _ = pods
    one.delete()
    one.delete()

    links = one.node.run(["ls", "/sys/class/net"], pod=one.name).stdout.split()
    assert links == ["lo"]
    for network in RED, BLUE:
        taken = one.node.run(["ls", f"/var/lib/cni/networks/{network.name}"]).stdout.split()
        assert [name for name in taken if name[0].isdigit()] == []
    one.add()


@pytest.mark.usefixtures("pods")
def test_linenctl_finds_no_fault(lab: Lab) -> None:
    """linenctl knows the networks of both folders, and that they go together."""
    argv = [*LINENCTL, "check", "--json"]
    found = json.loads(lab.node("node1").run(argv, check=False).stdout)

    together = [one for one in found if one["check"] in NETWORK_CHECKS]
    assert {one["severity"] for one in together} == {"ok"}, together
    assert "stray-rows" not in {one["check"] for one in found if one["severity"] != "ok"}
