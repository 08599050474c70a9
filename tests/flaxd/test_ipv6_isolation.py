# SPDX-License-Identifier: Apache-2.0
"""Forged VXLAN over IPv6: what no known node has sent reaches no pod, as over IPv4."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from support.overlays import Overlay, running_overlay
from support.vxlan import PORT, Listener, frame, send_from, vxlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VNI = 7
NODE1, NODE2, NODE3 = "fd00:10:245::2", "fd00:10:245::3", "fd00:10:245::4"
STRANGER = "fd00:10:245::77"
GATEWAY2, POD_B = "fd00:10:244:2::1", "fd00:10:244:2::2"


@pytest.fixture(scope="module", params=["flow", "mesh"])
def overlay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Overlay]:
    """Three nodes with IPv6 alone, for pods as for tunnels."""
    folder: Path = tmp_path_factory.mktemp("isolation")
    options = (f"--topology={request.param}", f"--vni={VNI}")
    with running_overlay(folder, *options, pod_family="ipv6", vtep_family="ipv6") as running:
        yield running


@pytest.fixture
def pod_b(overlay: Overlay) -> Iterator[Listener]:
    """What arrives at node2's pod."""
    listener = Listener(overlay.lab.pod("b"))
    yield listener
    listener.close()


def send(overlay: Overlay, source: str, vni: int, payload: bytes) -> None:
    """Send a frame in VXLAN to node2, from node1's place in the underlay."""
    send_from(overlay.lab.node("node1"), source, NODE2, vxlan(vni, frame(payload)))


def test_a_stranger_is_not_heard(overlay: Overlay, pod_b: Listener) -> None:
    """VXLAN from an address that is no node's reaches no pod, though its VNI is right."""
    send(overlay, STRANGER, VNI, b"forged")

    assert pod_b.until_end(lambda end: send(overlay, NODE1, VNI, end)) == []


@pytest.mark.parametrize("vni", [0, VNI + 1])
def test_another_network_is_not_heard(overlay: Overlay, pod_b: Listener, vni: int) -> None:
    """VXLAN of another network reaches no pod, though a known node sent it."""
    send(overlay, NODE1, vni, b"forged")

    assert pod_b.until_end(lambda end: send(overlay, NODE1, VNI, end)) == []


@pytest.mark.parametrize("target", [NODE2, GATEWAY2], ids=["a node", "a gateway"])
def test_a_pod_cannot_send_vxlan_as_a_node(overlay: Overlay, pod_b: Listener, target: str) -> None:
    """VXLAN out of a pod that says that another node has sent it is delivered no more than that."""
    node1 = overlay.lab.node("node1")
    for _ in range(3):  # the first may be lost while addresses are asked for
        send_from(node1, NODE3, target, vxlan(VNI, frame(b"forged")), pod="a")

    assert pod_b.until_end(lambda end: send(overlay, NODE1, VNI, end)) == []


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(NODE2, id="a node's address"),
        pytest.param(GATEWAY2, id="a node's gateway"),
        pytest.param(POD_B, id="a pod"),
        pytest.param(NODE1, id="its own node"),
    ],
)
def test_a_pod_cannot_send_vxlan(overlay: Overlay, pod_b: Listener, target: str) -> None:
    """VXLAN out of a pod is delivered by no node, wherever it is sent to."""
    pod = overlay.lab.node("node1").open_pod_socket("a", socket.AF_INET6, socket.SOCK_DGRAM)
    with pod:
        for _ in range(3):  # the first may be lost while addresses are asked for
            pod.sendto(vxlan(VNI, frame(b"forged")), (target, PORT))

    assert pod_b.until_end(lambda end: send(overlay, NODE1, VNI, end)) == []
