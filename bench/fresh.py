# SPDX-License-Identifier: Apache-2.0
"""The first pod of a node: `linen` makes the OVS bridge, its tunnels and its controller.

Warm: another OVS bridge of the same datapath is there already, as on a node with another network.
Cold: nothing is there, on a host that has just started; Open vSwitch also makes its datapath, and
for a userspace one it first sleeps for 0.1 s (lib/dpif-netdev-perf.c, estimating the TSC).
The same rows written by ovs-vsctl tell how much of the time is Open vSwitch's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.node import OVS_BRIDGE, PEERS_BRIDGE, VTEPS, program, running_node
from bench.results import Goal, Outcome, Series, ratio, shuffled

if TYPE_CHECKING:
    from bench.node import Node
    from bench.process import Invocation

ROUNDS = (10, 60)  # quick, thorough; of the cold case a quarter


def measure(rounds: int) -> Outcome:
    """Time the first ADD, warm and cold, beside that of `bridge` for the same pod."""
    warm, cold = _measure_warm(rounds), _measure_cold(max(4, rounds // 4))
    goals = [
        Goal("first linen ADD, warm / bridge ADD", ratio(warm[1], warm[0]), 2),
        Goal("first linen ADD, cold / first bridge ADD", ratio(cold[1], cold[0]), 2),
    ]
    facts = {
        "first linen ADD / ovs-vsctl, warm": ratio(warm[1], warm[2]),
        "first linen ADD / ovs-vsctl, cold": ratio(cold[1], cold[2]),
    }
    return Outcome(warm + cold, goals, facts)


def _measure_warm(rounds: int) -> list[Series]:
    bridge, linen = Series("bridge ADD"), Series("first linen ADD, warm")
    vsctl = Series("ovs-vsctl, the same rows, warm")
    with running_node() as node:
        node.add_ovs_bridge(PEERS_BRIDGE)

        def by_vsctl() -> None:
            node.remove_ovs_bridge(OVS_BRIDGE)
            vsctl.samples.append(node.run(same_rows()).sample)

        def by_chain() -> None:
            node.remove_ovs_bridge(OVS_BRIDGE)
            _attach(node, f"pod-{len(linen.samples)}", bridge, linen)

        _attach(node, "first", Series(""), Series(""))  # makes kbr0, fills the page cache
        for _ in range(rounds):
            for part in shuffled((by_vsctl, by_chain)):
                part()
    return [bridge, linen, vsctl]


def _measure_cold(rounds: int) -> list[Series]:
    bridge, linen = Series("first bridge ADD, cold"), Series("first linen ADD, cold")
    vsctl = Series("ovs-vsctl, the same rows, cold")

    def by_vsctl(node: Node) -> None:
        vsctl.samples.append(node.run(same_rows()).sample)

    def by_chain(node: Node) -> None:
        _attach(node, "pod", bridge, linen)

    for _ in range(rounds):
        for part in shuffled((by_vsctl, by_chain)):
            with running_node() as node:
                part(node)
    return [bridge, linen, vsctl]


def _attach(node: Node, pod: str, bridge: Series, linen: Series) -> None:
    node.add_pod(pod)
    added = node.run(node.bridge("ADD", pod))
    joined = node.run(node.linen("ADD", pod, added.stdout))
    bridge.samples.append(added.sample)
    linen.samples.append(joined.sample)
    node.run(node.bridge("DEL", pod))
    node.remove_pod(pod)


def same_rows() -> Invocation:
    """What `linen` writes for the examples' master, as one call of ovs-vsctl."""
    words = ["/usr/bin/ovs-vsctl", "add-br", OVS_BRIDGE]
    words += ["--", "set", "bridge", OVS_BRIDGE, "datapath_type=netdev", "fail_mode=standalone"]
    words += ["--", "set-controller", OVS_BRIDGE, "tcp:192.168.2.100:6653"]
    for number, vtep in enumerate(VTEPS):
        words += ["--", "add-port", OVS_BRIDGE, f"tunnel{number}", "--", "set", "interface"]
        words += [f"tunnel{number}", "type=vxlan", f"options:remote_ip={vtep}", "options:key=flow"]
    return program(*words)
