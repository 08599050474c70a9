# SPDX-License-Identifier: Apache-2.0
"""flaxd: how long after a node's annotation all others have a tunnel to it.

The time runs from just before the request that annotates the Node, so the API server's work is
part of it, until ovs-vswitchd has given the tunnel its number on the last of three nodes. All
three with their Open vSwitch, the API server and etcd share this machine.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from bench.cluster import add_node, pod_range, running_cluster
from bench.results import Goal, Outcome, quantile
from bench.witness import Witness
from support import workers
from support.kubernetes_nodes import address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.control_plane import ControlPlane

ROUNDS = (30, 400)  # joins one after the other: quick, thorough
NODES = 3  # that run a daemon
BURST = 200  # nodes that join at once
WRITERS = 4  # that annotate them: the daemons of a real cluster are as many as its nodes
PATIENCE = 60.0  # seconds
GOAL = 250.0  # milliseconds


class Joined(NamedTuple):
    """Seconds from the first and from the last annotation until every tunnel was there."""

    since_first: float
    since_last: float


def measure(rounds: int) -> Outcome:
    """Let nodes join one after the other, then many at once."""
    with running_cluster() as cluster, ExitStack() as stack:
        nodes = [add_node(cluster, number) for number in range(1, NODES + 1)]
        for node in nodes:
            stack.enter_context(node.flaxd())
        witnesses = [stack.enter_context(Witness(node.host.pid)) for node in nodes]
        for node, witness in zip(nodes, witnesses, strict=True):
            others = [other.vtep for other in nodes if other is not node]
            witness.wait_for(others, PATIENCE)
        first = NODES + 1
        times = [
            _join(cluster.plane, [number], witnesses).since_first * 1000
            for number in range(first, first + rounds)
        ]
        first += rounds
        burst = _join(cluster.plane, range(first, first + BURST), witnesses)
    return Outcome(
        [],
        [Goal(f"a node joins: tunnels on {NODES} nodes, p99", quantile(times, 0.99), GOAL, "ms")],
        {
            f"a node joins, p50 of {rounds}, ms": round(quantile(times, 0.5).value, 1),
            "the slowest, ms": round(max(times), 1),
            f"{BURST} nodes join at once, s after the first annotation": round(
                burst.since_first, 2
            ),
            f"{BURST} nodes join at once, s after the last annotation": round(burst.since_last, 2),
        },
        {"join, ms": times},
    )


def _join(plane: ControlPlane, numbers: Sequence[int], witnesses: Sequence[Witness]) -> Joined:
    """Let these nodes join; their kubelets have registered them before."""
    for number in numbers:
        name = f"node{number}"
        workers.register(plane, name, address_of(name), pod_range(number))
    began = time.perf_counter()

    def announce(number: int) -> float:
        name = f"node{number}"
        sent = time.perf_counter()
        workers.announce(plane, name, address_of(name), pod_range(number))
        return sent

    with ThreadPoolExecutor(WRITERS) as pool:
        last = max(pool.map(announce, numbers))
    addresses = [address_of(f"node{number}") for number in numbers]
    ended = max(witness.wait_for(addresses, PATIENCE) for witness in witnesses)
    return Joined(ended - began, ended - last)
