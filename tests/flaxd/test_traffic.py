# SPDX-License-Identifier: Apache-2.0
"""flaxd on all nodes of a lab: real packets, while daemons and switches come and go."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from linen.lab.cluster import Lab
from linen.lab.description import POD_NETWORK, describe
from support.daemons import FLAXD
from support.host import wait_until
from support.labs import fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from linen.lab.node import Node

CONFLIST = "/etc/cni/net.d/linen.conflist"


class Overlay:
    """A lab of three nodes whose tunnels are flaxd's, and a pod on each: a, b and c."""

    def __init__(self, lab: Lab, peers: Path) -> None:
        self.lab = lab
        self.peers = peers
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start_flaxd(self, node: Node) -> None:
        """Start the node's daemon, and return once its overlay works."""
        arguments = [f"--node={node.name}", f"--peers={self.peers}"]
        if self.lab.description.datapath == "netdev":
            arguments.append("--datapath-type=netdev")
        quiet = subprocess.DEVNULL
        daemon = node.popen([str(FLAXD), *arguments], stdin=quiet, stdout=quiet, stderr=quiet)
        self.daemons[node.name] = daemon
        wait_until((node.root / CONFLIST[1:]).exists, f"{node.name}'s conflist", 20)

    def stop_flaxd(self, node: Node) -> None:
        """Stop the node's daemon."""
        daemon = self.daemons.pop(node.name)
        daemon.terminate()
        assert daemon.wait(timeout=10) == 0


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    """The overlay, once every pod reaches every other."""
    description = describe(nodes=3, topology="mesh", name=fresh_name())
    nodes = [
        {"name": n.name, "vtep": str(n.vtep.ip), "ranges": [f"10.244.{n.index}.0/24"]}
        for n in description.nodes
    ]
    peers = tmp_path / "nodes.json"
    peers.write_text(json.dumps({"clusterRange": str(POD_NETWORK), "nodes": nodes}))
    with Lab.started(description) as lab:
        running = Overlay(lab, peers)
        for node, pod in zip(lab.nodes.values(), "abc", strict=True):
            node.run(["sh", "-c", "rm /etc/cni/net.d/*"])
            running.start_flaxd(node)
            lab.add_pod(node.name, pod)
        assert lab.ping_matrix().complete
        yield running


def ping_all_the_time(lab: Lab, count: int) -> subprocess.Popen[str]:
    """Ping pod c, which has the first address of node3's range, a thousand times a second."""
    return lab.node("node1").popen(
        ["ping", "-q", "-i", "0.001", "-c", str(count), "10.244.3.2"],
        pod="a",
        stdout=subprocess.PIPE,
        text=True,
    )


def losses(ping: subprocess.Popen[str]) -> int:
    """How many packets were lost."""
    output, _ = ping.communicate(timeout=60)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
    assert found, output
    return int(found[1]) - int(found[2])


def test_restart_of_the_daemon_loses_no_packet(overlay: Overlay) -> None:
    """While the daemon of a node is stopped and started again, not one packet is lost.

    A busy machine loses one by itself now and then, so there are three attempts.
    """
    node = overlay.lab.node("node1")

    def lost_by_a_restart() -> int:
        ping = ping_all_the_time(overlay.lab, 4000)
        overlay.stop_flaxd(node)
        overlay.start_flaxd(node)
        return losses(ping)

    assert 0 in (lost_by_a_restart() for _ in range(3))


def test_every_pod_is_reached_after_a_restart_of_the_switch(overlay: Overlay) -> None:
    """When ovs-vswitchd was killed and is back, every pod reaches every other again."""
    node = overlay.lab.node("node2")
    pid = node.run(["cat", "/var/run/openvswitch/ovs-vswitchd.pid"]).stdout.strip()
    node.run(["kill", "-KILL", pid])
    wait_until(lambda: is_dead(node, pid), "ovs-vswitchd to end")
    node.run(["ovs-vswitchd", "unix:/var/run/openvswitch/db.sock", "--pidfile", "--detach"])

    assert overlay.lab.ping_matrix().complete


def is_dead(node: Node, pid: str) -> bool:
    """Whether a process has ended; nobody may have waited for it yet."""
    stat = node.run(["cat", f"/proc/{pid}/stat"], check=False).stdout
    return not stat or stat.rpartition(")")[2].split()[0] == "Z"


def test_a_node_that_leaves_and_comes_back(overlay: Overlay) -> None:
    """A node that is taken out of the file loses its tunnels, and is reached again when back."""
    whole = overlay.peers.read_text()
    document = json.loads(whole)
    document["nodes"] = document["nodes"][:2]
    overlay.peers.write_text(json.dumps(document))
    node = overlay.lab.node("node1")

    def ports() -> list[str]:
        return node.run(["ovs-vsctl", "list-ports", "br0"]).stdout.split()

    wait_until(lambda: ports() == ["vxif10_245_2_3"], "the tunnel to go")

    overlay.peers.write_text(whole)
    assert overlay.lab.ping_matrix().complete


def health(node: Node) -> dict[str, str]:
    """What the node's daemon thinks of its peers."""
    program = (
        "import urllib.request; "
        "print(urllib.request.urlopen('http://127.0.0.1:9474/state', timeout=5).read().decode())"
    )
    page = json.loads(node.run([sys.executable, "-I", "-c", program]).stdout)
    return {peer["peer"]: peer["state"] for peer in page["peers"]}


def test_health_of_the_peers(overlay: Overlay) -> None:
    """A cut cable is noticed by BFD within seconds, on both sides, and so is its repair."""
    node1, node3 = overlay.lab.node("node1"), overlay.lab.node("node3")
    well = {"node2": "up", "node3": "up"}
    wait_until(lambda: health(node1) == well, "all peers up", 30)
    wait_until(lambda: set(health(node3).values()) == {"up"}, "all peers of node3 up", 30)

    overlay.lab.cut("node3")
    wait_until(lambda: health(node1) == {"node2": "up", "node3": "down"}, "node3 down", 15)
    wait_until(lambda: set(health(node3).values()) == {"down"}, "all down on node3", 15)

    overlay.lab.heal("node3")
    wait_until(lambda: health(node1) == well, "all peers up again", 30)
