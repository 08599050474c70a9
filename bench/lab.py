# SPDX-License-Identifier: Apache-2.0
"""Thirty whole nodes on this machine: Open vSwitch, a daemon and a pod on each, and real packets.

Every pod pings every other. Then a node leaves and joins, again and again, while the pods of two
others talk. All thirty daemons share one file of nodes, and probe one another as by default.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import usage
from bench.results import Outcome
from bench.site import FLOW, MESH, PATIENCE, witness
from linen.lab.cluster import Lab
from linen.lab.description import describe
from support.labs import fresh_name
from support.overlays import SWITCH_PIDFILE, Overlay, Ping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.usage import Memory
    from linen.lab.node import Node
    from linen.lab.ping import PingMatrix

ROUNDS = (1, 3)  # times that a node leaves and joins: quick, thorough
NODES = 30
PAIRS = NODES * (NODES - 1)
NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default")
AT_ONCE = 4  # daemons that are started at the same time
PINGS = 10_000  # milliseconds, and packets: for longer than leaving and joining take
SILENCE = 2.0  # seconds in which pods must not reach one whose node has left
REST = 10.0  # seconds, in which each daemon probes each other


class Unreached(Exception):
    """Pods that should reach each other do not, or such that should not do."""


def measure(rounds: int) -> Outcome:
    """Topology flow, then mesh."""
    facts: dict[str, Any] = {}
    samples: dict[str, list[float]] = {}
    for topology in (FLOW, MESH):
        with _running_nodes(topology) as nodes:
            nodes.weigh()
            for _ in range(rounds):
                nodes.leave_and_join()
        facts |= {f"{topology}, {label}": value for label, value in nodes.facts.items()}
        facts[f"{topology}, packets of two others lost meanwhile, in all"] = nodes.lost
        for label, found in nodes.samples.items():
            facts[f"{topology}, {label}, median"] = round(statistics.median(found), 1)
            samples[f"{topology}, {label}"] = found
    return Outcome([], [], facts, samples)


class _Nodes:
    """The thirty nodes, as soon as they are a lab, and what was found of them."""

    def __init__(self, lab: Lab, peers: Path, topology: str) -> None:
        self.facts: dict[str, Any] = {}
        self.samples: dict[str, list[float]] = {}
        self.lost = 0
        self._lab = lab
        self._nodes = list(lab.nodes.values())
        self._overlay = Overlay(lab, peers, [f"--topology={topology}"])
        self._topology = topology
        self._write(NODES)

    def start(self) -> None:
        """Start the daemons, then the pods."""
        for node in self._nodes:
            node.run(["sh", "-c", "rm /etc/cni/net.d/*"])  # the lab's own conflist
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._overlay.start_flaxd, self._nodes))
        self.note_time("all daemons have started, and say that their overlays work", began)
        began = time.perf_counter()
        for node in self._nodes:
            self._lab.add_pod(node.name, "a" if node is self._nodes[0] else None)
        self.note_time(f"{NODES} pods have started, one after the other", began)
        began = time.perf_counter()
        matrix = self._lab.ping_matrix()
        self.note_time("each pod has pinged each other twice", began)
        _require(matrix.complete, matrix)
        times = [seconds * 1e3 for seconds in matrix.times.values() if seconds is not None]
        self.facts["pairs of pods that reach each other"] = len(times)
        self.facts["a packet and its answer, median, ms"] = round(statistics.median(times), 2)

    def weigh(self) -> None:
        """What the nodes take of this machine."""
        daemons = [daemon.pid for daemon in self._overlay.daemons.values()]
        self._note_memory("flaxd", [usage.memory(pid) for pid in daemons])
        self._note_memory("ovs-vswitchd", [_memory_of_switch(node) for node in self._nodes])
        shares = usage.shares_of_a_core(daemons, 1, REST)
        used = sum(share for (share,) in shares.values())
        self.facts["CPU of all daemons at rest, with probes, %"] = round(used, 1)

    def leave_and_join(self) -> None:
        """Let the last node leave and join; how long until the last of the others knows."""
        others, leaver = self._nodes[:-1], self._nodes[-1]
        with ExitStack() as stack:
            witnesses = [witness(node.process.pid, self._topology) for node in others]
            for one in witnesses:
                stack.enter_context(one)
                one.wait_for_peers(NODES - 1, PATIENCE)
            ping = Ping(self._lab, self._nodes[1], PINGS)
            for change, number in (("leaves", NODES - 1), ("joins", NODES)):
                began = self._write(number)
                ended = max(one.wait_for_peers(number - 1, PATIENCE) for one in witnesses)
                label = f"a node {change}, until {NODES - 1} others have dealt with it, ms"
                self.samples.setdefault(label, []).append((ended - began) * 1e3)
                if change == "leaves":
                    self._require_silence(leaver)
        if not ping.is_running:
            raise Unreached(f"the ping of {PINGS} ms ended before the node had joined")
        self.lost += ping.result().lost
        matrix = self._lab.ping_matrix()
        _require(matrix.complete, matrix)

    def _require_silence(self, leaver: Node) -> None:
        """The pods of all nodes but one reach each other, and nobody reaches that one's."""
        (gone,) = [pod.name for pod in self._lab.pods() if pod.node.name == leaver.name]
        matrix = self._lab.ping_matrix(SILENCE)
        _require({pair for pair in matrix.times if gone in pair} == set(matrix.losses), matrix)

    def note_time(self, what: str, began: float) -> None:
        """Note how long something took, that has ended now."""
        self.facts[f"{what}, s"] = round(time.perf_counter() - began, 1)

    def _note_memory(self, program: str, found: list[Memory]) -> None:
        resident = statistics.median(memory.resident for memory in found)
        self.facts[f"{program}, resident, median, MB"] = round(resident / 1e6, 1)
        proportional = sum(memory.proportional for memory in found)
        self.facts[f"{program}, all {NODES}, MB"] = round(proportional / 1e6)

    def _write(self, number: int) -> float:
        """Let the cluster have the first `number` nodes; when."""
        nodes = [
            {"name": n.name, "vtep": str(n.vtep.ip), "ranges": [f"10.244.{n.index}.0/24"]}
            for n in self._lab.description.nodes[:number]
        ]
        temporary = self._overlay.peers.with_suffix(".new")
        temporary.write_text(json.dumps({"clusterRange": "10.244.0.0/16", "nodes": nodes}))
        now = time.perf_counter()
        temporary.rename(self._overlay.peers)
        return now


