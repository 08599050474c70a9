# SPDX-License-Identifier: Apache-2.0
"""A lab whose tunnels are flaxd's, with pods that talk while daemons and switches come and go."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.daemons import FLAXD
from support.host import PATIENCE, is_dead, wait_until
from support.labs import fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from linen.lab.description import LabDescription, PodFamily, VtepFamily
    from linen.lab.node import Node

CONFLIST = "/etc/cni/net.d/linen.conflist"
SWITCH_PIDFILE = "/var/run/openvswitch/ovs-vswitchd.pid"
LISTEN = ("127.0.0.1", 9474)  # flaxd's default


class Overlay:
    """A lab of three nodes whose tunnels are flaxd's, and a pod on each: a, b and c.

    `options`: of all daemons, more than they need, e.g. "--topology=flow".
    """

    def __init__(self, lab: Lab, peers: Path, options: Sequence[str] = ()) -> None:
        self.lab = lab
        self.peers = peers
        self.options = options
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start_flaxd(self, node: Node) -> None:
        """Start the node's daemon, and return once its overlay works."""
        arguments = [f"--node={node.name}", f"--peers={self.peers}", *self.options]
        if self.lab.description.datapath == "netdev":
            arguments.append("--datapath-type=netdev")
        quiet = subprocess.DEVNULL
        daemon = node.popen([str(FLAXD), *arguments], stdin=quiet, stdout=quiet, stderr=quiet)
        self.daemons[node.name] = daemon
        wait_until(lambda: is_whole(node), f"{node.name}'s overlay", 60)

    def stop_flaxd(self, node: Node) -> None:
        """Stop the node's daemon."""
        daemon = self.daemons.pop(node.name)
        daemon.terminate()
        assert daemon.wait(timeout=PATIENCE) == 0

    def change_pods(self, family: PodFamily) -> None:
        """Give the nodes pod ranges of other IP versions, and pods that have such addresses."""
        for old in self.lab.pods():
            self.lab.del_pod(old.name)
        description = replace(self.lab.description, pod_family=family)
        self.peers.write_text(json.dumps(file_of_nodes(description)))
        for node, pod in zip(self.lab.nodes.values(), "abc", strict=True):
            ranges = description.pod_ranges(node.description)
            wait_for_gateways(node, [str(one.gateway) for one in ranges])
            self.lab.add_pod(node.name, pod)

    @contextmanager
    def without_node3(self) -> Iterator[None]:
        """Take node3 out of the list of nodes for as long as the block lasts."""
        whole = self.peers.read_text()
        document = json.loads(whole)
        document["nodes"] = document["nodes"][:2]
        self.peers.write_text(json.dumps(document))
        try:
            yield
        finally:
            self.peers.write_text(whole)


@contextmanager
def running_overlay(
    folder: Path,
    *options: str,
    pod_family: PodFamily = "ipv4",
    vtep_family: VtepFamily = "ipv4",
    br_netfilter: bool = True,
) -> Iterator[Overlay]:
    """The overlay, once every pod reaches every other.

    `folder`: for the daemons' file of nodes. `pod_family`: which addresses pods have.
    `vtep_family`: which addresses the underlay has. `br_netfilter`: whether packets between pods
    pass the nodes' firewalls; without, it is as on hosts without Kubernetes.
    """
    description = describe(
        3, "mesh", name=fresh_name(), pod_family=pod_family, vtep_family=vtep_family
    )
    peers = folder / "nodes.json"
    peers.write_text(json.dumps(file_of_nodes(description)))
    with Lab.started(description) as lab:
        running = Overlay(lab, peers, options)
        set_br_netfilter(lab, on=br_netfilter)
        for node, pod in zip(lab.nodes.values(), "abc", strict=True):
            node.run(["sh", "-c", "rm /etc/cni/net.d/*"])
            running.start_flaxd(node)
            lab.add_pod(node.name, pod)
        assert lab.ping_matrix().complete
        yield running


def set_br_netfilter(lab: Lab, *, on: bool) -> None:
    """Let packets between pods pass the nodes' firewalls, or not."""
    for node in lab.nodes.values():
        for program in "iptables", "ip6tables":
            node.run(["sysctl", "--write", f"net.bridge.bridge-nf-call-{program}={int(on)}"])


def file_of_nodes(description: LabDescription) -> dict[str, Any]:
    """The daemons' file of nodes; the first is the master, should it be a star."""
    ranges = [description.pod_ranges(node) for node in description.nodes]
    return {
        "clusterRange": [str(one.whole) for one in ranges[0]],
        "nodes": [
            {
                "name": node.name,
                "vtep": str(node.vtep.ip),
                "ranges": [str(one.part) for one in own],
                "master": node.index == 1,
            }
            for node, own in zip(description.nodes, ranges, strict=True)
        ],
    }


