# SPDX-License-Identifier: Apache-2.0
"""Two networks on the same nodes, with the same pod addresses: no packet of one reaches the other.

Each test ends with a packet that may pass, which shows that the way is open and that all that was
sent before has been dealt with.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.networks import (
    Network,
    Servers,
    add_a_pod_each,
    mac_of,
    running_networks,
    send_datagram,
)
from support.vxlan import Listener, Tap, frame, send_from, vxlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.cluster import Lab
    from linen.lab.pods import Pod

NODE1, NODE2, STRANGER = "10.245.2.2", "10.245.2.3", "10.245.2.77"
RED, BLUE = 7, 8  # vni


class Pair:
    """A lab with two networks.

    On each node each has a pod with an address that both have, and one with an address of its own.
    """

    def __init__(self, lab: Lab, red: Network, blue: Network) -> None:
        self.lab = lab
        self.red = red
        self.blue = blue

    def forge(self, source: str, vni: int, payload: bytes) -> None:
        """Send a frame in VXLAN to node2, from node1's place in the underlay."""
        send_from(self.lab.node("node1"), source, NODE2, vxlan(vni, frame(payload)))

    def forge_back(self, source: str, vni: int, payload: bytes) -> None:
        """The same from node2 to node1."""
        send_from(self.lab.node("node2"), source, NODE1, vxlan(vni, frame(payload)))