@contextmanager
def _running_nodes(topology: str) -> Iterator[_Nodes]:
    began = time.perf_counter()
    with (
        _room_for_neighbours(),
        tempfile.TemporaryDirectory(prefix="linen-bench-") as folder,
        Lab.started(describe(NODES, "mesh", name=fresh_name())) as lab,
    ):
        nodes = _Nodes(lab, Path(folder) / "nodes.json", topology)
        nodes.note_time(f"{NODES} nodes with Open vSwitch have started", began)
        nodes.start()
        yield nodes


@contextmanager
def _room_for_neighbours() -> Iterator[None]:
    """Let the kernel know as many neighbours as thirty machines would know together.

    All network namespaces share one table, of 1,024 by default (arp(7), gc_thresh3).
    """
    paths = [NEIGHBOURS / "gc_thresh3", NEIGHBOURS / "gc_thresh2"]
    before = [path.read_text() for path in paths]
    for path in paths:
        path.write_text(str(max(int(path.read_text()), 4 * PAIRS)))
    try:
        yield
    finally:
        for path, value in zip(paths, before, strict=True):
            path.write_text(value)


def _memory_of_switch(node: Node) -> Memory:
    pid = int(node.run(["cat", SWITCH_PIDFILE]).stdout)
    return usage.memory(pid, usage.proc_of(node.process.pid))


def _require(condition: bool, matrix: PingMatrix) -> None:  # noqa: FBT001
    if not condition:
        lost = ", ".join(f"{one} to {other}" for one, other in matrix.losses[:5])
        raise Unreached(f"{len(matrix.losses)} of {len(matrix.times)} pairs do not talk: {lost}")