# --- what the daemon says ---


def page(node: Node, path: str, listen: tuple[str, int] = LISTEN) -> tuple[int, str] | None:
    """The status and text of one of a daemon's pages; None while it does not listen."""

    def get() -> tuple[int, str] | None:
        connection = http.client.HTTPConnection(*listen, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionError:
            return None
        finally:
            connection.close()

    return node.call_in_network(get)


def state(node: Node) -> dict[str, Any]:
    """The daemon's page /state."""
    answer = page(node, "/state")
    assert answer is not None, f"{node.name}'s daemon does not listen"
    found: dict[str, Any] = json.loads(answer[1])
    return found


def is_whole(node: Node, conflist: str = CONFLIST, listen: tuple[str, int] = LISTEN) -> bool:
    """Whether a daemon has nothing left to do or to wait for, and its conflist is there."""
    answer = page(node, "/readyz", listen)
    return answer is not None and answer[0] == 200 and (node.root / conflist[1:]).exists()


def wait_for_gateways(node: Node, wanted: list[str]) -> None:
    """Return once the daemon's conflist gives pods these gateways, and its overlay works."""

    def are_given() -> bool:
        conflist = json.loads((node.root / CONFLIST[1:]).read_text())
        sets = conflist["plugins"][0]["ipam"]["ranges"]
        return wanted == [one["gateway"] for (one,) in sets]

    wait_until(lambda: are_given() and is_whole(node), f"{node.name}'s gateways {wanted}", 60)


# --- the switch ---


def kill_switch(node: Node) -> None:
    """Kill the node's ovs-vswitchd; return when it is dead."""
    pid = node.run(["cat", SWITCH_PIDFILE]).stdout.strip()
    node.run(["kill", "-KILL", pid])
    stat = ["cat", f"/proc/{pid}/stat"]
    wait_until(lambda: is_dead(node.run(stat, check=False).stdout), "ovs-vswitchd to end")


def restart_switch(node: Node) -> None:
    """Kill it and start it again; return when it has carried out what OVSDB says."""
    kill_switch(node)
    node.run(["ovs-vswitchd", "unix:/var/run/openvswitch/db.sock", "--pidfile", "--detach"])


# --- packets ---


# Its time, by time.time, and the packet's number: 1, 2, 3…
_ANSWER = re.compile(r"^\[([0-9.]+)\] \d+ bytes from .* icmp_seq=(\d+) ", re.MULTILINE)
_A_WHILE = 500  # answers


class Ping:
    """A running ping from pod a, a thousand times a second, to the pod of another node."""

    def __init__(self, lab: Lab, target: Node, count: int) -> None:
        # The first address of a node's range is its gateway, the second its first pod's.
        address = f"10.244.{target.description.index}.2"
        # A pipe would be full after a thousand answers, and ping would wait.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `_end`)
        self._process = lab.node("node1").popen(
            ["ping", "-D", "-i", "0.001", "-c", str(count), address], pod="a", stdout=self._output
        )

    @property
    def is_running(self) -> bool:
        """Whether there are packets still to be sent or answered."""
        return self._process.poll() is None

    def result(self) -> Pinged:
        """What became of the packets, once all have been sent."""
        said = self._end()
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found, said
        times = [float(moment) for moment, _ in _ANSWER.findall(said)]
        return Pinged(int(found[1]) - int(found[2]), times)

    def stop(self) -> Pinged:
        """What became of the packets until now and a while on: a busy machine sends few a second.

        Those after the last one that was answered do not count: their answers may be under way.
        """
        enough = len(_ANSWER.findall(self._said())) + _A_WHILE
        wait_until(lambda: len(_ANSWER.findall(self._said())) >= enough, "answers to pings", 60)
        self._process.send_signal(signal.SIGINT)
        answers = _ANSWER.findall(self._end())
        numbers = {int(number) for _, number in answers}
        return Pinged(max(numbers) - len(numbers), [float(moment) for moment, _ in answers])

    def _said(self) -> str:
        return os.pread(self._output.fileno(), 1 << 24, 0).decode()

    def _end(self) -> str:
        """Wait for its end; all that it has said."""
        self._process.wait(timeout=300)
        said = self._said()
        self._output.close()
        return said


class Pinged(NamedTuple):
    """How many packets were lost, and when those that were not came back, by time.time."""

    lost: int
    answered: list[float]