@pytest.fixture(
    scope="module",
    params=[
        ("flow", "flow"),
        ("mesh", "mesh"),
        ("mesh", "flow"),
        ("listed mesh", "flow"),
        ("mesh", "mesh", "alone"),
        ("listed mesh", "flow", "alone"),
    ],
    ids=" and ".join,
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two networks of the same topology, or not, or one without daemons.

    The conflists of that one list its nodes. Alone: on hosts whose firewall does not see what their
    Linux bridges carry.
    """
    folder: Path = tmp_path_factory.mktemp("networks")
    of_red, of_blue, *alone = request.param
    no_probe = ["--probe-interval=0"]  # the node has one route for both
    kind, _, topology = of_red.rpartition(" ")
    red = Network("red", 1, topology, RED, options=no_probe, has_daemons=kind != "listed")
    blue = Network("blue", 2, of_blue, BLUE, options=no_probe)
    with running_networks(folder, red, blue, br_netfilter=not alone) as lab:
        add_a_pod_each(lab, red, blue)
        for node in lab.nodes:
            lab.add_pod(node, f"blue-alone-on-{node}", networks=["blue"])
            lab.add_pod(node, "spare", networks=["red"])
            lab.add_pod(node, f"red-alone-on-{node}", networks=["red"])
            lab.del_pod("spare")
        for pod in lab.pods():
            introduce(pod, red if pod.name.startswith("red") else blue)
        yield Pair(lab, red, blue)


def introduce(pod: Pod, network: Network) -> None:
    """Let a pod and its node know each other's MACs, so that nothing waits for these later."""
    for address in pod.addresses:
        ping = ["ping", "-c1", "-w30", f"-Ikbr{network.number}", str(address)]
        pod.node.run(ping)


def test_one_address_in_two_networks(pair: Pair) -> None:
    """Pods of two networks have one address, and each is reached from its own network."""
    for network in pair.red, pair.blue:
        addresses = {str(one) for one in pair.lab.pod(network.pod(2)).addresses}
        assert addresses == {"10.244.2.2", "fd00:10:244:2::2"}
    with Servers(pair.lab, pair.red.pod(2), pair.blue.pod(2)) as servers:
        for network in pair.red, pair.blue:
            assert servers.ask(network.pod(1), "10.244.2.2") == [network.pod(2)]


@pytest.mark.parametrize("source", [NODE1, STRANGER])
@pytest.mark.parametrize("vni", [RED, 0, 0xFFFFFF])
def test_forged_vxlan_of_another_network(pair: Pair, source: str, vni: int) -> None:
    """VXLAN with any other vni than a network's own reaches none of its pods, whoever sends it."""
    with Listener(pair.lab.pod(pair.blue.pod(2))) as pod:
        pair.forge(source, vni, b"forged")

        assert pod.until_end(lambda end: pair.forge(NODE1, BLUE, end)) == []


@pytest.mark.parametrize(("pod", "vni"), [("red2", RED), ("blue2", BLUE)])
def test_forged_vxlan_of_a_stranger(pair: Pair, pod: str, vni: int) -> None:
    """VXLAN with a network's vni reaches no pod where no node of the network has sent it."""
    with Listener(pair.lab.pod(pod)) as listener:
        pair.forge(STRANGER, vni, b"forged")

        assert listener.until_end(lambda end: pair.forge(NODE1, vni, end)) == []


@pytest.mark.parametrize("target", [NODE2, NODE1, "10.244.2.1", "10.244.1.1", "10.244.2.2"])
@pytest.mark.parametrize("claimed", [NODE1, "10.244.1.2"])
def test_forged_vxlan_of_a_pod(pair: Pair, target: str, claimed: str) -> None:
    """VXLAN with blue's vni out of a pod of red's is delivered by no node."""
    node1 = pair.lab.node("node1")
    with Listener(pair.lab.pod("blue1")) as near, Listener(pair.lab.pod("blue2")) as far:
        for _ in range(3):  # the first may be lost while addresses are asked for
            send_from(node1, claimed, target, vxlan(BLUE, frame(b"forged")), pod="red1")

        assert far.until_end(lambda end: pair.forge(NODE1, BLUE, end)) == []
        assert near.until_end(lambda end: pair.forge_back(NODE2, BLUE, end)) == []


def test_broadcasts(pair: Pair) -> None:
    """What a pod sends to everybody reaches no pod of the other network, on neither node."""
    lab = pair.lab
    with (
        Listener(lab.pod("red1")) as sender,
        Listener(lab.pod("blue1")) as near,
        Listener(lab.pod("blue2")) as far,
    ):
        sender.send(frame(b"crossed"))

        assert far.until_end(lambda end: pair.forge(NODE1, BLUE, end)) == []
        assert near.until_end(lambda end: pair.forge_back(NODE2, BLUE, end)) == []


# How a pod may try to reach an address that only the other network has: commands in that pod.
WAYS = {
    "by asking for it": "",
    "by its MAC": "ip neigh replace {address} lladdr {mac} dev eth0",
    "by its own node": "ip route replace {address} via {gateways[0]}",
    "by the other node": "ip route replace {address} via {gateways[1]}",
}
GATEWAYS = {4: ("10.244.1.1", "10.244.2.1"), 6: ("fd00:10:244:1::1", "fd00:10:244:2::1")}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inside", ["red", "blue"])
@pytest.mark.parametrize("node", ["node1", "node2"])
@pytest.mark.parametrize("version", [4, 6])
def test_a_pod_finds_no_way(pair: Pair, version: int, node: str, inside: str, way: str) -> None:
    """No question and no packet of a pod reaches a pod of the other network, on neither node.

    Both ways round, since the node's route to these addresses leads to the first network.
    """
    lab, stranger = pair.lab, "blue1" if inside == "red" else "red1"
    target = lab.pod(f"{inside}-alone-on-{node}")
    (address,) = [str(one) for one in target.addresses if one.version == version]
    command = WAYS[way].format(address=address, mac=mac_of(target), gateways=GATEWAYS[version])
    with (
        Tap(target) as tap,
        changed(lab.pod(stranger), command, f"ip -{version} route del {address}"),
    ):
        for _ in range(3):
            send_datagram(lab.pod(stranger), address, b"crossed")
        ping = ["ping", "-c2", "-i0.1", "-W0.1", address]
        assert lab.pod(stranger).node.run(ping, pod=stranger, check=False).returncode == 1

        friend = lab.pod(f"{inside}1")
        frames = tap.until(b"may pass", lambda: send_datagram(friend, address, b"may pass"))
    seen = b"".join(frames)
    assert b"crossed" not in seen
    assert bytes.fromhex(mac_of(lab.pod(stranger)).replace(":", "")) not in seen


@contextmanager
def changed(pod: Pod, command: str, undo: str) -> Iterator[None]:
    """A pod whose own idea of the way to an address has been changed for as long as this lasts."""
    pod.node.run(["sh", "-c", command], pod=pod.name)
    try:
        yield
    finally:
        pod.node.run(["sh", "-c", f"{undo}; ip neigh flush dev eth0"], pod=pod.name)


def test_networks_with_addresses_of_their_own(tmp_path: Path) -> None:
    """A node that is the gateway of two networks routes no packet from one to the other."""
    red, blue = Network("red", 1, "mesh", RED), Network("blue", 2, "mesh", BLUE, subnet="10.99")
    with running_networks(tmp_path, red, blue) as lab:
        add_a_pod_each(lab, red, blue)
        for pod in lab.pods():
            introduce(pod, red if pod.name.startswith("red") else blue)

        for version in 4, 6:
            for target in "red1", "red2":
                assert not answers(lab.pod("blue1"), lab.pod(target), version)
            for one, other in ("red1", "red2"), ("blue1", "blue2"):
                way = lab.pod(one), lab.pod(other), version
                wait_until(lambda: answers(*way), f"{other} to answer {one}")  # noqa: B023


def answers(pod: Pod, target: Pod, version: int) -> bool:
    """Whether a pod's ping is answered by another."""
    (address,) = [str(one) for one in target.addresses if one.version == version]
    ping = ["ping", "-c3", "-i0.2", "-W1", address]
    return pod.node.run(ping, pod=pod.name, check=False).returncode == 0
