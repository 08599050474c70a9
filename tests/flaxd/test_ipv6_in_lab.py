# SPDX-License-Identifier: Apache-2.0
"""Both IP versions in every combination: topology, underlay and pods, with real packets."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from linen.core import addresses
from linen.lab.description import POD_FAMILIES, VTEP_FAMILIES, PodFamily, VtepFamily
from support.host import wait_until
from support.overlays import Overlay, running_overlay
from support.reach import assert_all_reach_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNDERLAY_MTU = 1500
OUTSIDE = 7777  # a UDP port
PAUSE = 0.5  # seconds until another packet is sent
OVERHEAD: dict[VtepFamily, int] = {
    "ipv4": addresses.OVERHEAD_IPV4,
    "ipv6": addresses.OVERHEAD_IPV6,
}
OPTIONS = {"mesh": ["--vni=7"], "star": [], "flow": ["--vni=7"]}


@pytest.fixture(scope="module", params=VTEP_FAMILIES)
def vtep_family(request: pytest.FixtureRequest) -> VtepFamily:
    """The IP version of the underlay."""
    family: VtepFamily = request.param
    return family


@pytest.fixture(scope="module", params=OPTIONS)
def overlay(
    request: pytest.FixtureRequest,
    vtep_family: VtepFamily,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Overlay]:
    """Three nodes in each topology, on an underlay of one IP version."""
    folder: Path = tmp_path_factory.mktemp("ipv6")
    options = (f"--topology={request.param}", *OPTIONS[request.param])
    with running_overlay(folder, *options, pod_family="ipv6", vtep_family=vtep_family) as running:
        yield running


@pytest.mark.parametrize("pod_family", POD_FAMILIES)
def test_every_combination(
    overlay: Overlay, vtep_family: VtepFamily, pod_family: PodFamily
) -> None:
    """All pods reach all, whatever IP versions they and the underlay have, in packets that fit.

    Pods' packets may be as large as the underlay's less what VXLAN adds, and are no larger.
    """
    overlay.change_pods(pod_family)

    assert_all_reach_all(overlay.lab, UNDERLAY_MTU - OVERHEAD[vtep_family])


def test_pods_leave_with_their_nodes_address(overlay: Overlay, vtep_family: VtepFamily) -> None:
    """Outside of the pod network a pod's packets come from its node, over IPv6 as over IPv4."""
    overlay.change_pods("dual")
    node1, node2, _ = overlay.lab.nodes.values()
    vteps = [str(node.description.vtep.ip) for node in (node1, node2)]
    family = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}[vtep_family]

    def listen() -> socket.socket:
        heard = socket.socket(family, socket.SOCK_DGRAM)
        heard.bind((vteps[1], OUTSIDE))
        heard.settimeout(PAUSE)
        return heard

    with (
        node2.call_in_network(listen) as heard,
        node1.open_pod_socket("a", family, socket.SOCK_DGRAM) as pod,
    ):
        senders: list[str] = []

        def is_heard() -> bool:
            pod.sendto(b"hello", (vteps[1], OUTSIDE))
            with contextlib.suppress(TimeoutError):
                senders.append(heard.recvfrom(64)[1][0])
            return bool(senders)

        wait_until(is_heard, "a packet")  # the first may be lost while addresses are asked for

    assert senders == [vteps[0]]
