# SPDX-License-Identifier: Apache-2.0
"""Topology flow on all nodes of a lab: real packets, while daemons and switches come and go."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from linen.lab import links
from linen.lab.switch import UNDERLAY_BRIDGE
from support.host import wait_until
from support.overlays import Overlay, Ping, restart_switch, running_overlay, state
from support.paths import LINENCTL
from support.vxlan import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.node import Node

ENOUGH = 60000  # pings, of which one is sent every millisecond: more than a change takes
FLOW = ("--topology=flow", "--vni=7", "--probe-interval=1")
MESH = ("--topology=mesh", "--vni=7", "--probe-interval=1")


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overlay]:
    """Three nodes with a dual-stack pod on each."""
    folder: Path = tmp_path_factory.mktemp("flow")
    with running_overlay(folder, *FLOW, pod_family="dual") as running:
        yield running


@pytest.mark.datapath
def test_every_pod_reaches_every_other(overlay: Overlay) -> None:
    """Every pod gets an answer from every other over IPv4, and over IPv6."""
    assert overlay.lab.ping_matrix().losses == []


@pytest.mark.datapath
def test_hosts_and_gateways_are_reached(overlay: Overlay) -> None:
    """A pod reaches the gateway of another node, a node another's pod, and a pod its own node."""
    node1 = overlay.lab.node("node1")

    for pod, address in ("a", "10.244.2.1"), (None, "10.244.3.2"), ("a", "10.244.1.1"):
        assert node1.run(["ping", "-c1", "-w30", address], pod=pod).returncode == 0


@pytest.mark.datapath
@pytest.mark.parametrize(
    ("source", "pod"), [("10.99.0.1", "10.244.3.2"), ("fd00:99::1", "fd00:10:244:2::2")]
)
def test_a_node_has_other_addresses(overlay: Overlay, source: str, pod: str) -> None:
    """A node finds another's pod whatever address it sends from, and so when it routes for others.

    The kernel asks for the pod under that address (ARP), or under the device's link-local one
    (neighbour discovery), neither of which is in the node's range.
    """
    node1 = overlay.lab.node("node1")
    node1.run(["ip", "address", "replace", source, "dev", "lo"])
    node1.run(["ip", "neighbour", "flush", "dev", "kbr0"])

    def is_found_by_asking() -> bool:
        # Others know no way back. It is asked again, since nobody can send from a new address of
        # IPv6 until the kernel has got round to it, also on lo (addrconf_dad_work).
        node1.run(["ping", "-c1", "-W1", "-I", source, pod], check=False)
        return is_found(node1, pod)

    wait_until(is_found_by_asking, f"{pod} to be found")


@pytest.mark.datapath
@pytest.mark.parametrize("family", ["10.244.{}.2", "fd00:10:244:{}::2"])
def test_pods_of_two_nodes_are_found_at_once(overlay: Overlay, family: str) -> None:
    """A pod finds pods of two nodes right after one another, as asking for one says nothing yet.

    What is done with a question is remembered by the datapath, which must know whom it was for.
    """
    node1 = overlay.lab.node("node1")
    node1.run(["ip", "neighbour", "flush", "dev", "eth0"], pod="a")
    for index in 2, 3:
        node1.run(["ping", "-c1", "-w10", family.format(index)], pod="a")


@pytest.mark.datapath
def test_checks_know_the_other_nodes(overlay: Overlay) -> None:
    """An underlay too small for the pods' packets is found, though no tunnel names a node."""
    node1 = overlay.lab.node("node1")
    device = UNDERLAY_BRIDGE if overlay.lab.description.datapath == "netdev" else links.UPLINK
    node1.run(["ip", "link", "set", device, "mtu", "1400"])
    try:
        found = node1.run([*LINENCTL, "check", "--json"], check=False).stdout
    finally:
        node1.run(["ip", "link", "set", device, "mtu", "1500"])
    said = [one["what"] for one in json.loads(found) if one["check"] == "underlay-mtu"]
    assert [what.partition(";")[2] for what in said] == [
        f" {device} carries 1400, of which VXLAN takes 50"
    ]


def is_found(node: Node, address: str) -> bool:
    """Whether a node has learned the MAC of one of the addresses that are behind kbr0."""
    show = ["ip", "-j", "neighbour", "show", address, "dev", "kbr0"]
    return any("lladdr" in one for one in json.loads(node.run(show).stdout))


