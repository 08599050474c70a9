# SPDX-License-Identifier: Apache-2.0
"""ADD while Open vSwitch has more and more tunnels, up to 5,000.

`others`: the tunnels are somebody else's, on another OVS bridge; our network has two peers.
`peers`: all of them are peers of our network, listed in its configuration.
All sizes have a node of their own, and the nodes take turns.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.node import PEERS_BRIDGE, Node, running_node
from bench.results import Goal, Measured, Outcome, Series, ratio, shuffled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.process import Invocation, Sample
    from support.cni import Json

ROUNDS_OTHERS = (8, 40)  # quick, thorough
ROUNDS_PEERS = (5, 25)
SIZES = (2, 10, 100, 1000, 5000)
OTHERS_BRIDGE = "br-others"
OTHERS_KEY = "77"  # Open vSwitch allows one tunnel for each remote address and key


class _Site(NamedTuple):
    """A node with so many tunnels, and the ADD of an attached pod, to be timed."""

    node: Node
    size: int
    linen_add: Invocation


def measure_others(rounds: int) -> Outcome:
    """Time ADDs of linen and of ovs-cni beside other people's tunnels."""
    linen = {size: Series("linen ADD", size) for size in SIZES}
    ovs_cni = {size: Series("ovs-cni ADD", size) for size in SIZES}
    with ExitStack() as stack:
        sites = [_site_with_others(stack.enter_context(running_node()), size) for size in SIZES]
        for number in range(rounds):
            for site in shuffled(sites):
                linen[site.size].samples.append(site.node.run(site.linen_add).sample)
            for site in shuffled(sites):
                ovs_cni[site.size].samples.append(_ovs_cni_add(site.node, f"peer-{number}"))
    goal = Goal("linen ADD at 5,000 tunnels / at 2", _growth(linen), 2)
    facts = {"ovs-cni ADD at 5,000 tunnels / at 2": _growth(ovs_cni)}
    return Outcome([*linen.values(), *ovs_cni.values()], [goal], facts)


def _site_with_others(node: Node, size: int) -> _Site:
    node.add_ovs_bridge(PEERS_BRIDGE)
    node.add_ovs_bridge(OTHERS_BRIDGE)
    node.transact(tunnels_of_others(size))
    site = _Site(node, size, node.attached("pod"))
    node.run(site.linen_add)
    return site


def _ovs_cni_add(node: Node, pod: str) -> Sample:
    node.add_pod(pod)
    done = node.run(node.ovs_cni("ADD", pod))
    node.run(node.ovs_cni("DEL", pod))
    node.remove_pod(pod)
    return done.sample


def measure_peers(rounds: int) -> Outcome:
    """Time ADDs of linen with as many peers in its configuration.

    A first ADD with more peers than it can deal with in its time is reported, and not timed.
    """
    facts: dict[str, Any] = {}
    linen = {}
    with ExitStack() as stack:
        sites = []
        for size in SIZES:
            node = stack.enter_context(running_node(addresses("10.245", size)))
            node.add_ovs_bridge(PEERS_BRIDGE)
            site = _Site(node, size, node.attached("pod"))
            (first,) = node.run_all([site.linen_add])
            took = f"{first.sample.wall * 1000:.0f} ms"
            if first.status == 0:
                sites.append(site)
                linen[size] = Series("linen ADD", size)
            else:
                took += f", failed: {json.loads(first.stdout)['msg']}"
            facts[f"first linen ADD with {size} peers"] = took
        for _ in range(rounds):
            for site in shuffled(sites):
                linen[site.size].samples.append(site.node.run(site.linen_add).sample)
    facts[f"linen ADD with {max(linen)} peers / with {min(linen)}"] = _growth(linen)
    return Outcome(list(linen.values()), [], facts)


def _growth(series: dict[int, Series]) -> Measured:
    return ratio(series[max(series)], series[min(series)])


def addresses(prefix: str, count: int) -> list[str]:
    """So many IPv4 addresses below a prefix of 16 bits, of which the node's own is none."""
    return [f"{prefix}.{2 + n // 250}.{2 + n % 250}" for n in range(count)]


def tunnels_of_others(count: int) -> list[Json]:
    """The OVSDB operations that give `OTHERS_BRIDGE` so many VXLAN ports."""
    operations: list[Json] = []
    for number, remote in enumerate(addresses("10.246", count)):
        interface: Sequence[object] = ["named-uuid", f"interface{number}"]
        options = ["map", [["remote_ip", remote], ["key", OTHERS_KEY]]]
        row: Json = {"name": f"other{number}", "type": "vxlan", "options": options}
        operations.append(_insert("Interface", f"interface{number}", row))
        row = {"name": f"other{number}", "interfaces": interface}
        operations.append(_insert("Port", f"port{number}", row))
    ports = ["set", [["named-uuid", f"port{number}"] for number in range(count)]]
    operations.append(
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", OTHERS_BRIDGE]],
            "mutations": [["ports", "insert", ports]],
        }
    )
    return operations


def _insert(table: str, label: str, row: Json) -> Json:
    return {"op": "insert", "table": table, "row": row, "uuid-name": label}
