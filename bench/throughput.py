# SPDX-License-Identifier: Apache-2.0
"""Throughput and round trips between pods of two nodes, beside networks that are not Linen's.

A network is as fast as what it is made of. So Linen's topologies are compared with the same made by
hand, with one another, with VXLAN of the kernel, and with the nodes' own network. They take turns
in random order.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import throughput_traffic as traffic
from bench import usage
from bench.quantities import Quantity
from bench.results import Goal, Outcome, median_of_ratios, shuffled
from bench.throughput_networks import networks_of_kernel, networks_of_ovs, running_lab
from bench.throughput_overlays import (
    FLOW,
    MESH,
    MESH_BY_HAND,
    STAR,
    STAR_BY_HAND,
    running_overlays,
)
from support.overlays import SWITCH_PIDFILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from bench.throughput_networks import Network

ROUNDS = (4, 40)  # quick, thorough
SELDOM = 3  # rounds from one look at what nothing is compared with to the next
SECONDS = 3  # that each kind of TCP stream takes
SECONDS_OF_ROUND_TRIPS = 4  # of which sockperf uses three quarters

ONE_STREAM, FOUR_STREAMS = "TCP, one stream", "TCP, four streams"
ROUND_TRIPS, MEDIAN, P99 = "round trips", "round trip, median", "round trip, p99"
SWITCHING = "ovs-vswitchd's CPU for a GB"
UNITS = {
    ONE_STREAM: "Mbit/s",
    FOUR_STREAMS: "Mbit/s",
    ROUND_TRIPS: "1/s",
    MEDIAN: "ms",
    P99: "ms",
    SWITCHING: "s",
}
# The more of these the better. One network is to have so many times as much as another.
RATES = (ONE_STREAM, FOUR_STREAMS, ROUND_TRIPS)
COMPARED = (
    (STAR, STAR_BY_HAND, 0.98),
    (MESH, MESH_BY_HAND, 0.98),
    (FLOW, MESH_BY_HAND, 0.98),
    (FLOW, MESH, 1),
    (MESH, STAR, 1),
)

Values = dict[str, float]


def measure(rounds: int) -> Outcome:
    """Lay each overlay once a round, and send each kind of traffic through it."""
    found = {label: Quantity(label, unit) for label, unit in UNITS.items()}
    with (
        tempfile.TemporaryDirectory(prefix="linen-bench-") as folder,
        running_lab(routed=False) as lab,
        running_lab(routed=True) as kernel,
    ):
        lasting = networks_of_kernel(kernel) + networks_of_ovs(lab)
        for number in range(rounds):
            with running_overlays(lab, Path(folder)) as overlays:
                _measure_overlays(overlays.values(), found)
            for network in shuffled(() if number % SELDOM else lasting):
                _measure_network(network, found)
    facts = {"datapath of Open vSwitch": lab.description.datapath}
    return Outcome(
        [],
        _goals(found),
        facts | _compare_switching(found[SWITCHING]),
        quantities=[one for one in found.values() if one.samples],
    )


def _measure_overlays(
    overlays: Iterable[Callable[[], AbstractContextManager[Network]]],
    found: Mapping[str, Quantity],
) -> None:
    for laid in shuffled(overlays):
        with laid() as network:
            _measure_network(network, found)


def _measure_network(network: Network, found: Mapping[str, Quantity]) -> None:
    for kind in shuffled((_one_stream, _four_streams, _round_trips)):
        for label, value in kind(network).items():
            found[label].add(network.label, value)


def _goals(found: Mapping[str, Quantity]) -> list[Goal]:
    goals = []
    for label in RATES:
        samples = found[label].samples
        for ours, theirs, limit in COMPARED:
            ratio = median_of_ratios(samples[ours], samples[theirs])
            goals.append(Goal(f"{label}: {ours} / {theirs}", ratio, limit, at_least=True))
    return goals


def _compare_switching(quantity: Quantity) -> dict[str, object]:
    """What switching costs, which depends less than speed on what else the machine does."""
    samples = quantity.samples
    return {
        f"{quantity.label}: {ours} / {theirs}": median_of_ratios(samples[ours], samples[theirs])
        for ours, theirs, _ in COMPARED
        if samples
    }


def _one_stream(network: Network) -> Values:
    """What a stream carries, and what that costs the switches of all nodes together."""
    before = _switches_cpu(network)
    speed = traffic.tcp(network, 1, SECONDS)
    switching = _switches_cpu(network) - before
    cost = {SWITCHING: switching / (speed * SECONDS / 8e9)} if network.userspace else {}
    return {ONE_STREAM: speed / 1e6} | cost


def _four_streams(network: Network) -> Values:
    return {FOUR_STREAMS: traffic.tcp(network, 4, SECONDS) / 1e6}


def _round_trips(network: Network) -> Values:
    found = traffic.round_trips(network, SECONDS_OF_ROUND_TRIPS)
    return {ROUND_TRIPS: found.rate, MEDIAN: found.median * 1e3, P99: found.p99 * 1e3}


def _switches_cpu(network: Network) -> float:
    """Seconds that ovs-vswitchd has run on all nodes of the network."""
    return sum(node.call(_switch_cpu) for node in network.lab.nodes.values())


def _switch_cpu() -> float:
    """Seconds that ovs-vswitchd has run on the node that the caller is in."""
    return usage.cpu(int(Path(SWITCH_PIDFILE).read_text()))
