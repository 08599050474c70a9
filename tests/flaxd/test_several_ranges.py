# SPDX-License-Identifier: Apache-2.0
"""A node with several parts of the pod network: its pods get addresses from one after the other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.host import wait_until
from support.overlays import CONFLIST, Overlay, is_whole, running_overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.cluster import Lab
    from linen.lab.pods import Pod

RANGES = "10.244.1.0/29", "10.244.9.0/24"  # the first has five addresses for pods
GATEWAY = "10.244.1.1"
OUTSIDE = "192.0.2.1"  # beyond the gateway
PODS = "a", "p1", "p2", "p3", "p4", "p5"  # the first from before the second range


@pytest.fixture(scope="module", params=["mesh", "flow"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Six pods of a node whose first range has room for five, with an address beyond the node."""
    folder: Path = tmp_path_factory.mktemp("ranges")
    with running_overlay(folder, f"--topology={request.param}", "--vni=7") as overlay:
        lab, node1 = overlay.lab, overlay.lab.node("node1")
        give_ranges(overlay)
        node1.run(["ip", "address", "add", f"{OUTSIDE}/32", "dev", "lo"])
        for pod in PODS[1:]:
            lab.add_pod("node1", pod)
        yield lab


def give_ranges(overlay: Overlay) -> None:
    """Let node1 have `RANGES`, and return once its conflist says so."""
    document = json.loads(overlay.peers.read_text())
    document["nodes"][0]["ranges"] = RANGES
    overlay.peers.write_text(json.dumps(document))
    node1 = overlay.lab.node("node1")
    path = node1.root / CONFLIST[1:]
    wait_until(lambda: "10.244.9.2" in path.read_text() and is_whole(node1), "the second range")


def test_gateway_stays(lab: Lab) -> None:
    """The first pod of the second range has the others' gateway, and takes it from none of them."""
    pods = [lab.pod(pod) for pod in PODS]
    addresses = [*(f"10.244.1.{number}" for number in range(2, 7)), "10.244.9.2"]
    assert [str(pod.addresses[0]) for pod in pods] == addresses
    for pod in pods:
        pod.node.run(["ip", "neigh", "flush", "all"], pod=pod.name)

        for target in GATEWAY, OUTSIDE:
            assert answers(pod, target)
        default = pod.node.run(["ip", "route", "show", "default"], pod=pod.name).stdout
        assert f"via {GATEWAY} " in default


@pytest.mark.parametrize("pod", [PODS[0], PODS[-1]])
def test_other_nodes_pods(lab: Lab, pod: str) -> None:
    """Pods of either range and those of other nodes reach one another, and so does the node."""
    ours, theirs = lab.pod(pod), lab.pod("b")
    address = str(theirs.addresses[0])

    assert answers(ours, address)
    assert answers(theirs, str(ours.addresses[0]))
    assert ours.node.run(ping(address), check=False).returncode == 0


def answers(pod: Pod, target: str) -> bool:
    """Whether a pod's ping is answered."""
    return pod.node.run(ping(target), pod=pod.name, check=False).returncode == 0


def ping(target: str) -> list[str]:
    """The command, which waits for the first answer."""
    return ["ping", "-c1", "-w30", target]
