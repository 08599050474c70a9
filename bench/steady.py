# SPDX-License-Identifier: Apache-2.0
"""Steady state: what each further pod of a node costs.

Each round attaches a fresh pod by the chain `bridge`, `linen`, another by ovs-cni's plugin, and
detaches both. ovs-cni stands for the whole chain: it makes the pod's veth, asks host-local for an
address, and adds a port to an OVS bridge that must exist.
VERSION and /bin/true run in the same rounds; by subtraction they tell where the time goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.node import LINEN, PEERS_BRIDGE, cni_call, program, running_node
from bench.results import Goal, Outcome, Series, cpu_ratio, ratio, shuffled

if TYPE_CHECKING:
    from bench.node import Node
    from bench.process import Finished, Invocation

ROUNDS = (30, 200)  # quick, thorough


class _Round:
    """One round's calls on a node, each recorded in the series of its label."""

    def __init__(self, node: Node, series: dict[str, Series], number: int) -> None:
        self.node = node
        self.series = series
        self.number = number

    def run(self, label: str, invocation: Invocation) -> Finished:
        done = self.node.run(invocation)
        self.series.setdefault(label, Series(label)).samples.append(done.sample)
        return done

    def chain(self) -> None:
        self._chain("", masquerade=False)

    def chain_of_examples(self) -> None:
        self._chain(", ipMasq", masquerade=True)

    def _chain(self, note: str, *, masquerade: bool) -> None:
        node = self.node
        pod = node.add_pod(f"chain-{masquerade:d}-{self.number}")
        added = self.run(f"bridge ADD{note}", node.bridge("ADD", pod, masquerade=masquerade))
        self.run(f"linen ADD{note}", node.linen("ADD", pod, added.stdout))
        self.run(f"linen DEL{note}", node.linen("DEL", pod, added.stdout))
        self.run(f"bridge DEL{note}", node.bridge("DEL", pod, masquerade=masquerade))
        node.remove_pod(pod)

    def ovs_cni(self) -> None:
        pod = self.node.add_pod(f"ovs-cni-{self.number}")
        self.run("ovs-cni ADD", self.node.ovs_cni("ADD", pod))
        self.run("ovs-cni DEL", self.node.ovs_cni("DEL", pod))
        self.node.remove_pod(pod)

    def version(self) -> None:
        self.run("linen VERSION", cni_call(LINEN, "VERSION"))

    def nothing(self) -> None:
        self.run("/bin/true", program("/bin/true"))

    def everything(self) -> None:
        parts = (self.chain, self.chain_of_examples, self.ovs_cni, self.version, self.nothing)
        for part in shuffled(parts):
            part()


def measure(rounds: int) -> Outcome:
    """Time ADD and DEL of all three plugins, once the overlay is there."""
    series: dict[str, Series] = {}
    with running_node() as node:
        node.add_ovs_bridge(PEERS_BRIDGE)
        _Round(node, {}, 0).everything()  # makes the bridges, and fills the page cache
        for number in range(1, rounds + 1):
            _Round(node, series, number).everything()
    return Outcome(
        [series[label] for label in sorted(series)],
        [
            _goal(series, "bridge ADD", ""),
            _goal(series, "bridge ADD", ", ipMasq"),
        ],
        {
            "computing alone: linen ADD / bridge ADD": cpu_ratio(
                series["linen ADD"], series["bridge ADD"]
            ),
            "linen ADD / ovs-cni ADD": ratio(series["linen ADD"], series["ovs-cni ADD"]),
            "linen DEL / ovs-cni DEL": ratio(series["linen DEL"], series["ovs-cni DEL"]),
        },
    )


def _goal(series: dict[str, Series], peer: str, note: str) -> Goal:
    measured = ratio(series[f"linen ADD{note}"], series[peer + note])
    return Goal(f"linen ADD / {peer}{note}", measured, 0.5)
