# SPDX-License-Identifier: Apache-2.0
"""Twenty pods at once on a node where nothing is there yet, as after a reboot.

All twenty ADDs find no OVS bridge and start to make it; Open vSwitch must end up with one of each
row, and each ADD must succeed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.node import OVS_BRIDGE, PEERS_BRIDGE, VTEPS, running_node
from bench.process import Sample
from bench.results import Goal, Outcome, Series, exactly, ratio, shuffled

if TYPE_CHECKING:
    from bench.node import Node
    from bench.process import Invocation

ROUNDS = (5, 30)  # quick, thorough
PODS = 20


def measure(rounds: int) -> Outcome:
    """Time one first ADD, and twenty at once, on the same node."""
    one, all_at_once = Series("1 first ADD"), Series(f"{PODS} first ADDs at once")
    failures: list[str] = []
    duplicates: list[str] = []
    with running_node() as node:
        node.add_ovs_bridge(PEERS_BRIDGE)
        calls = [node.attached(f"pod-{number}") for number in range(PODS)]

        def single() -> None:
            node.remove_ovs_bridge(OVS_BRIDGE)
            one.samples.append(node.run(calls[0]).sample)

        def burst() -> None:
            node.remove_ovs_bridge(OVS_BRIDGE)
            sample, said = _burst(node, calls)
            all_at_once.samples.append(sample)
            failures.extend(said)
            duplicates.extend(_surplus(node))

        for _ in range(rounds):
            for part in shuffled((single, burst)):
                part()
    goals = [
        Goal(f"{PODS} first ADDs at once / one", ratio(all_at_once, one), 8),
        Goal(f"failures of {rounds * PODS} ADDs at once", exactly(len(failures)), 0, ""),
        Goal(f"rows too many or too few after {rounds} bursts", exactly(len(duplicates)), 0, ""),
    ]
    return Outcome([one, all_at_once], goals, {"failures": failures, "duplicates": duplicates})


def _burst(node: Node, calls: list[Invocation]) -> tuple[Sample, list[str]]:
    """All calls at once: as one sample, and what those that failed have said."""
    done = node.run_all(calls)
    whole = max(call.ended for call in done) - min(call.begun for call in done)
    samples = [call.sample for call in done]
    total = Sample(
        whole,
        sum(sample.user for sample in samples),
        sum(sample.system for sample in samples),
        sum(sample.faults for sample in samples),
    )
    return total, [(call.stdout + call.stderr).decode() for call in done if call.status != 0]


def _surplus(node: Node) -> list[str]:
    """The rows that are not there exactly once."""
    found = Counter(row["name"] for row in node.host.records("Bridge", "name"))
    found.update(row["target"] for row in node.host.records("Controller", "target"))
    found.update(
        row["options"]["remote_ip"]
        for row in node.host.records("Interface", "type", "options")
        if row["type"] == "vxlan"
    )
    wanted = {OVS_BRIDGE, PEERS_BRIDGE, "tcp:192.168.2.100:6653", *VTEPS}
    return [f"{name}: {found[name]}" for name in found.keys() | wanted if found[name] != 1]