@pytest.mark.datapath
def test_a_broadcast_stays_on_its_node(overlay: Overlay) -> None:
    """A packet to everybody is not sent to other nodes unless that is asked for."""
    node1 = overlay.lab.node("node1")
    before = _dropped(overlay)
    broadcast = ["ping", "-b", "-c2", "-i0.1", "-W1", "10.244.255.255"]
    assert node1.run(broadcast, pod="a", check=False).returncode == 1

    wait_until(lambda: _dropped(overlay) >= before + 2, "the broadcasts to be dropped")


def _dropped(overlay: Overlay) -> int:
    """How many packets to many have been dropped on node1."""
    flows = ["ovs-ofctl", "-OOpenFlow14", "dump-flows", "br0"]
    text = overlay.lab.node("node1").run(flows).stdout
    (line,) = [one for one in text.splitlines() if "dl_dst=01:00:00:00:00:00" in one]
    found = re.search(r"n_packets=(\d+).*actions=drop", line)
    assert found, line
    return int(found[1])


def test_the_health_of_peers_is_told_without_bfd(overlay: Overlay) -> None:
    """A cut cable is noticed by probes, and so is its repair."""
    node1 = overlay.lab.node("node1")

    def health() -> dict[str, str]:
        return {peer["peer"]: peer["state"] for peer in state(node1)["peers"]}

    wait_until(lambda: set(health().values()) == {"up"}, "all peers up", 30)
    overlay.lab.cut("node3")
    wait_until(lambda: health() == {"node2": "up", "node3": "down"}, "node3 down", 30)
    overlay.lab.heal("node3")
    wait_until(lambda: set(health().values()) == {"up"}, "all peers up again", 30)


@pytest.mark.datapath
def test_a_restart_of_the_switch(overlay: Overlay) -> None:
    """When ovs-vswitchd was killed and is back, every pod reaches every other again."""
    restart_switch(overlay.lab.node("node2"))

    assert overlay.lab.ping_matrix().complete


@pytest.mark.datapath
def test_a_node_that_leaves_is_not_heard(overlay: Overlay) -> None:
    """A node that is taken out of the list reaches nobody, until it is there again."""
    node1 = overlay.lab.node("node1")
    with overlay.without_node3():
        wait_until(lambda: len(state(node1)["peers"]) == 1, "node3 to leave")
        wait_until(lambda: _rules_of(overlay, "10.245.2.4") == 0, "its rules to go")

        assert node1.run(["ping", "-c1", "-W1", "10.244.3.2"], pod="a", check=False).returncode == 1

    assert overlay.lab.ping_matrix().complete


def _rules_of(overlay: Overlay, vtep: str) -> int:
    flows = ["ovs-ofctl", "-OOpenFlow14", "dump-flows", "br0"]
    return overlay.lab.node("node1").run(flows).stdout.count(vtep)


@pytest.mark.datapath
def test_broadcasts_arrive_once_where_they_are_replicated(tmp_path: Path) -> None:
    """With `broadcast: replicate` each other pod gets one copy of a packet to everybody."""
    with running_overlay(tmp_path, *FLOW, "--broadcast=replicate") as overlay:
        sender, *others = overlay.lab.pods()
        listeners = [Listener(pod) for pod in others]
        with Listener(sender) as source:
            assert source.copies(listeners) == [1, 1]
        for listener in listeners:
            listener.close()


@pytest.mark.datapath
@pytest.mark.timeout(300)
def test_from_mesh_to_flow_and_back(tmp_path: Path) -> None:
    """A live cluster changes its topology node by node, and its packets arrive meanwhile.

    Nodes of both kinds understand each other, since a mesh's tunnels carry the same VNI. A node
    that changes loses what arrives while Open vSwitch makes its bridge anew: some milliseconds.
    """
    with running_overlay(tmp_path, *MESH) as overlay:
        for options in FLOW, MESH:
            overlay.options = options
            for node in overlay.lab.nodes.values():
                ping, began = Ping(overlay.lab, overlay.lab.node("node3"), ENOUGH), time.monotonic()
                overlay.stop_flaxd(node)
                overlay.start_flaxd(node)
                change = time.monotonic() - began
                lost = ping.stop().lost
                # A packet is a millisecond; on a busy machine all takes longer.
                assert lost < max(200, 1000 * change / 5)
                assert overlay.lab.ping_matrix().complete
