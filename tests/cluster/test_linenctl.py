# SPDX-License-Identifier: Apache-2.0
"""`linenctl … --kubernetes` with real nodes, and linenctl in the pod of a node's flaxd."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.cluster.cluster import PATIENCE, Cluster, running_cluster
from support.cluster.linen import CONFLIST, image
from support.paths import KUBERNETES, LINENCTL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster.linen import Linen

NODE = "node1"
NETDEV = ("--datapath-type=netdev",)  # as the rig has it: support.cluster.linen


@pytest.fixture(scope="module")
def bare() -> Iterator[Cluster]:
    """A cluster of one node without a network."""
    with running_cluster() as cluster:
        cluster.add_nodes(NODE, images=[image("linen")])
        yield cluster


@contextmanager
def linenctl(cluster: Cluster, command: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Call it where the API server can be reached, as the administrator; it ends with the block."""
    program = [*cluster.fabric.inside, *LINENCTL, command]
    access = [word for word in cluster.kubectl_command() if word.startswith("--kubeconfig=")]
    with subprocess.Popen(
        [*program, "--kubernetes", "--apply", f"--timeout={PATIENCE}", *access, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PATH": f"{KUBERNETES}:{os.environ['PATH']}"},
    ) as process:
        yield process
        process.terminate()


def said(process: subprocess.Popen[str], until: str = "") -> str:
    """What it says, up to the line `until` or the end."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == f"{until}\n":
            break
    return "".join(lines)


def test_from_nothing_to_a_network_and_back(bare: Cluster) -> None:
    """A wrong device is told as the cause, the right one makes the node Ready, and all goes."""
    cause = f"{NODE}: this node's tunnel address is not known yet"
    with linenctl(bare, "install", *NETDEV, "--vtep-interface=nosuch0") as wrong:
        assert cause in said(wrong, until=cause)

    with linenctl(bare, "install", *NETDEV, "--vtep-interface=br-phy") as right:
        assert said(right).endswith("Linen works on all nodes\n")
        assert right.wait() == 0
    bare.wait_until_ready()
    node = bare.nodes[NODE]
    assert node.run("cat", CONFLIST).stdout

    with linenctl(bare, "uninstall") as gone:
        assert 'namespace "linen-system" deleted' in said(gone)
        assert gone.wait() == 0
    folders = ("/etc/cni/net.d", "/opt/cni/bin", "/var/lib/linen")
    assert node.run("find", *folders, "-mindepth", "1").stdout == ""
    assert node.vsctl("list-br") == "br-phy"
    found = bare.plane.node(NODE)
    assert not [key for key in found["metadata"]["annotations"] if key.startswith("linen-cni/")]
    assert bare.condition(NODE, "NetworkUnavailable") == {}


def test_in_the_pod_of_flaxd(linen: Linen) -> None:
    """By kubectl exec it sees what root's sees on the node, but for iptables, as it says itself."""
    pod = linen.pods()[NODE]["metadata"]["name"]
    inside = ("exec", pod, "--container=flaxd", "--", "linenctl")
    node = linen.cluster.nodes[NODE]

    found = json.loads(linen.kubectl(*inside, "check", "--json"))
    expected = json.loads(node.run(*LINENCTL, "check", "--json").stdout)

    note = {one["check"]: one["where"] for one in found if one not in expected}
    assert note == {"forward-drop": "iptables"}
    assert [one for one in expected if one not in found and one["check"] != "forward-drop"] == []
    shown = json.loads(linen.kubectl(*inside, "show", "--json"))
    assert {one["bridge"]: len(one["tunnels"]) for one in shown} == {"br0": 2}
