# SPDX-License-Identifier: Apache-2.0
"""What a plugin takes of the disk and, while it runs, of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import tunnels
from bench.node import (
    BRIDGE,
    HOST_LOCAL,
    LINEN,
    OVS_CNI,
    PEERS_BRIDGE,
    cni_call,
    running_node,
)
from bench.results import Goal, Outcome, exactly

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.node import Node
    from bench.process import Invocation

ROUNDS = (3, 10)  # quick, thorough
MEGABYTE = 1_000_000  # bytes


def measure(rounds: int) -> Outcome:
    """Weigh the files, and the memory of calls at its peak, of which the largest counts."""
    programs = {"linen": LINEN, "bridge": BRIDGE, "host-local": HOST_LOCAL, "ovs-cni": OVS_CNI}
    files = {name: path.stat().st_size for name, path in programs.items()}
    peaks = _peaks(rounds)
    with running_node(tunnels.addresses("10.245", 1000)) as node:
        peaks["linen ADD with 1,000 peers"] = max(_peaks_of_linen(node, rounds))
    goals = [
        Goal("size of bin/linen", exactly(files["linen"] / MEGABYTE), 9, "MB"),
        Goal("peak memory of linen ADD", exactly(peaks["linen ADD"] / MEGABYTE), 10, "MB"),
    ]
    return Outcome([], goals, {"file size, bytes": files, "peak memory, bytes": peaks})


def _peaks(rounds: int) -> dict[str, int]:
    """The peak memory of each plugin's calls, in bytes."""
    peaks: dict[str, list[int]] = {}
    with running_node() as node:
        node.add_ovs_bridge(PEERS_BRIDGE)
        peaks["linen VERSION"] = [node.peak_memory(cni_call(LINEN, "VERSION"))]
        peaks["linen ADD"] = _peaks_of_linen(node, rounds)
        peaks["bridge ADD"] = _peaks_of_pods(node, rounds, node.bridge)
        peaks["ovs-cni ADD"] = _peaks_of_pods(node, rounds, node.ovs_cni)
    return {label: max(found) for label, found in peaks.items()}


def _peaks_of_linen(node: Node, rounds: int) -> list[int]:
    """The first ADD's peak, and those of the next."""
    call = node.attached("pod")
    return [node.peak_memory(call) for _ in range(rounds + 1)]


def _peaks_of_pods(node: Node, rounds: int, call: Callable[[str, str], Invocation]) -> list[int]:
    found = []
    for number in range(rounds):
        pod = node.add_pod(f"pod-{number}")
        found.append(node.peak_memory(call("ADD", pod)))
        node.run(call("DEL", pod))
        node.remove_pod(pod)
    return found
