# SPDX-License-Identifier: Apache-2.0
"""Linen on a cluster of real kubelets: from `kubectl apply` to Ready nodes, and what pods wait for.

Three nodes with containerd, their Open vSwitch, and a whole control plane share this machine. The
images are on the nodes' disks already.

A hundred pods start one after the other, a few at a time, and all at once. With more than one there
is more to do than processors to do it, so a plugin waits for its turn in the middle of it, and what
one sees is how busy the machine is. `bridge`, timed in the same way, is the scale, and so is a
program that only ends, which is run just before each of the two.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import timed
from bench.results import Goal, Outcome, Series, exactly, quantile
from support.cluster.cluster import PATIENCE, running_cluster
from support.cluster.linen import Linen, image
from support.cluster.many import ManyPods
from support.host import wait_until

if TYPE_CHECKING:
    from bench.results import Measured
    from support.cluster.cluster import Cluster

ROUNDS = (2, 4)  # installations, and times that all pods start: quick, thorough
NODES = ("node1", "node2", "node3")
PODS = 100
FEW = 5
WAYS = {"one pod at a time": 1, f"{FEW} pods at a time": FEW, f"{PODS} pods at once": PODS}
READY_GOAL, ADD_GOAL = 15.0, 10.0  # seconds, milliseconds


def measure(rounds: int) -> Outcome:
    """Install Linen several times, then start pods."""
    with running_cluster() as cluster, tempfile.TemporaryDirectory(prefix="linen-bench-") as folder:
        cluster.add_nodes(*NODES, images=[image("linen")])
        linen = Linen(cluster)
        ready = [_install(linen)]
        for _ in range(rounds - 1):
            _remove(linen)
            ready.append(_install(linen))
        linen.wait_until_rolled_out()
        series = _start_pods(cluster, Path(folder), rounds)
        cost = timed.own_cost(Path(folder))
    goals = [
        Goal(
            f"kubectl apply to {len(NODES)} Ready nodes, slowest of {rounds}",
            exactly(max(ready)),
            READY_GOAL,
            "s",
        ),
        *(
            Goal(f"linen ADD, {way}, p99", _p99(series[f"linen ADD, {way}"]), ADD_GOAL, "ms")
            for way in WAYS
        ),
    ]
    alone, timed_by_us = cost
    facts = {
        "kubectl apply to Ready nodes, fastest, s": round(min(ready), 1),
        "timing adds to each call, ms": round((timed_by_us.median - alone.median) * 1000, 2),
    }
    samples = {"kubectl apply to Ready nodes, s": ready}
    return Outcome([*series.values(), *cost], goals, facts, samples)


def _install(linen: Linen) -> float:
    """Seconds from the start of `kubectl apply` until the last node is Ready."""
    condition = ("wait", "nodes", "--all", "--for=condition=Ready", f"--timeout={PATIENCE}s")
    begin = time.perf_counter()
    with subprocess.Popen(
        linen.cluster.kubectl_command(*condition), stdout=subprocess.DEVNULL
    ) as waiting:
        linen.apply()
        if waiting.wait() != 0:
            raise TimeoutError(f"no Ready nodes; logs are in {linen.cluster.folder}")
        return time.perf_counter() - begin


def _remove(linen: Linen) -> None:
    """Uninstall, and wait until no node is Ready."""
    cluster = linen.cluster
    linen.wait_until_rolled_out()
    linen.delete()
    wait_until(
        lambda: all(cluster.condition(name).get("status") == "False" for name in NODES),
        "the nodes to be not Ready",
        PATIENCE,
    )


def _start_pods(cluster: Cluster, folder: Path, rounds: int) -> dict[str, Series]:
    """A series for each plugin and each way to start a hundred pods, by turns."""
    nodes = cluster.nodes.values()
    stand_in = timed.build(folder / "timed")
    for node in nodes:
        timed.install(node, stand_in)
    many = ManyPods(cluster)
    found: dict[str, Series] = {}
    for way, step in rounds * list(WAYS.items()):
        for replicas in range(step, PODS + 1, step):
            many.scale(replicas)
        for plugin, samples in timed.take(nodes, "ADD").items():
            label = f"{plugin} ADD, {way}" if plugin != timed.NOTHING else f"{plugin}, {way}"
            found.setdefault(label, Series(label)).samples += samples
        many.scale(0)
        timed.take(nodes, "DEL")
    many.delete()
    return found


def _p99(series: Series) -> Measured:
    """Milliseconds, which a hundredth of the calls exceeds."""
    return quantile([wall * 1000 for wall in series.walls], 0.99)
