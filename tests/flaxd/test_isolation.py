# SPDX-License-Identifier: Apache-2.0
"""Forged VXLAN: what no known node of the network has sent reaches no pod.

Each test ends with a frame that may pass, which shows that the way is open and that all that was
sent before has been dealt with.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from support.host import wait_until
from support.overlays import Overlay, running_overlay
from support.vxlan import PORT, Listener, frame, send_from, vxlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.description import PodFamily
    from linen.lab.node import Node

VNI = 7
SERVICE_PORT = 53


class Addresses(NamedTuple):
    """Of three nodes, of nobody, of what is behind node2, and of a Service."""

    node1: str
    node2: str
    node3: str
    stranger: str
    gateway2: str
    pod_b: str
    service: str


ADDRESSES: dict[PodFamily, Addresses] = {
    "ipv4": Addresses(
        "10.245.2.2",
        "10.245.2.3",
        "10.245.2.4",
        "10.245.2.77",
        "10.244.2.1",
        "10.244.2.2",
        "10.96.0.10",
    ),
    "ipv6": Addresses(
        "fd00:10:245::2",
        "fd00:10:245::3",
        "fd00:10:245::4",
        "fd00:10:245::77",
        "fd00:10:244:2::1",
        "fd00:10:244:2::2",
        "fd00:10:96::a",
    ),
}


class Scene:
    """Three nodes, for pods as for tunnels with addresses of one IP version alone."""

    def __init__(self, overlay: Overlay, addresses: Addresses) -> None:
        self.lab = overlay.lab
        self.addresses = addresses

    def send(self, source: str, vni: int, payload: bytes) -> None:
        """Send a frame in VXLAN to node2, from node1's place in the underlay."""
        node1 = self.lab.node("node1")
        send_from(node1, source, self.addresses.node2, vxlan(vni, frame(payload)))

    def send_last(self, payload: bytes) -> None:
        """Send a frame that may pass."""
        self.send(self.addresses.node1, VNI, payload)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("flow ipv4", marks=pytest.mark.datapath),
        "flow ipv6",
        "mesh ipv6",
        pytest.param("mesh ipv4 alone", marks=pytest.mark.datapath),
        "mesh ipv6 alone",
    ],
)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The nodes in a topology, with addresses of an IP version.

    Alone: on hosts whose firewall does not see what their Linux bridges carry.
    """
    topology, family, *alone = request.param.split()
    folder: Path = tmp_path_factory.mktemp("isolation")
    options = (f"--topology={topology}", f"--vni={VNI}")
    families = {"pod_family": family, "vtep_family": family}
    with running_overlay(folder, *options, **families, br_netfilter=not alone) as running:
        yield Scene(running, ADDRESSES[family])


@pytest.fixture
def pod_b(scene: Scene) -> Iterator[Listener]:
    """What arrives at node2's pod."""
    with Listener(scene.lab.pod("b")) as listener:
        yield listener


def test_a_stranger_is_not_heard(scene: Scene, pod_b: Listener) -> None:
    """VXLAN from an address that is no node's reaches no pod, though its VNI is right."""
    scene.send(scene.addresses.stranger, VNI, b"forged")

    assert pod_b.until_end(scene.send_last) == []


@pytest.mark.parametrize("vni", [0, VNI - 1, VNI + 1, 0xFFFFFF])
def test_another_network_is_not_heard(scene: Scene, pod_b: Listener, vni: int) -> None:
    """VXLAN of another network reaches no pod, though a known node sent it."""
    scene.send(scene.addresses.node1, vni, b"forged")

    assert pod_b.until_end(scene.send_last) == []


@pytest.mark.parametrize("target", ["node2", "gateway2"])
def test_a_pod_cannot_send_vxlan_as_a_node(scene: Scene, pod_b: Listener, target: str) -> None:
    """VXLAN out of a pod that says that another node has sent it is delivered no more than that."""
    node1, address = scene.lab.node("node1"), getattr(scene.addresses, target)
    for _ in range(3):  # the first may be lost while addresses are asked for
        send_from(node1, scene.addresses.node3, address, vxlan(VNI, frame(b"forged")), pod="a")

    assert pod_b.until_end(scene.send_last) == []


@pytest.mark.parametrize("mac", ["0180c2000002", "0180c200000e", "ffffffffffff"])
def test_a_pod_cannot_send_vxlan_past_the_bridge(scene: Scene, mac: str) -> None:
    """VXLAN out of a pod in frames that the Linux bridge hands to its node is not taken in.

    Such as those to a group's MAC of IEEE 802.1D, which come to the node by the pod's own device.
    """
    node1, addresses = scene.lab.node("node1"), scene.addresses
    every = "/proc/sys/net/ipv4/conf/*/rp_filter"
    node1.run(["sh", "-ec", f"for one in {every}; do echo 0 >$one; done"])
    forged, past = vxlan(VNI, frame(b"forged")), bytes.fromhex(mac)
    with Listener(scene.lab.pod("a")) as pod_a:
        for _ in range(3):
            send_from(node1, addresses.node2, addresses.node1, forged, pod="a", mac=past)

        assert pod_a.until_end(lambda end: send_from_node2(scene, end)) == []


