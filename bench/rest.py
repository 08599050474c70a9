# SPDX-License-Identifier: Apache-2.0
"""flaxd at rest, one of 100 nodes: memory, computing, and what the others' heartbeats cost.

One daemon has its nodes from a real API server, another from a file. Both have tunnels to 99 peers
with BFD, and ping each of them every 10 s, as by default. A network namespace on the Linux bridge
answers for all of the peers' gateways; nobody answers BFD.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import usage
from bench.cluster import add_node, add_worker, pod_range, running_cluster
from bench.fleet import paced
from bench.results import Goal, Outcome, exactly, mean
from bench.site import answer_probes, wait_for_answers
from bench.witness import Witness
from support import workers
from support.daemons import CLUSTER_RANGE, Flaxd, Nodes, running_flaxd
from support.host import running_host
from support.kubernetes_nodes import address_of, plugin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.usage import Memory
    from support.kubernetes_nodes import KubernetesNode

ROUNDS = (2, 6)  # windows of 10 s at rest: quick, thorough
WINDOW = 10.0  # seconds: one interval of probes
HEARTBEAT_WINDOWS = 3  # in each, one heartbeat of each node, as from kubelets
NODES = 100
PATIENCE = 60.0  # seconds
MEMORY_GOAL, CPU_GOAL, HEARTBEAT_GOAL = 60.0, 0.2, 3.0  # MB, % of a core, kB


def measure(rounds: int) -> Outcome:
    """Measure two daemons at rest, then one of them under heartbeats."""
    with running_cluster() as cluster:
        for number in range(2, NODES + 1):
            add_worker(cluster.plane, number)
        node = add_node(cluster, 1)
        with node.flaxd() as kubernetes, _flaxd_with_file() as file:
            for daemon in (kubernetes, file):
                _wait_until_settled(daemon)
            memory = {"Kubernetes": usage.memory(kubernetes.process.pid)}
            memory["--peers"] = usage.memory(file.process.pid)
            pids = [kubernetes.process.pid, file.process.pid]
            rest = usage.shares_of_a_core(pids, rounds, WINDOW)
            busy, heartbeat = _under_heartbeats(node, kubernetes)
            later = usage.memory(kubernetes.process.pid)
    shares = {"Kubernetes": rest[pids[0]], "--peers": rest[pids[1]]}
    goals = [*_memory_goals(memory), *_cpu_goals(shares)]
    goals.append(Goal("a Node's heartbeat on the wire", exactly(heartbeat), HEARTBEAT_GOAL, "kB"))
    facts = {f"flaxd, {mode}, PSS, MB": _mb(found.proportional) for mode, found in memory.items()}
    facts["flaxd, Kubernetes, RSS after the heartbeats, MB"] = _mb(later.resident)
    facts[f"flaxd, CPU, {NODES} heartbeats in {WINDOW:g} s, %"] = round(mean(busy).value, 2)
    samples = {f"% of a core, {mode}": found for mode, found in shares.items()}
    return Outcome([], goals, facts, samples | {"% of a core, heartbeats": busy})


def _memory_goals(memory: dict[str, Memory]) -> list[Goal]:
    return [
        Goal(f"flaxd, {mode}: RSS, {NODES} nodes", exactly(_mb(m.resident)), MEMORY_GOAL, "MB")
        for mode, m in memory.items()
    ]


def _cpu_goals(shares: dict[str, list[float]]) -> list[Goal]:
    return [
        Goal(f"flaxd, {mode}: CPU at rest, {NODES} nodes", mean(found), CPU_GOAL, "%")
        for mode, found in shares.items()
    ]


@contextmanager
def _flaxd_with_file() -> Iterator[Flaxd]:
    """A daemon on a host of its own, whose nodes are in a file."""
    with (
        tempfile.TemporaryDirectory(prefix="linen-bench-") as name,
        running_host(Path(name)) as host,
    ):
        host.add_underlay(f"{address_of('node1')}/16")
        names = [f"node{number}" for number in range(1, NODES + 1)]
        settings: dict[str, Any] = {
            "node": "node1",
            "peers": Nodes(host.folder / "nodes.json", *names).path,
            "state_dir": host.folder / "state",
            "conflist": host.folder / "net.d" / "linen.conflist",
            "bin_dir": plugin_folder(host),
        }
        with running_flaxd(host, **settings) as daemon:
            yield daemon


def _wait_until_settled(daemon: Flaxd) -> None:
    """Return when all tunnels are there, br0 is on kbr0, and every peer has answered a probe."""
    numbers = range(2, NODES + 1)
    with Witness(daemon.host.pid) as witness:
        witness.wait_for([address_of(f"node{number}") for number in numbers], PATIENCE)
    answer_probes(daemon.host, pod_range(1).replace(".0/24", ".1/16"), CLUSTER_RANGE)
    daemon.wait_for("put device br0 on Linux bridge kbr0")
    wait_for_answers(daemon, NODES)
    time.sleep(WINDOW)  # to note each peer's first answer is more work than later


def _under_heartbeats(node: KubernetesNode, daemon: Flaxd) -> tuple[list[float], float]:
    """The daemon's share of a core in each window, and the kB that each heartbeat cost."""
    before = node.relay.received

    def beat(turn: int) -> None:
        workers.heartbeat(node.plane, f"node{2 + turn % (NODES - 1)}", turn)

    with paced(NODES / WINDOW, beat) as sent:
        pid = daemon.process.pid
        busy = usage.shares_of_a_core([pid], HEARTBEAT_WINDOWS, WINDOW)[pid]
    return busy, (node.relay.received - before) / sent.turns / 1000


def _mb(size: int) -> float:
    return round(size / 1e6, 1)
