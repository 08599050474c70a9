# SPDX-License-Identifier: Apache-2.0
"""Two networks on the same nodes, each with a UDP port of VXLAN of its own.

Each test ends with a frame that may pass, which shows that the way is open and that all that was
sent before has been dealt with.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from support import vxlan
from support.networks import Network, add_a_pod_each, running_networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linen.lab.cluster import Lab

NODE1, NODE2, GATEWAY2 = "10.245.2.2", "10.245.2.3", "10.244.2.1"
VNI = {"red": 7, "blue": 8}
PORT = {"red": 4789, "blue": 8472}


class Listed(Network):
    """A network whose conflist says the port."""

    def render(self, lab: Lab, node: int) -> dict[str, object]:
        """A node's conflist."""
        document: dict[str, Any] = super().render(lab, node)
        document["plugins"][1]["ovs"]["dstPort"] = PORT[self.name]
        return document


@pytest.fixture(
    scope="module",
    params=[("flow", "flow"), ("mesh", "mesh"), ("flow", "listed mesh"), ("mesh", "listed mesh")],
    ids=" and ".join,
)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Both networks, with a pod of each on each node.

    The nodes' firewalls do not see what their Linux bridges carry.
    """
    of_red, of_blue = request.param
    options = ["--probe-interval=0"]  # the node has one route for both
    red = Network("red", 1, of_red, VNI["red"], options=options)
    topology = of_blue.removeprefix("listed ")
    blue = Listed(
        "blue",
        2,
        topology,
        VNI["blue"],
        options=[*options, f"--dst-port={PORT['blue']}"],
        has_daemons=topology == of_blue,
    )
    folder = tmp_path_factory.mktemp("ports")
    with running_networks(folder, red, blue, br_netfilter=False) as running:
        add_a_pod_each(running, red, blue)
        yield running


@pytest.fixture(params=["blue", "red"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The network that is to be reached from the other, at its own port."""
    monkeypatch.setattr(vxlan, "PORT", PORT[request.param])
    found: str = request.param
    return found


@pytest.mark.parametrize("address", [NODE2, GATEWAY2])
@pytest.mark.parametrize("claimed", [NODE1, "10.244.1.2", None])
def test_other_networks_port(lab: Lab, target: str, claimed: str | None, address: str) -> None:
    """VXLAN out of a pod to the port of another network is delivered by no node.

    Whether the pod says that its node has sent it, or itself, or lets the kernel say so.
    """
    node1 = lab.node("node1")
    pod = "red1" if target == "blue" else "blue1"
    forged, vni = vxlan.vxlan(VNI[target], vxlan.frame(b"forged")), VNI[target]
    with vxlan.Listener(lab.pod(f"{target}2")) as heard:
        for _ in range(3):  # the first may be lost while addresses are asked for
            if claimed:
                vxlan.send_from(node1, claimed, address, forged, pod=pod)
                continue
            with node1.open_pod_socket(pod, socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(forged, (address, vxlan.PORT))

        def may_pass(end: bytes) -> None:
            vxlan.send_from(node1, NODE1, NODE2, vxlan.vxlan(vni, vxlan.frame(end)))

        assert heard.until_end(may_pass) == []