def send_from_node2(scene: Scene, payload: bytes) -> None:
    """Send node1 a frame that may pass."""
    addresses = scene.addresses
    forged = vxlan(VNI, frame(payload))
    send_from(scene.lab.node("node2"), addresses.node2, addresses.node1, forged)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("node2", id="a node's address"),
        pytest.param("gateway2", id="a node's gateway"),
        pytest.param("pod_b", id="a pod"),
        pytest.param("node1", id="its own node"),
    ],
)
def test_a_pod_cannot_send_vxlan(scene: Scene, pod_b: Listener, target: str) -> None:
    """VXLAN out of a pod is delivered by no node, wherever it is sent to."""
    address = getattr(scene.addresses, target)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with scene.lab.node("node1").open_pod_socket("a", family, socket.SOCK_DGRAM) as pod:
        for _ in range(3):  # the first may be lost while addresses are asked for
            pod.sendto(vxlan(VNI, frame(b"forged")), (address, PORT))

    assert pod_b.until_end(scene.send_last) == []


@pytest.mark.parametrize("target", ["node2", "gateway2", "pod_b"])
def test_a_pod_cannot_send_vxlan_to_a_service(scene: Scene, pod_b: Listener, target: str) -> None:
    """VXLAN out of a pod is delivered by no node where a Service leads to a VXLAN port."""
    service, endpoint = scene.addresses.service, getattr(scene.addresses, target)
    with translating(scene.lab.node("node1"), service, endpoint):
        assert heard_by_service(scene, pod_b) == []


@pytest.mark.uml
@pytest.mark.parametrize("target", ["node2", "gateway2", "pod_b"])
def test_a_pod_cannot_send_vxlan_to_a_service_of_ipvs(
    scene: Scene, pod_b: Listener, target: str
) -> None:
    """Neither is it where IPVS makes Services, which translates what has come to the node."""
    service, endpoint = scene.addresses.service, getattr(scene.addresses, target)
    with translating_by_ipvs(scene.lab.node("node1"), service, endpoint):
        assert heard_by_service(scene, pod_b) == []


def heard_by_service(scene: Scene, pod_b: Listener) -> list[bytes]:
    """What arrives at node2's pod of VXLAN that node1's pod sends to a Service."""
    service = scene.addresses.service
    family = socket.AF_INET6 if ":" in service else socket.AF_INET
    with scene.lab.node("node1").open_pod_socket("a", family, socket.SOCK_DGRAM) as pod:
        for _ in range(3):  # the first may be lost while addresses are asked for
            pod.sendto(vxlan(VNI, frame(b"forged")), (service, SERVICE_PORT))
        return pod_b.until_end(scene.send_last)


@contextmanager
def translating(node: Node, service: str, endpoint: str) -> Iterator[None]:
    """A Service on a node as kube-proxy makes it, for as long as the block lasts."""
    ip, end = ("ip6", f"[{endpoint}]") if ":" in endpoint else ("ip", endpoint)
    match = f"{ip} daddr {service} udp dport {SERVICE_PORT}"
    chain = "type nat hook prerouting priority dstnat;"
    rules = f"table {ip} proxy {{\nchain services {{\n{chain}\n{match} dnat to {end}:{PORT}\n}}\n}}"
    let_forward(node)
    node.run(["nft", "-f", "-"], input=rules)
    try:
        yield
    finally:
        node.run(["nft", "delete", "table", ip, "proxy"])


@contextmanager
def translating_by_ipvs(node: Node, service: str, endpoint: str) -> Iterator[None]:
    """Likewise by IPVS: the node has the Service's address, on a device that leads nowhere."""
    bracket = "[{}]".format if ":" in service else str
    entry = ["--udp-service", f"{bracket(service)}:{SERVICE_PORT}"]
    server = ["--real-server", f"{bracket(endpoint)}:{PORT}", "--masquerading"]
    node.run(["ip", "link", "add", "kube-ipvs0", "type", "dummy"])
    node.run(["ip", "address", "add", service, "dev", "kube-ipvs0"])
    let_forward(node)
    node.run(["modprobe", "--all", "ip_vs", "ip_vs_rr"])  # it is seen within ten seconds
    rules = ["nft", "list", "ruleset"]
    wait_until(lambda: "chain out-of-this-node" in node.run(rules).stdout, "rules for IPVS", 15)
    node.run(["sysctl", "--write", "net.ipv4.vs.conntrack=1"])
    node.run(["ipvsadm", "--add-service", *entry, "--scheduler", "rr"])
    node.run(["ipvsadm", "--add-server", *entry, *server])
    try:
        yield
    finally:
        node.run(["ipvsadm", "--clear"])
        node.run(["ip", "link", "delete", "kube-ipvs0"])


def let_forward(node: Node) -> None:
    """Have a node pass on what is for others, as Kubernetes' nodes do."""
    for family in "ipv4", "ipv6":
        node.run(["sysctl", "--write", f"net.{family}.conf.all.forwarding=1"])
